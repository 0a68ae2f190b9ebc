import json
from collections.abc import Callable
from typing import Any

import pytest

from backends.errors import LabelStudioError
from backends.label_studio.client import LabelStudios
from backends.label_studio.connect import auth_header, backend_url, connect, stale_webhooks
from tests.backends.label_studio.web import Answer, Web
from tests.label_studio_server import LabelStudioServer

LEGACY = "0123456789abcdef0123456789abcdef01234567"
CONFIG = """<View><Image name="image" value="$image"/>
<KeyPointLabels name="kp" toName="image" smart="true"><Label value="Cat"/></KeyPointLabels>
<BrushLabels name="brush" toName="image" smart="false"><Label value="Cat"/></BrushLabels></View>"""

MakeStudios = Callable[..., LabelStudios]


def test_addresses_of_backends() -> None:
    assert backend_url(" http://h:9090/sam/ ") == "http://h:9090/sam"
    for wrong in ("h:9090", "ftp://h", "http://u:p@h", ""):
        with pytest.raises(LabelStudioError, match="is no address"):
            backend_url(wrong)


def test_the_auth_header() -> None:
    assert auth_header(None) == {}
    assert auth_header(("user", "pä:ss")) == {"Authorization": "Basic dXNlcjpww6Q6c3M="}


@pytest.mark.parametrize(
    ("said", "words", "cure"),
    [
        ({"detail": "URL resolves to a reserved network address"}, "protection", "SSRF_PROTECTION"),
        ({"detail": "authentication parameters were missing"}, "password", "BASIC_AUTH_PASSWORD"),
        ({"detail": "Can't connect, health check failed."}, "cannot reach", "labelpilot serve"),
        ({"detail": "it doesn't look like a valid ML backend"}, "not as a backend", "browser"),
        ({"detail": "something new"}, "something new", ""),
    ],
)
def test_a_refusal_is_explained_and_nothing_half_made_stays(
    web: Web, studios: MakeStudios, said: dict[str, str], words: str, cure: str
) -> None:
    """Label Studio 1.23 may answer 403 and yet store the backend."""
    stored: list[dict[str, Any]] = []
    deleted: list[str] = []

    def ml(request: Any) -> Answer:
        if request.command == "POST":
            stored.append({"id": 5, "url": "http://h:9090", "project": 7})
            return Answer(json.dumps(said).encode(), 400, {"Content-Type": "application/json"})
        return Answer(json.dumps(stored).encode())

    def remove(request: Any) -> Answer:
        deleted.append(request.command)
        return Answer(status=204)

    web.pages["/api/projects/7/"] = Answer(b'{"id": 7}')
    web.pages["/api/ml/"] = ml
    web.pages["/api/ml/5"] = web.pages["/api/ml/5/"] = remove
    client = studios(label_studio_url=web.url, label_studio_api_key=LEGACY).sdk()
    with pytest.raises(LabelStudioError, match=words) as caught:
        connect(client, project_id=7, url="http://h:9090")
    assert cure in caught.value.advice
    assert deleted == ["DELETE"]


