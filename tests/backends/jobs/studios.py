"""Two Label Studios to test on: the real one, and a small one in this process that can fail."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.label_studio_server import LabelStudioServer

Json = dict[str, Any]


class Studio(Protocol):
    """What the tests ask of a Label Studio."""

    url: str
    token: str

    def add_project(self, config: str) -> str:
        """A project; its key."""

    def set_config(self, key: str, config: str) -> None: ...
    def delete_project(self, key: str) -> None: ...
    def add_tasks(self, key: str, images: Sequence[str]) -> list[int]: ...
    def delete_task(self, task_id: int) -> None: ...
    def annotate(self, task_id: int, parent: int | None = None) -> None:
        """Submit an annotation that was made from the prediction `parent`."""

    def predict(self, task_id: int, version: str, score: float = 0.0) -> int:
        """Store a prediction; its id."""

    def predictions(self, key: str) -> dict[int, list[int]]:
        """The ids of each task's predictions, by task id, sorted."""

    def versions(self, key: str) -> dict[int, list[str]]:
        """The versions of each task's predictions, by task id, sorted."""


class RealStudio:
    """A real Label Studio."""

    def __init__(self, server: LabelStudioServer) -> None:
        self._server = server
        self.url, self.token = server.url, server.legacy_token

    def add_project(self, config: str) -> str:
        return self._server.project_key(self._server.add_project(config))

    def set_config(self, key: str, config: str) -> None:
        self._server.api("PATCH", f"/api/projects/{_id(key)}/", json={"label_config": config})

    def delete_project(self, key: str) -> None:
        self._server.api("DELETE", f"/api/projects/{_id(key)}/")

    def add_tasks(self, key: str, images: Sequence[str]) -> list[int]:
        tasks = [{"data": {"image": image}} for image in images]
        self._server.api("POST", f"/api/projects/{_id(key)}/import", json=tasks)
        return [task["id"] for task in self._server.tasks(_id(key))]

    def delete_task(self, task_id: int) -> None:
        self._server.api("DELETE", f"/api/tasks/{task_id}/")

    def annotate(self, task_id: int, parent: int | None = None) -> None:
        body = {"result": [], "parent_prediction": parent}
        self._server.api("POST", f"/api/tasks/{task_id}/annotations/", json=body)

    def predict(self, task_id: int, version: str, score: float = 0.0) -> int:
        body = {"task": task_id, "result": [], "model_version": version, "score": score}
        return int(self._server.api("POST", "/api/predictions/", json=body)["id"])

    def versions(self, key: str) -> dict[int, list[str]]:
        return {
            task["id"]: sorted(one["model_version"] for one in task["predictions"])
            for task in self._server.tasks(_id(key))
        }

    def predictions(self, key: str) -> dict[int, list[int]]:
        return {
            task["id"]: sorted(one["id"] for one in task["predictions"])
            for task in self._server.tasks(_id(key))
        }


