"""Every example in a docstring runs, and every public function of the library has one."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
import types
from importlib import import_module

import pytest

import micro_models

NEW = (
    "micro_models.active_learning",
    "micro_models.appearance",
    "micro_models.budget",
    "micro_models.evaluation",
    "micro_models.fitting",
    "micro_models.trainers",
)
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(micro_models.__path__, "micro_models.")
    if "ultralytics" not in name
]


@pytest.mark.parametrize("name", ["micro_models", *MODULES])
def test_the_examples_run(name: str) -> None:
    result = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name} fail"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(NEW)])
def test_every_public_function_has_an_example(name: str) -> None:
    module = import_module(name)
    lacking = [
        one.__name__ for one in _public_functions(module) if ">>>" not in (one.__doc__ or "")
    ]
    assert not lacking, f"without an example in {name}: {', '.join(lacking)}"


def _public_functions(module: types.ModuleType) -> list[types.FunctionType]:
    return [
        one
        for name, one in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(one)
        and one.__module__ == module.__name__
    ]
