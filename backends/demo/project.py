"""The sample project: real photos, a label config, and this server connected to it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
from label_studio_sdk import LabelStudio
from rich.progress import Progress

from backends.demo.servers import DemoFailed
from backends.label_studio.connect import connect
from backends.settings import Settings

TITLE = "labelpilot demo"

# Where each comes from, and its licence: examples/demo_photos.md.
PHOTOS = {
    "skimage": [
        "data/chelsea.png",
        "data/astronaut.png",
        "data/coffee.png",
        "data/rocket.jpg",
        "data/camera.png",
        "data/coins.png",
        "data/retina.jpg",
        "data/ihc.png",
        "data/cell.png",
        "data/clock_motion.png",
        "data/hubble_deep_field.jpg",
    ],
    "sklearn": ["datasets/images/flower.jpg", "datasets/images/china.jpg"],
}
LABELS = {"Animal": "#e5484d", "Person": "#3e63dd", "Object": "#30a46c", "Plant": "#f5a524"}


@dataclass(frozen=True)
class Account:
    """The demo's only user; made once, kept in a file that only its owner may read."""

    email: str
    password: str
    token: str


def load_account(path: Path) -> Account:
    """The account in the file, made with a random password at the first call."""
    if path.exists():
        return Account(**json.loads(path.read_text()))
    account = Account(
        email="demo@labelpilot.example",
        password=secrets.token_urlsafe(9),
        token=secrets.token_hex(20),
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(account), file)
    return account


def find_photos() -> list[Path]:
    """The sample photos inside the installed wheels. Errors: `DemoFailed` when they are absent."""
    found = []
    for package, names in PHOTOS.items():
        spec = find_spec(package)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        found += [Path(folder) / name for folder in folders for name in names]
    found = [photo for photo in found if photo.is_file()]
    if len(found) < 12:
        raise DemoFailed("the sample photos are not installed", advice="pip install '.[demo]'")
    return found


def prepare_project(
    studio: str, account: Account, photos: Sequence[Path], progress: Progress
) -> int:
    """The id of the sample project; made, and photos uploaded, as far as they are not there."""
    with _api(studio, account) as call:
        found = call("GET", "/api/projects", params={"title": TITLE})["results"]
        project = next((each["id"] for each in found if each["title"] == TITLE), None)
        if project is None:
            body = {"title": TITLE, "label_config": label_config(), "description": "Sample photos."}
            project = call("POST", "/api/projects", json=body)["id"]
        have = call("GET", "/api/tasks", params={"project": project, "page_size": 100})["tasks"]
        names = [str(task["data"].get("image")) for task in have]
        step = progress.add_task("Sample photos", total=len(photos))
        for photo in photos:
            # Label Studio puts a random prefix before the file's name.
            if not any(name.endswith(f"-{photo.name}") for name in names):
                files = {photo.name: (photo.name, photo.read_bytes())}
                call("POST", f"/api/projects/{project}/import", files=files)
            progress.advance(step)
    return int(project)


def connect_project(studio: str, pilot: str, account: Account, project: int) -> None:
    """Connect this run's address, and only it: earlier runs may have had another port."""
    with _api(studio, account) as call:
        for kind, key in (("/api/ml", "id"), ("/api/webhooks", "id")):
            for each in call("GET", kind, params={"project": project}):
                if not str(each["url"]).startswith(pilot):
                    call("DELETE", f"{kind}/{each[key]}")
    with httpx.Client(timeout=60, trust_env=False) as client:
        sdk = LabelStudio(  # type: ignore[no-untyped-call]
            base_url=studio, api_key=account.token, httpx_client=client
        )
        report = connect(sdk, project_id=project, url=pilot, basic_auth=Settings().basic_auth)
    if not report.connected:
        raise DemoFailed(f"Label Studio does not reach {pilot}: {' '.join(report.notes)}")


@contextmanager
def _api(studio: str, account: Account) -> Iterator[Callable[..., Any]]:
    headers = {"Authorization": f"Token {account.token}"}
    with httpx.Client(base_url=studio, headers=headers, timeout=60, trust_env=False) as client:

        def call(method: str, path: str, **kwargs: Any) -> Any:
            answer = client.request(method, path, **kwargs)
            if not answer.is_success:
                raise DemoFailed(
                    f"Label Studio answered {answer.status_code} to {method} {path}: "
                    f"{answer.text[:300]}",
                    advice="labelpilot demo --reset makes everything anew",
                )
            return answer.json() if answer.content else None

        yield call


def label_config() -> str:
    """The sample project's label config: points and boxes become brush masks."""
    labels = "".join(f'<Label value="{k}" background="{v}"/>' for k, v in LABELS.items())
    return (
        '<View><Image name="image" value="$image" zoom="true"/>'
        '<Header value="For a click" size="6"/>'
        f'<KeyPointLabels name="point" toName="image" smart="true">{labels}</KeyPointLabels>'
        '<Header value="For a box" size="6"/>'
        f'<RectangleLabels name="box" toName="image" smart="true">{labels}</RectangleLabels>'
        '<Header value="For the brush" size="6"/>'
        f'<BrushLabels name="mask" toName="image" smart="false">{labels}</BrushLabels></View>'
    )
