import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from backends.interface import Project
from backends.label_studio.client import LabelStudios
from backends.label_studio.connect import auth_header, connect
from backends.label_studio.doctor import Check, run_checks
from backends.label_studio.projects import ProjectBook
from backends.settings import Settings
from backends.yolo.model import YoloBackend
from tests.backends.label_studio.test_connect import CONFIG
from tests.backends.label_studio.web import Answer, Web
from tests.label_studio_server import LabelStudioServer

LEGACY = "0123456789abcdef0123456789abcdef01234567"
MakeSettings = Callable[..., Settings]


def checks(
    settings: Settings, url: str, project_id: int | None = None, **more: Any
) -> dict[str, Check]:
    nothing: Any = None  # no task is labelled here
    yolo = YoloBackend(settings=settings, images=nothing, videos=nothing)
    found = list(run_checks(settings, project_id=project_id, url=url, prelabels=yolo, **more))
    assert len({check.name for check in found}) == len(found)
    for check in found:
        assert bool(check.cure) == (check.outcome != "ok"), check
    return {check.name: check for check in found}


def test_a_server_that_is_down(settings: MakeSettings) -> None:
    found = checks(settings(), "http://127.0.0.1:1")
    assert found["this server"].outcome == "fail"
    assert "labelpilot serve" in found["this server"].cure
    assert found["Label Studio"].outcome == "fail"
    assert "LABEL_STUDIO_URL" in found["Label Studio"].cure
    assert "token" not in found


def test_the_password_of_this_server(settings: MakeSettings, backend: Web) -> None:
    open_page = backend.pages["/versions"]
    locked = settings(basic_auth_user="u", basic_auth_password="p")
    assert checks(locked, backend.url)["this server"].outcome == "warn"

    def guarded(request: Any) -> Any:
        right = request.headers["Authorization"] == auth_header(("u", "p"))["Authorization"]
        return open_page if right else Answer(status=401)

    backend.pages["/versions"] = guarded
    assert checks(locked, backend.url)["this server"].seen.endswith("Basic auth on")
    refused = checks(settings(), backend.url)["this server"]
    assert (refused.outcome, "BASIC_AUTH_USER" in refused.cure) == ("fail", True)


@pytest.mark.parametrize(
    ("wanted", "files", "outcome", "words"),
    [
        ("auto", [], "warn", "grabcut"),
        ("auto", ["mobile_sam.pt"], "ok", "mobile_sam.pt"),
        ("grabcut", ["mobile_sam.pt"], "warn", "grabcut"),
        ("sam_vit_b", ["mobile_sam.pt"], "fail", "no checkpoint for sam_vit_b"),
        ("sam_vit_b", ["sam_vit_b_01ec64.pth"], "ok", "sam_vit_b_01ec64.pth"),
    ],
)
def test_the_model(
    settings: MakeSettings, wanted: str, files: list[str], outcome: str, words: str
) -> None:
    made = settings(sam_model=wanted)
    made.model_path.mkdir(parents=True)
    for name in files:
        (made.model_path / name).touch()
    found = checks(made, "http://127.0.0.1:1")["model"]
    assert (found.outcome, words in found.seen) == (outcome, True)


def test_a_label_studio_that_is_none(settings: MakeSettings, web: Web) -> None:
    made = settings(label_studio_url=web.url, label_studio_api_key=LEGACY)
    found = checks(made, "http://127.0.0.1:1")["Label Studio"]
    assert (found.outcome, "not as Label Studio" in found.seen) == ("fail", True)


def test_no_token(settings: MakeSettings, web: Web) -> None:
    web.pages["/api/version"] = Answer(b'{"release": "1.23.2"}')
    found = checks(settings(label_studio_url=web.url), "http://127.0.0.1:1")
    assert found["Label Studio"].seen.endswith("version 1.23.2")
    assert (found["token"].outcome, "API_KEY" in found["token"].cure) == ("fail", True)


