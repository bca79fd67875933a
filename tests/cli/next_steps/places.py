"""Finds every place in the code that says what to type next, and knows which of them was reached."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import msgspec
import pytest

from zoo import cli, errors
from zoo.runtime import checks, console

ROOT = Path(__file__).parents[3]
_ERRORS = {name: 1 for name, one in vars(errors).items() if isinstance(one, type)}
_MAKERS = _ERRORS | {"CheckResult": 3, "say_hint": 0}
"""What carries a hint -> the position of the hint among its arguments."""
_PASSED_ON = ("hint", "fix", "remedy")
_PRINTS = ROOT / "zoo" / "cli" / "next_steps.py"
_DEPTH = 4


@dataclass(frozen=True)
class Place:
    name: str
    """`zoo/training/prepare.py _check_name 1`: the file, the function, and the number within it."""
    file: Path
    first: int
    last: int


@cache
def all_places() -> dict[str, Place]:
    """Every call that makes an error with a hint or a check with a fix, and every text with `Next: `.

    A hint that is taken from another error is not made there. Where a function is given the hint, each
    call of the function is a place.
    """
    files = sorted([*(ROOT / "zoo").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files if file != _PRINTS}
    given = {
        one.name: parameters.index(named)
        for tree in trees.values()
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef) and len(parameters := _parameters(one)) > 1
        for named in _PASSED_ON
        if named in parameters and _is_text(one, named)
    }
    return {place.name: place for file, tree in trees.items() for place in _places(file, tree, given)}


def _places(file: Path, tree: ast.Module, given: dict[str, int]) -> Iterator[Place]:
    made = list(_calls(tree, ()))
    numbers: dict[str, int] = {}
    for call, within in made:
        name = ".".join(one.name for one in within) or "module"
        hint = _hint(call, _MAKERS | given)
        if isinstance(hint, ast.Name) and within and hint.id in _parameters(within[-1]):
            continue
        if hint is not None and not _is_passed_on(hint):
            numbers[name] = numbers.get(name, 0) + 1
            where = f"{file.relative_to(ROOT).as_posix()} {name} {numbers[name]}"
            yield Place(where, file, call.lineno, call.end_lineno or call.lineno)


def _calls(node: ast.AST, within: tuple[Any, ...]) -> Iterator[tuple[ast.expr, tuple[Any, ...]]]:
    """Each call and formatted text, with the classes and functions around it, in the order of the file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Call, ast.JoinedStr)) and within:
            yield child, within
        named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
        yield from _calls(child, (*within, child) if named else within)


def _hint(node: ast.expr, makers: dict[str, int]) -> ast.expr | None:
    if isinstance(node, ast.JoinedStr):
        texts = [one.value for one in node.values if isinstance(one, ast.Constant)]
        return node if any("Next: " in str(text) for text in texts) else None
    assert isinstance(node, ast.Call)
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if isinstance(node.func, ast.Call) and ast.unparse(node.func.func) == "type":
        name = "ZooError"  # type(error)(message, hint)
    if name not in makers:
        return None
    if name in ("say", "warn") and "report" not in ast.unparse(node.func).lower():
        return None
    if name in _MAKERS and node.args and isinstance(node.args[-1], ast.Starred):
        return node.args[-1].value
    if name == "_fail" and isinstance(node.args[0], ast.Starred):  # what click refused
        return node.args[0].value
    named = next((one.value for one in node.keywords if one.arg in _PASSED_ON), None)
    hint = node.args[makers[name]] if len(node.args) > makers[name] else named
    return None if isinstance(hint, ast.Constant) and not hint.value else hint


def _parameters(function: Any) -> list[str]:
    """Without `self`, as a call gives them."""
    if not isinstance(function, ast.FunctionDef):
        return []
    names = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
    return names[1:] if names[:1] == ["self"] else names


def _is_text(function: ast.FunctionDef, parameter: str) -> bool:
    """`hint: str | None`; another hint may be a type."""
    every = (*function.args.args, *function.args.kwonlyargs)
    annotation = next(one.annotation for one in every if one.arg == parameter)
    return annotation is not None and ast.unparse(annotation).startswith("str")


def _is_passed_on(hint: ast.expr) -> bool:
    """`error.hint`, `error.hint or ""`, or `error.hint and ` what is made of it."""
    first, *others = hint.values if isinstance(hint, ast.BoolOp) else [hint]
    changed = isinstance(hint, ast.BoolOp) and isinstance(hint.op, ast.And)
    nothing_else = all(isinstance(one, ast.Constant) and not one.value for one in others)
    return (changed or nothing_else) and isinstance(first, ast.Attribute) and first.attr in _PASSED_ON


class Reached:
    """Which places made a hint since it was last cleared."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.lines: set[tuple[str, int]] = set()
        modules = _that_check()
        printers = (console.StderrReport, "say"), (console.StderrReport, "warn"), (cli, "_fail")
        for owner, name in (
            (errors.ZooError, "__init__"),
            (errors.Interrupted, "__init__"),
            (console, "say_hint"),
            *printers,
        ):
            patch.setattr(owner, name, self._recorded(getattr(owner, name)))
        result = checks.CheckResult
        namespace = {"__post_init__": self._recorded(lambda _: None), "__doc__": result.__doc__}
        made = msgspec.defstruct(
            "CheckResult", [], bases=(result,), namespace=namespace, module=result.__module__, frozen=True
        )
        for module in modules:
            patch.setattr(module, "CheckResult", made)

    def names(self) -> set[str]:
        return {
            place.name
            for place in all_places().values()
            if any((str(place.file), line) in self.lines for line in range(place.first, place.last + 1))
        }

    def _recorded(self, made: Any) -> Any:
        def record(*args: Any, **settings: Any) -> Any:
            frame: FrameType | None = sys._getframe(1)
            for _ in range(_DEPTH):
                if frame is not None:
                    self.lines.add((frame.f_code.co_filename, frame.f_lineno))
                    frame = frame.f_back
            return made(*args, **settings)

        return record


@cache
def _that_check() -> list[ModuleType]:
    """Every module that has `CheckResult`."""
    import zoo

    for found in pkgutil.walk_packages(zoo.__path__, "zoo."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    ours = [module for name, module in sys.modules.items() if name.startswith("zoo")]
    return [one for one in ours if getattr(one, "CheckResult", None) is checks.CheckResult]
