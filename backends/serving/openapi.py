"""What the requests look like, for the OpenAPI description; decoding itself is in label_studio."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
PROJECT: Schema = {
    "anyOf": [{"type": "string", "pattern": r"^[0-9]{1,18}(\.[0-9]{1,18})?$"}, ID],
    "description": '"<id>.<seconds since 1970 of its creation>"',
}


def _optional(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema, at_least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": at_least}


def _body(schema: Schema) -> Schema:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_TASK = _object(("data",), id=_optional(ID), data={"type": "object"})
_PROMPT = _object(
    ("id", "type", "from_name", "to_name", "value", "original_width", "original_height"),
    id=TEXT,
    type=TEXT,
    from_name=TEXT,
    to_name=TEXT,
    value=_object(("x", "y"), x={"type": "number"}, y={"type": "number"}),
    original_width={"type": "integer", "minimum": 1},
    original_height={"type": "integer", "minimum": 1},
)

SETUP = _body(
    _object(
        ("project", "schema"),
        project=PROJECT,
        schema={**TEXT, "description": "the label config"},
        hostname=_optional(TEXT),
        access_token=_optional(TEXT),
    )
)
PREDICT = _body(
    _object(
        ("tasks", "project"),
        tasks=_list(_TASK, at_least=1),
        project=PROJECT,
        label_config=_optional(TEXT),
        params=_optional(_object(context=_optional(_object(result=_list(_PROMPT))))),
    )
)
WEBHOOK = _body(_object(("action", "project"), action=TEXT, project=_object(("id",), id=ID)))

_REFUSAL = _object(("error",), error=TEXT, advice=TEXT)


def _refused(why: str) -> Schema:
    return {"description": why, "content": {"application/json": {"schema": _REFUSAL}}}


ERRORS: dict[int | str, Schema] = {
    400: _refused("not what Label Studio sends"),
    401: _refused("Basic auth is set, and missing or wrong here"),
    413: _refused("larger than LABELPILOT_MAX_REQUEST_MB"),
    422: _refused("the project's label config cannot be served"),
    424: _refused("the task's media cannot be had"),
    502: _refused("Label Studio refused or could not be reached"),
    503: _refused("no model yet, or too many requests; Retry-After says when"),
}