@pytest.mark.e2e
class TestRealLabelStudio:
    """Against the real thing, with either token."""

    @pytest.fixture(params=["personal_token", "legacy_token"])
    def client(self, label_studio: LabelStudioServer, studios: MakeStudios, request: Any) -> Any:
        token = getattr(label_studio, request.param)
        return studios(label_studio_url=label_studio.url, label_studio_api_key=token).sdk()

    def test_connecting_twice_changes_nothing(
        self, label_studio: LabelStudioServer, client: Any, backend: Web
    ) -> None:
        project = label_studio.add_project(CONFIG)
        first = connect(client, project_id=project, url=backend.url)
        second = connect(client, project_id=project, url=f"{backend.url}/")
        assert (first.added, second.added) == (True, False)
        assert first.connected
        assert first.version == "v1"
        assert (first.backend_id, first.webhook_id) == (second.backend_id, second.webhook_id)
        assert second.notes == second.stale_webhooks == ()
        assert len(label_studio.api("GET", f"/api/ml?project={project}")) == 1
        hooks = label_studio.api("GET", f"/api/webhooks/?project={project}")
        assert [hook["url"] for hook in hooks] == [f"{backend.url}/webhook"]

    def test_basic_auth_reaches_backend_and_webhook(
        self, label_studio: LabelStudioServer, client: Any, backend: Web
    ) -> None:
        project = label_studio.add_project(CONFIG)
        password = auth_header(("u", "p"))["Authorization"]
        health = backend.pages["/health"]

        def guarded(request: Any) -> Any:
            right = request.headers["Authorization"] == password
            return health if right else Answer(status=401)

        backend.pages["/health"] = guarded
        with pytest.raises(LabelStudioError, match="asks Label Studio for a password"):
            connect(client, project_id=project, url=backend.url)
        report = connect(client, project_id=project, url=backend.url, basic_auth=("u", "p"))
        assert report.connected
        assert report.webhook_with_auth
        backend.calls.clear()
        label_studio.add_task(project, {"image": "x"})
        headers = [sent for _, path, sent in backend.calls if path == "/webhook"]
        assert headers
        assert headers[0]["Authorization"] == password

    def test_what_an_earlier_backend_left_is_reported(
        self, label_studio: LabelStudioServer, client: Any, backend: Web, web: Web
    ) -> None:
        web.pages = backend.pages
        project = label_studio.add_project(CONFIG)
        old = connect(client, project_id=project, url=web.url)
        report = connect(client, project_id=project, url=backend.url)
        assert "first backend only" in report.notes[0]
        label_studio.api("DELETE", f"/api/ml/{old.backend_id}")
        assert stale_webhooks(client, project) == (f"{web.url}/webhook",)
        report = connect(client, project_id=project, url=backend.url)
        assert report.stale_webhooks == (f"{web.url}/webhook",)
        assert report.notes == ()

    def test_uncertainty_sampling_needs_the_version_as_title(
        self, label_studio: LabelStudioServer, client: Any, backend: Web
    ) -> None:
        project = label_studio.add_project(CONFIG)
        settings = {"sampling": "Uncertainty sampling", "show_collab_predictions": False}
        label_studio.api("PATCH", f"/api/projects/{project}/", json=settings)
        notes = connect(client, project_id=project, url=backend.url).notes
        assert ["first click is slower" in notes[0], "order is random" in notes[1]] == [True, True]
        report = connect(client, project_id=project, url=backend.url, title=None)
        assert len(report.notes) == 1
        assert label_studio.api("GET", f"/api/ml/{report.backend_id}")["title"] == "v1"

    def test_a_server_that_is_not_there(self, label_studio: LabelStudioServer, client: Any) -> None:
        project = label_studio.add_project(CONFIG)
        with pytest.raises(LabelStudioError, match="Label Studio cannot reach"):
            connect(client, project_id=project, url="http://127.0.0.1:1")
        assert label_studio.api("GET", f"/api/ml?project={project}") == []

    def test_an_unknown_project(self, client: Any, backend: Web) -> None:
        with pytest.raises(LabelStudioError, match="404") as caught:
            connect(client, project_id=999_999, url=backend.url)
        assert "project's id" in caught.value.advice


@pytest.mark.e2e
def test_address_protection_is_explained_and_nothing_stays(
    label_studio: LabelStudioServer, studios: MakeStudios, backend: Web
) -> None:
    project = label_studio.add_project(CONFIG)
    made = studios(
        label_studio_url=label_studio.url, label_studio_api_key=label_studio.legacy_token
    )
    for protection in ({}, {"ML_BLOCK_LOCAL_IP": "false"}):
        label_studio.restart(address_protection=True, environment=protection)
        try:
            with pytest.raises(LabelStudioError, match="address protection is on") as caught:
                connect(made.sdk(), project_id=project, url=backend.url)
            assert "ML_BLOCK_LOCAL_IP=false" in caught.value.advice
            assert "SSRF_PROTECTION_ENABLED=false" in caught.value.advice
            assert label_studio.api("GET", f"/api/ml?project={project}") == []
        finally:
            label_studio.restart()