@pytest.mark.e2e
class TestRealLabelStudio:
    """All green, then one fault at a time."""

    @pytest.fixture
    def made(self, settings: MakeSettings, label_studio: LabelStudioServer) -> Settings:
        return settings(
            label_studio_url=label_studio.url, label_studio_api_key=label_studio.personal_token
        )

    @pytest.fixture
    def project(
        self, label_studio: LabelStudioServer, made: Settings, backend: Web, tmp_path: Path
    ) -> int:
        project = label_studio.add_project(CONFIG)
        PIL.Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
        label_studio.upload(project, tmp_path / "a.png")
        studios = LabelStudios(made, ProjectBook(made))
        connect(studios.sdk(), project_id=project, url=backend.url)
        studios.close()
        return project

    def failing(self, made: Settings, backend: Web, project: int) -> dict[str, Check]:
        found = checks(made, backend.url, project)
        weightless = ("model", "pre-labelling")  # neither SAM nor YOLO is here
        return {
            name: one
            for name, one in found.items()
            if one.outcome != "ok" and name not in weightless
        }

    @pytest.mark.parametrize("token", ["personal_token", "legacy_token"])
    def test_all_is_well(
        self,
        label_studio: LabelStudioServer,
        settings: MakeSettings,
        backend: Web,
        project: int,
        token: str,
    ) -> None:
        key = getattr(label_studio, token)
        made = settings(label_studio_url=label_studio.url, label_studio_api_key=key)
        found = checks(made, backend.url, project)
        assert [name for name, one in found.items() if one.outcome == "ok"] == [
            "this server",
            "Label Studio",
            "token",
            "project",
            "label config",
            "media",
            "backend",
            "Label Studio to this server",
            "webhook",
        ]
        assert "30 x 20" in found["media"].seen
        assert token.split("_")[0] in found["token"].seen

    def test_a_wrong_token(
        self, label_studio: LabelStudioServer, settings: MakeSettings, backend: Web, project: int
    ) -> None:
        made = settings(label_studio_url=label_studio.url, label_studio_api_key="0" * 40)
        assert "not accepted" in self.failing(made, backend, project)["token"].cure

    def test_legacy_tokens_switched_off(
        self, label_studio: LabelStudioServer, settings: MakeSettings, backend: Web, project: int
    ) -> None:
        key = label_studio.legacy_token
        made = settings(label_studio_url=label_studio.url, label_studio_api_key=key)
        label_studio.set_legacy_tokens(enabled=False)
        try:
            assert "switched off" in self.failing(made, backend, project)["token"].cure
        finally:
            label_studio.set_legacy_tokens(enabled=True)

    def test_the_webhook_deleted_switched_off_or_without_the_password(
        self, label_studio: LabelStudioServer, made: Settings, backend: Web, project: int
    ) -> None:
        hook = label_studio.api("GET", f"/api/webhooks/?project={project}")[0]
        locked = made.model_copy(update={"basic_auth_user": "u", "basic_auth_password": None})
        assert self.failing(locked, backend, project) == {}
        label_studio.api("PATCH", f"/api/webhooks/{hook['id']}/", json={"is_active": False})
        found = self.failing(made, backend, project)
        assert (list(found), found["webhook"].seen) == (["webhook"], "it is switched off")
        label_studio.api("DELETE", f"/api/webhooks/{hook['id']}/")
        found = self.failing(made, backend, project)
        assert list(found) == ["webhook"]
        assert f"labelpilot connect --project {project}" in found["webhook"].cure

    def test_media_that_is_gone(
        self, label_studio: LabelStudioServer, made: Settings, backend: Web
    ) -> None:
        project = label_studio.add_project(CONFIG)
        assert self.failing(made, backend, project)["media"].outcome == "warn"
        label_studio.add_task(project, {"image": "/data/local-files/?d=nothing.png"})
        found = self.failing(made, backend, project)
        assert list(found) == ["media", "backend", "webhook"]
        assert "LOCAL_FILES_SERVING" in found["media"].cure

    def test_a_backend_that_label_studio_cannot_reach(
        self, label_studio: LabelStudioServer, made: Settings, backend: Web, project: int
    ) -> None:
        backend.pages["/versions"] = Answer(status=401)
        found = self.failing(made, backend, project)
        assert "password" in found["Label Studio to this server"].cure
        backend.close()
        backend.close = lambda: None  # type: ignore[method-assign]
        found = self.failing(made, backend, project)
        assert list(found) == ["this server", "Label Studio to this server"]

    def test_a_config_without_a_smart_tool(
        self, label_studio: LabelStudioServer, made: Settings, backend: Web, project: int
    ) -> None:
        config = CONFIG.replace('smart="true"', 'smart="false"')
        body = {"label_config": config}
        label_studio.api("PATCH", f"/api/projects/{project}/", json=body)
        assert list(self.failing(made, backend, project)) == ["label config"]

    def test_what_becomes_of_what_a_yolo_sees(
        self,
        label_studio: LabelStudioServer,
        made: Settings,
        backend: Web,
        project: int,
        small_yolo: Path,
    ) -> None:
        assert "yolo11n-seg" in checks(made, backend.url, project)["pre-labelling"].cure
        made.model_path.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_yolo / "detect.pt", made.model_path)
        config = """<View><Image name="image" value="$image"/>
            <RectangleLabels name="box" toName="image" model_path="detect.pt">
            <Label value="Disc"/><Label value="Unicorn"/></RectangleLabels></View>"""
        label_studio.api("PATCH", f"/api/projects/{project}/", json={"label_config": config})
        found = checks(made, backend.url, project)["pre-labelling"]
        assert "disc → Disc" in found.seen
        assert "no class for Unicorn" in found.cure
        assert found.outcome == "warn"

    def test_what_micro_models_label_is_no_yolos_business(
        self, made: Settings, backend: Web, project: int
    ) -> None:
        asked: list[int] = []

        def learned(one: Project) -> str:
            asked.append(one.id)
            return "micro-0123456789"

        found = checks(made, backend.url, project, learned=learned)["pre-labelling"]
        assert (found.outcome, asked) == ("ok", [project])
        assert found.seen == "by the project's own micro-models, micro-0123456789"

    def test_address_protection(
        self, label_studio: LabelStudioServer, made: Settings, backend: Web, project: int
    ) -> None:
        label_studio.restart(address_protection=True)
        try:
            found = self.failing(made, backend, project)
        finally:
            label_studio.restart()
        assert list(found) == ["Label Studio to this server", "webhook"]
        for check in found.values():
            assert "SSRF_PROTECTION_ENABLED=false" in check.cure
            assert "protection" in check.seen

    def test_an_unknown_project(self, made: Settings, backend: Web) -> None:
        found = self.failing(made, backend, 999_999)
        assert list(found) == ["project"]
