"""The pages' templates, in which everything is escaped, and how pages are sent."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.staticfiles import StaticFiles

TEMPLATES = Environment(
    loader=PackageLoader("backends.serving", "templates"), autoescape=select_autoescape(["html"])
)
STATIC = StaticFiles(packages=[("backends.serving", "static")])

# A page runs and shows nothing but what this server sends, and no other page may frame it: names,
# labels and notes on it are written by people whom nobody here knows.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
