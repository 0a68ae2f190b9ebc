import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from label_studio_sdk.core.api_error import ApiError

from backends.errors import LabelStudioError, LabelStudioGone, LabelStudioRefused
from backends.label_studio import client
from backends.label_studio.addresses import trusted_client
from backends.label_studio.client import (
    Credential,
    LabelStudios,
    Reach,
    TokenKind,
    iter_tasks,
    next_tasks,
    told,
)
from backends.label_studio.projects import ProjectBook
from tests.backends.label_studio.web import Answer, Web, drip
from tests.label_studio_server import LabelStudioServer

LEGACY = "0123456789abcdef0123456789abcdef01234567"
MakeStudios = Callable[..., LabelStudios]


def jwt(**claims: Any) -> str:
    parts = ({"alg": "HS256"}, claims)
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join(part.rstrip("=") for part in [*coded, "c2ln"])


PERSONAL = jwt(token_type="refresh", exp=8_000_000_000)


def answer_json(value: object, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


class Refresher:
    """Label Studio's token endpoint and a page that accepts only the newest access token."""

    def __init__(self, web: Web, *, life_s: float = 300) -> None:
        self.given: list[str] = []
        self.life_s = life_s
        self.bodies: list[dict[str, str]] = []
        web.pages["/api/token/refresh/"] = self.refresh
        web.pages["/api/projects/7/"] = self.page

    def refresh(self, request: BaseHTTPRequestHandler) -> Answer:
        self.bodies.append(json.loads(request.body))
        number = len(self.given)
        self.given.append(jwt(token_type="access", exp=time.time() + self.life_s, n=number))
        return answer_json({"access": self.given[-1]})

    def page(self, request: BaseHTTPRequestHandler) -> Answer:
        right = self.given and request.headers["Authorization"] == f"Bearer {self.given[-1]}"
        return answer_json({"id": 7}) if right else answer_json({"detail": "no"}, 401)


def get_project(studios: LabelStudios) -> None:
    with told("reading the project"):
        studios.sdk().projects.get(7)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (LEGACY, TokenKind.LEGACY),
        (PERSONAL, TokenKind.PERSONAL),
        (jwt(token_type="access"), TokenKind.ACCESS),
        ("a.b.c", TokenKind.LEGACY),
        (f"x.{base64.urlsafe_b64encode(b'[1]').decode()}.y", TokenKind.LEGACY),
    ],
)
def test_the_kind_of_a_token_is_read_from_it(token: str, kind: TokenKind) -> None:
    assert Credential(token).kind is kind


def test_a_token_never_shows(studios: MakeStudios, caplog: pytest.LogCaptureFixture) -> None:
    reach = Reach("http://h", Credential(PERSONAL))
    assert PERSONAL not in repr(reach)
    made = studios(label_studio_url="http://h:1", label_studio_api_key=LEGACY)
    with caplog.at_level(logging.DEBUG):
        made.auth(made.reach(None))
    assert "legacy token" in caplog.text
    assert LEGACY not in caplog.text


def test_a_legacy_token_is_sent_as_token(web: Web, studios: MakeStudios) -> None:
    web.pages["/api/projects/7/"] = answer_json({"id": 7})
    get_project(studios(label_studio_url=web.url, label_studio_api_key=LEGACY))
    assert web.calls[0][2]["Authorization"] == f"Token {LEGACY}"


def test_a_personal_token_is_renewed_once_and_kept(web: Web, studios: MakeStudios) -> None:
    refresher = Refresher(web)
    made = studios(label_studio_url=web.url, label_studio_api_key=PERSONAL)
    for _ in range(3):
        get_project(made)
    assert refresher.bodies == [{"refresh": PERSONAL}]
    assert "Authorization" not in web.calls[0][2]


def test_a_personal_token_is_renewed_shortly_before_it_expires(
    web: Web, studios: MakeStudios
) -> None:
    refresher = Refresher(web, life_s=10)  # less than what is left for a request
    made = studios(label_studio_url=web.url, label_studio_api_key=PERSONAL)
    get_project(made)
    get_project(made)
    assert len(refresher.given) == 2