class SmallStudio:
    """As much of Label Studio's API as jobs use, in memory.

    `before(method, path)` is called with each request and may raise `Broken`; `after` likewise,
    when it has been carried out.
    """

    token = "t" * 40

    def __init__(self) -> None:
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None
        self.asked: Counter[str] = Counter()
        self._configs: dict[int, str] = {}
        self._tasks: dict[int, Json] = {}
        self._predictions: dict[int, Json] = {}
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_project(self, config: str) -> str:
        self._configs[len(self._configs) + 1] = config
        return f"{len(self._configs)}.1700000000"

    def set_config(self, key: str, config: str) -> None:
        self._configs[_id(key)] = config

    def delete_project(self, key: str) -> None:
        del self._configs[_id(key)]

    def add_tasks(self, key: str, images: Sequence[str]) -> list[int]:
        first = len(self._tasks) + 1
        for task_id, image in enumerate(images, first):
            self._tasks[task_id] = {"project": _id(key), "image": image, "annotations": []}
        return [one for one, task in self._tasks.items() if task["project"] == _id(key)]

    def delete_task(self, task_id: int) -> None:
        del self._tasks[task_id]

    def annotate(self, task_id: int, parent: int | None = None) -> None:
        if parent is not None and parent not in self._predictions:
            raise Broken(400)
        self._tasks[task_id]["annotations"].append({"parent_prediction": parent})

    def predict(self, task_id: int, version: str, score: float = 0.0) -> int:
        with self._lock:
            key = max(self._predictions, default=0) + 1
            self._predictions[key] = {"task": task_id, "model_version": version, "score": score}
            return key

    def predictions(self, key: str) -> dict[int, list[int]]:
        with self._lock:
            return {
                task_id: sorted(self._of(task_id))
                for task_id, task in self._tasks.items()
                if task["project"] == _id(key)
            }

    def versions(self, key: str) -> dict[int, list[str]]:
        with self._lock:
            return {
                task_id: sorted(self._versions_of(task_id))
                for task_id, task in self._tasks.items()
                if task["project"] == _id(key)
            }

    def _versions_of(self, task_id: int) -> list[str]:
        return [one["model_version"] for one in self._of(task_id).values()]

    def _of(self, task_id: int) -> dict[int, Json]:
        return {key: one for key, one in self._predictions.items() if one["task"] == task_id}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """The JSON that answers a request. Errors: `Broken`."""
        parts = path.strip("/").split("/")[1:]
        with self._lock:
            match (method, *parts):
                case ("GET", "projects", number) if int(number) in self._configs:
                    config = self._configs[int(number)]
                    made = "2023-11-14T22:13:20Z"
                    return {"id": int(number), "label_config": config, "created_at": made}
                case ("GET", "tasks"):
                    return self._list(query)
                case ("POST", "projects", number, "import", "predictions"):
                    return self._import(int(number), body)
                case ("GET", "predictions"):
                    wanted = int(query["task"][0])
                    found = self._predictions.items()
                    return [
                        {"id": key, "result": [], **one}
                        for key, one in found
                        if one["task"] == wanted
                    ]
                case ("PATCH", "predictions", number) if int(number) in self._predictions:
                    names = ("model_version", "score")
                    self._predictions[int(number)] |= {name: body[name] for name in names}
                    return {"id": int(number), "result": []}
                case ("DELETE", "predictions", number) if int(number) in self._predictions:
                    del self._predictions[int(number)]
                    return {}
        raise Broken(404)

    def _list(self, query: dict[str, list[str]]) -> Json:
        wanted = json.loads(query["query"][0])
        selected = wanted.get("selectedItems", {}).get("included")
        found = [
            {"id": task_id, "data": {"image": task["image"]}, **self._parts(task_id, query)}
            for task_id, task in sorted(self._tasks.items())
            if task["project"] == int(query["project"][0])
            and (selected is None or task_id in selected)
            and all(self._fits(task_id, item) for item in wanted["filters"]["items"])
        ]
        return {"tasks": found[: int(query["page_size"][0])], "total": len(found)}

    def _parts(self, task_id: int, query: dict[str, list[str]]) -> Json:
        if query.get("fields") != ["all"]:
            return {}
        each = [{"id": key, "result": [], **one} for key, one in self._of(task_id).items()]
        return {"predictions": each, "annotations": self._tasks[task_id]["annotations"]}

    def _fits(self, task_id: int, item: Json) -> bool:
        column = item["filter"].removeprefix("filter:tasks:")
        operator, value = item["operator"], item["value"]
        if column == "predictions_model_versions":
            return (value[0] in self._versions_of(task_id)) == (operator == "contains")
        number = {
            "id": task_id,
            "total_annotations": len(self._tasks[task_id]["annotations"]),
            "total_predictions": len(self._of(task_id)),
        }[column]
        return {"greater": number > value, "less": number < value, "equal": number == value}[
            operator
        ]

    def _import(self, project: int, items: list[Json]) -> Json:
        if any(self._tasks.get(item["task"], {}).get("project") != project for item in items):
            raise Broken(400)
        good = [item for item in items if self._valid(project, item)]
        for item in good:
            self.predict(item["task"], item["model_version"], item["score"])
        return {"created": len(good)}

    def _valid(self, project: int, item: Json) -> bool:
        labels = [region["value"]["rectanglelabels"][0] for region in item["result"]]
        return all(f'value="{label}"' in self._configs[project] for label in labels)

    def _handler(studio) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer("GET")

            def do_POST(self) -> None:
                self._answer("POST")

            def do_PATCH(self) -> None:
                self._answer("PATCH")

            def do_DELETE(self) -> None:
                self._answer("DELETE")

            def _answer(self, method: str) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                address = urlsplit(self.path)
                try:
                    studio.asked[method + " " + address.path] += 1
                    studio.before(method, address.path)
                    value = studio.answer(
                        method,
                        address.path,
                        parse_qs(address.query),
                        json.loads(body) if body else None,
                    )
                    studio.after(method, address.path)
                    status = 201 if method == "POST" else 200
                except Broken as broken:
                    value, status = {"detail": "broken"}, broken.status
                text = json.dumps(value).encode()
                with suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Broken(Exception):
    """Answer with this status instead."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _id(key: str) -> int:
    return int(key.split(".")[0])
