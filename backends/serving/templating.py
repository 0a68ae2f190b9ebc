"""The pages' templates, in which everything is escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, select_autoescape

TEMPLATES = Environment(
    loader=PackageLoader("backends.serving", "templates"), autoescape=select_autoescape(["html"])
)