def test_a_refused_access_token_is_renewed_once(web: Web, studios: MakeStudios) -> None:
    refresher = Refresher(web)
    made = studios(label_studio_url=web.url, label_studio_api_key=PERSONAL)
    get_project(made)
    refresher.given.append("revoked: the server forgot the others")
    get_project(made)
    assert len(refresher.bodies) == 2
    web.pages["/api/projects/7/"] = answer_json({"detail": "never"}, 401)
    with pytest.raises(LabelStudioError, match="401"):
        get_project(made)
    assert len(refresher.bodies) == 3


def test_many_threads_renew_once(web: Web, studios: MakeStudios) -> None:
    refresher = Refresher(web)
    made = studios(label_studio_url=web.url, label_studio_api_key=PERSONAL)
    start = threading.Barrier(8)

    def ask(_: int) -> None:
        start.wait()
        get_project(made)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert len(refresher.bodies) == 1


def test_a_redirect_to_another_origin_loses_the_token(
    web: Web, elsewhere: Web, studios: MakeStudios
) -> None:
    web.pages["/api/projects/7/"] = Answer(status=302, headers={"Location": f"{elsewhere.url}/x"})
    elsewhere.pages["/x"] = answer_json({"id": 7})
    get_project(studios(label_studio_url=web.url, label_studio_api_key=LEGACY))
    assert "Authorization" not in elsewhere.calls[0][2]


def test_sub_path_installs_are_reached(web: Web, studios: MakeStudios) -> None:
    web.pages["/ls/api/token/refresh/"] = answer_json({"access": "x"})
    web.pages["/ls/api/projects/7/"] = answer_json({"id": 7})
    get_project(studios(label_studio_url=f"{web.url}/ls/", label_studio_api_key=PERSONAL))
    assert web.paths() == ["/ls/api/token/refresh/", "/ls/api/projects/7/"]


@pytest.mark.parametrize(
    ("status", "detail", "words"),
    [
        (401, "legacy token authentication has been disabled", "legacy tokens are switched off"),
        (401, "Invalid token.", "the token is not accepted"),
        (404, "Not found.", "check the project's id"),
    ],
)
def test_refusals_come_with_their_cure(
    web: Web, studios: MakeStudios, status: int, detail: str, words: str
) -> None:
    web.pages["/api/projects/7/"] = answer_json({"detail": detail}, status)
    with pytest.raises(LabelStudioError) as caught:
        get_project(studios(label_studio_url=web.url, label_studio_api_key=LEGACY))
    assert words in caught.value.advice
    assert detail in caught.value.message


@pytest.mark.parametrize(
    ("body", "is_gone"),
    [
        ({"status_code": 404, "detail": "No Project matches the given query."}, True),
        ({"status_code": 404}, True),
        ({"detail": "not found"}, False),
        ("<html>404</html>", False),
    ],
)
def test_only_label_studio_itself_says_what_is_gone(body: object, is_gone: bool) -> None:
    with pytest.raises(LabelStudioRefused) as caught, told("reading project 7"):
        raise ApiError(status_code=404, body=body)
    assert isinstance(caught.value, LabelStudioGone) == is_gone


def test_a_personal_token_that_is_not_accepted_is_told(web: Web, studios: MakeStudios) -> None:
    web.pages["/api/token/refresh/"] = answer_json({"detail": "blacklisted"}, 401)
    with pytest.raises(LabelStudioError, match="does not accept the personal access token"):
        get_project(studios(label_studio_url=web.url, label_studio_api_key=PERSONAL))


def test_a_label_studio_that_is_down_is_told(web: Web, studios: MakeStudios) -> None:
    made = studios(label_studio_url=web.url, label_studio_api_key=LEGACY)
    web.close()
    with pytest.raises(LabelStudioError, match="could not be reached while reading"):
        get_project(made)


