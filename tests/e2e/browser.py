"""Drives Label Studio's editor the way an annotator does. Positions are percent of the image."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Page
from playwright.sync_api import TimeoutError as TooLate

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]

READY = """() => {
  const annotation = window.Htx && !Htx.isLoading && Htx.annotationStore.selected;
  return annotation && annotation.objects.every(o => o.type !== 'image' || o.stageWidth > 1);
}"""

PAGE_POINT = """([x, y]) => {
  const image = Htx.annotationStore.selected.objects.find(o => o.type === 'image');
  const stage = document.querySelector('.konvajs-content').getBoundingClientRect();
  return [
    stage.left + image.zoomingPositionX + x / 100 * image.stageWidth * image.zoomScale,
    stage.top + image.zoomingPositionY + y / 100 * image.stageHeight * image.zoomScale,
  ];
}"""

# A video is ready once the editor knows its length.
SHOWN = """() => {
  const annotation = window.Htx && !Htx.isLoading && Htx.annotationStore.selected;
  return annotation && annotation.parent_prediction && annotation.objects.every(o =>
    o.type === 'image' ? o.stageWidth > 1 : o.type !== 'video' || o.length > 1);
}"""

FOUND = """(open) => {
  const annotation = Htx.annotationStore.selected;
  const found = open ? [...annotation.suggestions.values()] : annotation.regionStore.regions;
  return found.map(r => ({id: r.cleanId, type: r.type, labels: [...r.labels]}));
}"""


# In the order of the config, not of the prediction.
CHOSEN = """() => [...Htx.annotationStore.selected.names.values()]
  .filter(tag => ['choices', 'taxonomy'].includes(tag.type))
  .flatMap(tag => JSON.parse(JSON.stringify(tag.selectedValues())))"""


FRAME = """async (number) => {
  const annotation = Htx.annotationStore.selected;
  const video = document.querySelector('video');
  const sought = new Promise(done => video.addEventListener('seeked', done, {once: true}));
  const tag = annotation.objects.find(o => o.type === 'video');
  if (tag.frame !== number) { tag.setFrame(number); await sought; }
  const canvas = new OffscreenCanvas(3, 3).getContext('2d');
  canvas.drawImage(video, 0, 0, 3, 3);
  const seen = annotation.regionStore.regions.filter(r => r.isInLifespan(number));
  const boxes = seen.map(r => [r.cleanId, r.getShape(number)]).filter(([id, box]) => box);
  return [canvas.getImageData(1, 1, 1, 1).data[1], Object.fromEntries(boxes)];
}"""


def log_in(context: BrowserContext, url: str, email: str, password: str) -> None:
    """Log the context in; its pages need not do so."""
    # The page would fetch its tips from the internet.
    context.route("**/heidi-tips*", lambda route: route.abort())
    login = f"{url}/user/login/"
    assert context.request.get(login).ok
    token = next(each["value"] for each in context.cookies(url) if each["name"] == "csrftoken")
    form = {"email": email, "password": password, "csrfmiddlewaretoken": token}
    answer = context.request.post(login, form=form, headers={"Referer": login})
    assert answer.ok, answer.status
    assert "/user/login" not in answer.url, "wrong email or password"


class Editor:
    """The labelling editor on one page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        page.on("console", self._listen)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def open(self, project: int, task: int, *, auto_accept: bool = False) -> None:
        """Open a task with auto-annotation on."""
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}")
        self.page.wait_for_function(READY, timeout=30_000)
        self.assist(auto_accept=auto_accept)

    def assist(self, *, auto_accept: bool = False) -> None:
        """Turn auto-annotation on in the open task."""
        self.page.locator("[data-testid=bottombar-auto-annotation-toggle]").check(force=True)
        accept = self.page.locator("[data-testid=bottombar-auto-accept-toggle]")
        accept.set_checked(auto_accept, force=True)

    def show(self, project: int, task: int) -> None:
        """Open a task and wait until its prediction has become an annotation."""
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}")
        self.page.wait_for_function(READY, timeout=30_000)
        try:
            self.page.wait_for_function(SHOWN, timeout=5_000)
        except TooLate:
            # While it makes a project's first tab, the page may lose the task's predictions.
            self.page.reload()
            self.page.wait_for_function(SHOWN, timeout=30_000)

    def click(self, x: float, y: float, label: str, *, keys: tuple[str, ...] = ()) -> None:
        """A smart key point, `keys` held: ("Alt",) is negative, ("Control",) inside a region."""
        self._prepare("key-point", label, group=0)
        for key in keys:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self._point(x, y))
        for key in keys:
            self.page.keyboard.up(key)

    def drag(
        self, left: float, top: float, right: float, bottom: float, label: str, *, group: int = 1
    ) -> None:
        """A smart rectangle. `group`: which row of labels on the page is the rectangle's."""
        self._prepare("rectangle", label, group=group)
        self.page.mouse.move(*self._point(left, top))
        self.page.mouse.down()
        self.page.mouse.move(*self._point((left + right) / 2, (top + bottom) / 2), steps=3)
        self.page.mouse.move(*self._point(right, bottom), steps=3)
        self.page.mouse.up()

    def _prepare(self, tool: str, label: str, *, group: int) -> None:
        button = self.page.locator(".lsf-toolbar__group:last-child > button.lsf-tool_smart")
        named = self.page.locator(f".lsf-toolbar__smart button[aria-label='{tool}-tool']")
        button.first.hover()
        (named if named.count() else button).first.click()
        row = self.page.locator(".lsf-labels").nth(group)
        # The editor forgets the label after every prompt.
        row.locator(".lsf-label").get_by_text(label, exact=True).click()

    def _point(self, x: float, y: float) -> tuple[float, float]:
        # The outermost pixels are the image's border, which takes no clicks.
        inside = [min(max(each, 0.5), 99.5) for each in (x, y)]
        left, top = self.page.evaluate(PAGE_POINT, inside)
        return left, top

    def accept(self) -> None:
        """Accept the open suggestions."""
        self.page.locator("[data-testid=bottombar-accept-suggestions-button]").click()
        self.page.wait_for_function("() => Htx.annotationStore.selected.suggestions.size === 0")

    def submit(self) -> None:
        """Submit, and wait until Label Studio has stored it."""
        with self.page.expect_response(
            lambda answer: "/annotations" in answer.url and answer.request.method == "POST"
        ) as answer:
            self.page.locator("[data-testid=bottombar-submit-button]").click()
        assert answer.value.ok, answer.value.status

    def regions(self) -> list[dict[str, Any]]:
        """What is on the image, open prompts included: id, type, labels."""
        return list(self.page.evaluate(FOUND, False))

    def chosen(self) -> list[Any]:
        """What is chosen in all `<Choices>` and `<Taxonomy>`."""
        return list(self.page.evaluate(CHOSEN))

    def frame(self, number: int) -> tuple[int, dict[str, dict[str, float]]]:
        """Go to a frame of a video: how bright its middle is, and the boxes on it by id."""
        grey, boxes = self.page.evaluate(FRAME, number)
        return grey, boxes

    def suggestions(self) -> list[dict[str, Any]]:
        """What waits for acceptance: id, type, labels."""
        return list(self.page.evaluate(FOUND, True))

    def answered(self) -> Any:
        """A block whose end waits for the answer to one interactive request.

        The answer is Label Studio's: `{"data": ...}` or `{"errors": [...]}`.
        """
        return _Answered(self.page)


class _Answered:
    def __init__(self, page: Page) -> None:
        self._page = page
        self.json: dict[str, Any] = {}

    def __enter__(self) -> _Answered:
        self._expected = self._page.expect_response("**/interactive-annotating*", timeout=20_000)
        self._info = self._expected.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._expected.__exit__(*error)
        if error[0] is None:
            self.json = self._info.value.json()
            # The store takes the answer in a later tick than the network does.
            self._page.wait_for_timeout(150)
