"""Pages made of the code when the site is built: settings, command line, HTTP, Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, get_args

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.cli import get_docs_for_click

from backends.cli import app
from backends.serving.app import OWN_PATHS, create_app
from backends.settings import Settings

Schema = dict[str, Any]
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most"}
_PYTHON = [
    "micro_models",
    "micro_models.interface",
    "micro_models.active_learning",
    "micro_models.label_errors",
    "micro_models.consensus",
    "micro_models.certificates",
    "micro_models.learning_curves",
    "micro_models.impact",
    "micro_models.evaluation",
    "backends.interface",
]


def settings() -> str:
    """Every setting: its variable, default, meaning and limits."""
    rows = [
        f"| {_names(name, field)} | {_default(field)} | {_about(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    head = (
        "# Settings\n\nEnvironment variables, or lines of a file `.env` in the current folder.\n\n"
        "| variable | default | meaning |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def variables() -> Iterator[str]:
    """The names of all environment variables that are settings."""
    for name, field in Settings.model_fields.items():
        yield from _variables(name, field)


def _variables(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if alias is None:
        return [f"{Settings.model_config['env_prefix']}{name.upper()}"]
    return [str(each) for each in getattr(alias, "choices", [alias])]


def _names(name: str, field: FieldInfo) -> str:
    return " or ".join(f"`{each}`" for each in _variables(name, field))


def _default(field: FieldInfo) -> str:
    value = field.default
    if value in (None, "", PydanticUndefined):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _about(field: FieldInfo) -> str:
    told = [
        f"{words} {getattr(each, name)}"
        for each in field.metadata
        for name, words in _LIMITS.items()
        if hasattr(each, name)
    ]
    choices = [f"`{each}`" for each in get_args(field.annotation) if isinstance(each, str)]
    secret = SecretStr in (field.annotation, *get_args(field.annotation))
    parts = [field.description or "", ", ".join(told), " or ".join(choices)]
    return "; ".join([*filter(None, parts), *(["secret"] if secret else [])])


def command_line() -> str:
    """Every command with its options, as `--help` has them."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="labelpilot")
    text = get_docs_for_click(obj=command, ctx=context, name="labelpilot", title="Command line")
    # Two options that only prepare a shell.
    return "\n".join(line for line in text.splitlines() if "-completion`" not in line) + "\n"


def http() -> str:
    """Every request that the server answers, without those of its pages."""
    paths: dict[str, Schema] = create_app(Settings()).openapi()["paths"]
    alone = " ".join(f"`/{name}`," for name in OWN_PATHS).rstrip(",")
    parts = [
        "# HTTP\n\nLabel Studio's protocol stands at the root. The same requests below "
        f"{alone} ask one backend alone. What is refused is told as JSON: `error`, and `advice` "
        "where something can be done. `/openapi.json` of a running server has all of it."
    ]
    for path, operations in paths.items():
        if path.split("/")[1] in OWN_PATHS:
            continue
        parts += [_operation(path, method, told) for method, told in operations.items()]
    return "\n\n".join(parts) + "\n"


def _operation(path: str, method: str, told: Schema) -> str:
    lines = [f"## {method.upper()} {path}", "", told.get("description", told["summary"])]
    fields = [
        (one["name"], one["schema"], one.get("required", False), one.get("description", ""))
        for one in told.get("parameters", [])
    ]
    body = told.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = body.get("schema", {})
    fields += [
        (name, one, name in schema.get("required", []), one.get("description", ""))
        for name, one in schema.get("properties", {}).items()
    ]
    if fields:
        lines += ["", "| field | type | needed | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{name}` | {_kind(one)} | {'yes' if needed else ''} | {_escaped(about)} |"
            for name, one, needed, about in fields
        ]
    lines += ["", "| status | |", "|---|---|"]
    lines += [f"| {code} | {one['description']} |" for code, one in told["responses"].items()]
    return "\n".join(lines)


def _kind(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    return str(schema.get("type", "any"))


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")


def python_pages() -> dict[str, str]:
    """Page -> text of the modules that others build on; mkdocstrings fills them in."""
    return {f"reference/python/{_page(name)}.md": _python(name) for name in _PYTHON}


def _page(name: str) -> str:
    return "index" if name == _PYTHON[0] else name


def _python(name: str) -> str:
    """A package tells what it exports; one that exports nothing, its modules."""
    module = import_module(name)
    told = [name]
    if exported := getattr(module, "__all__", None):
        told += [_home(module, each) for each in exported]
    elif paths := getattr(module, "__path__", None):
        told += [f"{name}.{each.name}" for each in iter_modules(paths)]
    members = "true" if told == [name] else "false"
    options = f"    options:\n      show_root_heading: false\n      members: {members}\n"
    return f"# {name}\n\n::: {name}\n{options}" + "".join(f"\n::: {each}\n" for each in told[1:])


def _home(module: ModuleType, name: str) -> str:
    """Where it is defined: a function may have the name of its module, which would hide it."""
    return f"{getattr(getattr(module, name), '__module__', module.__name__)}.{name}"


PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings,
    "reference/cli.md": command_line,
    "reference/http.md": http,
}