def test_a_label_studio_that_drips_is_told_in_time(
    web: Web, studios: MakeStudios, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CALL_S", 0.3)
    web.pages["/api/projects/7/"] = drip(b"HTTP/1.1 200 OK\r\nX: ", stop := threading.Event())
    try:
        with pytest.raises(LabelStudioError, match="did not answer in time while reading"):
            get_project(studios(label_studio_url=web.url, label_studio_api_key=LEGACY))
    finally:
        stop.set()


class TestReach:
    """Which Label Studio, and whose token."""

    def test_the_settings_address_wins_and_the_projects_host_is_another_name(
        self, settings: Callable[..., Any]
    ) -> None:
        made = settings(label_studio_url="http://studio:8080/", label_studio_api_key=LEGACY)
        book = ProjectBook(made)
        book.remember("7.1", host="http://localhost:8080", access_token="b" * 40, label_config="")
        reach = LabelStudios(made, book).reach("7.1")
        assert reach == Reach("http://studio:8080", Credential(LEGACY), ("http://localhost:8080",))
        assert reach.local("http://localhost:8080/data/upload/7/a.jpg") == (
            "http://studio:8080/data/upload/7/a.jpg"
        )
        assert reach.local("http://localhost:8081/data/upload/7/a.jpg") is None

    @pytest.mark.parametrize("host", ["http://bücher.example", "http://[", "http://h:0", "file:"])
    def test_a_host_that_cannot_be_used_is_no_other_name(
        self, settings: Callable[..., Any], host: str
    ) -> None:
        made = settings(label_studio_url="http://studio:8080", label_studio_api_key=LEGACY)
        book = ProjectBook(made)
        book.remember("7.1", host=host, access_token=None, label_config="")
        assert LabelStudios(made, book).reach("7.1") == Reach(
            "http://studio:8080", Credential(LEGACY)
        )

    def test_without_a_key_the_projects_token_goes_to_the_settings_address(
        self, settings: Callable[..., Any]
    ) -> None:
        made = settings(label_studio_url="studio:8080")
        book = ProjectBook(made)
        book.remember("7.1", host="http://evil", access_token=LEGACY, label_config="")
        reach = LabelStudios(made, book).reach("7.1")
        assert (reach.base, reach.credential) == ("http://studio:8080", Credential(LEGACY))

    def test_a_key_without_an_address_is_sent_nowhere(self, settings: Callable[..., Any]) -> None:
        made = settings(label_studio_api_key=LEGACY)
        book = ProjectBook(made)
        book.remember("7.1", host="http://evil", access_token=None, label_config="")
        assert LabelStudios(made, book).reach("7.1") == Reach("http://evil", None)

    def test_each_project_has_its_own_host_and_token(self, settings: Callable[..., Any]) -> None:
        made = settings()
        book = ProjectBook(made)
        book.remember("7.1", host="http://one", access_token="a" * 40, label_config="")
        book.remember("7.2", host="http://two", access_token="b" * 40, label_config="")
        studios = LabelStudios(made, book)
        assert studios.reach("7.1") == Reach("http://one", Credential("a" * 40))
        assert studios.reach("7.2") == Reach("http://two", Credential("b" * 40))

    @pytest.mark.parametrize("key", [None, "9.9"])
    def test_an_unknown_label_studio_is_told(self, studios: MakeStudios, key: str | None) -> None:
        with pytest.raises(LabelStudioError, match="not known where"):
            studios().reach(key)

    @pytest.mark.parametrize(
        ("base", "url", "local"),
        [
            ("http://h", "/data/upload/a", "http://h/data/upload/a"),
            ("http://h/ls", "/ls/data/upload/a", "http://h/ls/data/upload/a"),
            ("http://h/ls", "/data/upload/a", "http://h/ls/data/upload/a"),
            ("http://h/ls", "/lsx/a", "http://h/ls/lsx/a"),
            ("http://h/ls", "HTTP://H:80/ls/data/a?d=1", "http://h/ls/data/a?d=1"),
            ("http://h", "https://h/data/a", None),
            ("http://h", "//evil/data/a", "refused"),
        ],
    )
    def test_addresses_of_label_studio(self, base: str, url: str, local: str | None) -> None:
        reach = Reach(base, None)
        if local == "refused":
            with pytest.raises(Exception, match="not http"):
                reach.local(url)
        else:
            assert reach.local(url) == local


class TestKept:
    """What is kept of each Label Studio, whatever `/setup` brings."""

    def test_other_names_share_one_token_sender_and_one_client(
        self, settings: Callable[..., Any]
    ) -> None:
        made = settings(label_studio_url="http://studio:8080", label_studio_api_key=LEGACY)
        book = ProjectBook(made)
        with closing(LabelStudios(made, book)) as studios:
            for number in range(3):
                book.remember(
                    f"7.{number}",
                    host=f"http://name{number}",
                    access_token=None,
                    label_config=f"<View>{number}</View>",
                )
            keys = [f"7.{number}" for number in range(3)]
            assert len({id(studios.auth(studios.reach(key))) for key in keys}) == 1
            assert len({id(studios.sdk(key)) for key in keys}) == 1

    def test_only_those_used_last_are_kept_and_the_others_are_closed(
        self, settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "_MOST_KEPT", 4)
        made = settings()
        book = ProjectBook(made)
        opened: list[httpx.Client] = []

        def opening(**values: Any) -> httpx.Client:
            opened.append(trusted_client(**values))
            return opened[-1]

        monkeypatch.setattr(client, "trusted_client", opening)
        with closing(LabelStudios(made, book)) as studios:
            for number in range(10):
                book.remember("7.1", host=f"http://h{number}", access_token="", label_config="")
                studios.sdk("7.1")
            assert [http.is_closed for http in opened] == [False] + [True] * 6 + [False] * 4
            assert len(studios._auths) == len(studios._clients) == 4
        assert all(http.is_closed for http in opened)


def pages_of(ids: list[int], asked: list[int]) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """Label Studio's task list, as far as `next_tasks` uses it."""
    from urllib.parse import parse_qs, urlsplit

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        query = parse_qs(urlsplit(request.path).query)
        after = json.loads(query["query"][0])["filters"]["items"][0]["value"]
        size = int(query["page_size"][0])
        asked.append(size)
        tasks = [{"id": i, "data": {"image": f"/{i}"}} for i in ids if i > after][:size]
        return answer_json({"tasks": tasks, "total": len(ids)})

    return answer


def test_tasks_are_listed_after_an_id(web: Web, studios: MakeStudios) -> None:
    asked: list[int] = []
    web.pages["/api/tasks/"] = pages_of(list(range(1, 251)), asked)
    client = studios(label_studio_url=web.url, label_studio_api_key=LEGACY).sdk()
    assert next_tasks(client, 7, after_id=3, limit=2) == [
        (4, {"image": "/4"}),
        (5, {"image": "/5"}),
    ]
    assert [i for i, _ in iter_tasks(client, 7, after_id=10)] == list(range(11, 251))
    assert [i for i, _ in iter_tasks(client, 7, limit=3)] == [1, 2, 3]
    assert asked == [2, 100, 100, 100, 100, 3]  # an empty page is the end, a short one is not


@pytest.mark.e2e
class TestRealLabelStudio:
    """Both kinds of token against the real thing."""

    @pytest.mark.parametrize("token", ["personal_token", "legacy_token"])
    def test_the_api_takes_either_token(
        self, label_studio: LabelStudioServer, studios: MakeStudios, token: str
    ) -> None:
        project = label_studio.add_project("<View/>")
        ids = [label_studio.add_task(project, {"image": str(i)}) for i in range(5)]
        key = getattr(label_studio, token)
        client = studios(label_studio_url=label_studio.url, label_studio_api_key=key).sdk()
        assert next_tasks(client, project, after_id=ids[1], limit=2) == [
            (ids[2], {"image": "2"}),
            (ids[3], {"image": "3"}),
        ]
        assert [task_id for task_id, _ in iter_tasks(client, project)] == ids

    def test_an_expired_access_token_is_renewed(
        self, label_studio: LabelStudioServer, studios: MakeStudios
    ) -> None:
        made = studios(
            label_studio_url=label_studio.url, label_studio_api_key=label_studio.personal_token
        )
        auth = made.auth(made.reach(None))
        assert made.sdk().users.whoami().email == label_studio.email
        first = auth._access
        auth._expires_at = 0.0
        made.sdk().users.whoami()
        second = auth._access
        auth._access = jwt(token_type="access", exp=0)  # Label Studio answers 401 to it
        made.sdk().users.whoami()
        assert len({first, second, auth._access}) == 3

    def test_a_broken_personal_token_is_told(
        self, label_studio: LabelStudioServer, studios: MakeStudios
    ) -> None:
        made = studios(label_studio_url=label_studio.url, label_studio_api_key=PERSONAL)
        with pytest.raises(LabelStudioError, match="does not accept the personal access token"):
            made.sdk().users.whoami()
