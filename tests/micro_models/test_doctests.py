"""Every example in a docstring runs, and every public function of the library has one."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
import types
from importlib import import_module

import pytest

import micro_models

# What others call; the parts of `fit` and of its trainers call each other.
PUBLIC = (
    "micro_models.active_learning",
    "micro_models.appearance",
    "micro_models.budget",
    "micro_models.evaluation",
    "micro_models.examples",
    "micro_models.fitting.training",
)
CLASSES = (micro_models.MicroModel, micro_models.Budget)
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(micro_models.__path__, "micro_models.")
    if "ultralytics" not in name
]


@pytest.mark.parametrize("name", ["micro_models", *MODULES])
def test_the_examples_run(name: str) -> None:
    result = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name} fail"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(PUBLIC)])
def test_every_public_function_has_an_example(name: str) -> None:
    module = import_module(name)
    lacking = [
        one.__name__ for one in _public_functions(module) if ">>>" not in (one.__doc__ or "")
    ]
    assert not lacking, f"without an example in {name}: {', '.join(lacking)}"


def test_everything_that_the_package_offers_has_an_example() -> None:
    offered = [getattr(micro_models, name) for name in micro_models.__all__]
    functions = [one for one in offered if inspect.isfunction(one)]
    methods = [
        method
        for one in CLASSES
        for name, method in inspect.getmembers(one, inspect.isfunction)
        if not name.startswith("_")
    ]
    lacking = [one.__qualname__ for one in [*functions, *methods] if ">>>" not in str(one.__doc__)]
    assert not lacking, f"without an example: {', '.join(lacking)}"


def _public_functions(module: types.ModuleType) -> list[types.FunctionType]:
    return [
        one
        for name, one in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(one)
        and one.__module__ == module.__name__
    ]
