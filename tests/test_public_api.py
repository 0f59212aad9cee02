"""The public names: there, documented, and the same in the synchronous and the asynchronous API."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import botwire
from botwire import AsyncMemory, AsyncSession, BotWireError, Memory, Session, _errors, stores

TWINS = [(Memory, AsyncMemory), (Session, AsyncSession)]
SYNCHRONOUS_ONLY = {
    # What has no awaitable form in Python: item access, length and `in`, and `with`, which has `async with`.
    *("__getitem__", "__setitem__", "__delitem__", "__contains__", "__len__", "__bool__", "__iter__", "__enter__", "__exit__"),
}


def public_methods(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if callable(member) and not name.startswith("_")}


def properties(cls: type) -> set[str]:
    return {name for name, member in vars(cls).items() if isinstance(member, property)}


def parameters(function: Any) -> list[tuple[str, Any, Any, Any]]:
    return [(p.name, p.kind, p.default, p.annotation) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("module", [botwire, stores])
def test_every_public_name_is_there(module: Any):
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert set(module.__all__) <= set(dir(module))


def test_a_star_import_brings_every_public_name():
    scope: dict[str, Any] = {}
    exec("from botwire import *", scope)

    assert set(botwire.__all__) <= set(scope)


def test_an_unknown_name_is_an_attribute_error_that_says_so():
    with pytest.raises(AttributeError, match="module 'botwire' has no attribute 'Memroy'"):
        _ = botwire.Memroy


@pytest.mark.parametrize(("ours", "theirs"), TWINS)
def test_the_async_api_has_the_same_methods(ours: type, theirs: type):
    assert set(public_methods(ours)) == set(public_methods(theirs))
    assert properties(ours) == properties(theirs)


@pytest.mark.parametrize(("ours", "theirs"), TWINS)
def test_the_async_methods_take_the_same_arguments(ours: type, theirs: type):
    others = public_methods(theirs)
    different = [name for name, method in public_methods(ours).items() if parameters(method) != parameters(others[name])]

    assert different == []
    assert parameters(ours.__init__) == parameters(theirs.__init__)


@pytest.mark.parametrize(("ours", "theirs"), TWINS)
def test_only_what_cannot_be_awaited_is_synchronous_alone(ours: type, theirs: type):
    def magic(cls: type) -> set[str]:
        return {name for name, member in vars(cls).items() if callable(member) and name.startswith("__")}

    assert magic(ours) - magic(theirs) <= SYNCHRONOUS_ONLY


@pytest.mark.parametrize("name", [name for name in botwire.__all__ if inspect.isclass(getattr(botwire, name))])
def test_every_public_class_and_method_says_what_it_is(name: str):
    cls = getattr(botwire, name)
    silent = [member for member, value in vars(cls).items() if not member.startswith("_") and callable(value) and not inspect.getdoc(value)]

    assert inspect.getdoc(cls)
    assert silent == []


def every_error() -> list[type[BotWireError]]:
    found, rest = [], [BotWireError]
    while rest:
        error = rest.pop()
        found.append(error)
        rest += error.__subclasses__()
    return [error for error in found if error.__module__ == "botwire._errors"]


def test_every_error_is_public_and_has_its_own_code():
    errors = every_error()

    assert {error.__name__ for error in errors} <= set(botwire.__all__)
    assert len({error.code for error in errors}) == len(errors)


def tree_drawn_in(text: str) -> dict[str, tuple[str, str]]:
    """Each error's parent and, in brackets, built-in base, from a tree drawn with lines."""
    drawn: dict[str, tuple[str, str]] = {}
    path: list[str] = []
    for line in text.splitlines():
        if found := re.match(r"^    ([│ ]*(?:[├└]── )?)([A-Z]\w+)(?: \((\w+)\))?(?:  |$)", line):
            depth, name = len(found[1]) // 4, found[2]
            path[depth:] = [name]
            drawn[name] = (path[depth - 1] if depth else "Exception", found[3] or "")
    return drawn


def test_the_tree_drawn_in_the_source_is_the_real_one():
    real = {error.__name__: error.__bases__ for error in every_error()}
    drawn = tree_drawn_in(_errors.__doc__ or "")

    assert {name: tuple(base.__name__ for base in bases) for name, bases in real.items()} == {
        name: (parent, builtin) if builtin else (parent,) for name, (parent, builtin) in drawn.items()
    }


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_an_error_survives_a_process_boundary(error: type[BotWireError]):
    arguments: tuple[Any, ...] = ("what and what to do", 7) if error in (botwire.VersionConflict, botwire.QuotaExceeded) else ("what",)
    original = error(*arguments)
    copy = pickle.loads(pickle.dumps(original))

    assert (type(copy), str(copy), vars(copy)) == (error, str(original), vars(original))


@pytest.mark.parametrize("cls", [Memory, AsyncMemory, Session, AsyncSession, stores.Store])
def test_the_file_for_the_type_checker_uses_every_method(cls: type, root: Path):
    used = set(re.findall(r"\.(\w+)\b", (root / "tests" / "typing" / "api.py").read_text(encoding="utf-8")))

    assert set(public_methods(cls)) | properties(cls) <= used


def test_the_file_for_the_type_checker_uses_every_public_name(root: Path):
    used = set(re.findall(r"\w+", (root / "tests" / "typing" / "api.py").read_text(encoding="utf-8")))

    assert set(botwire.__all__) <= used
