"""Docstrings are Markdown but for their doctests, which become code blocks here."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From a prompt to the next empty line.
_DOCTEST = re.compile(r"^( *)>>> .*(?:\n.*\S.*)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts a fence around each doctest of each docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for whatever it has read, but for packages."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called by griffe for a package."""
        if pkg.docstring:
            pkg.docstring.value = fenced(pkg.docstring.value)


def fenced(text: str) -> str:
    """The text with its doctests as code blocks; what is one already stays."""
    return text if "```pycon" in text else _DOCTEST.sub(r"\n\1```pycon\n\g<0>\n\1```", text)
