"""`zoo schema`: gives the JSON Schema of what a command prints with --json, made from its types."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

import click

from zoo.cli.common import JsonOption, json_option, print_json
from zoo.cli.help import Command
from zoo.cli.outputs import Printing
from zoo.cli.tables import print_table, wide_option
from zoo.errors import UsageError
from zoo.runtime.suggest import closest

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command(name="schema", cls=Command, examples=["zoo schema list", "zoo schema data check"])
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@wide_option
@json_option(list[Printing], dict[str, Any])
@click.pass_context
def schema_command(ctx: click.Context, words: tuple[str, ...], as_json: bool) -> None:
    """Print the JSON Schema (draft 2020-12) of what COMMAND prints with --json.

    Without COMMAND: the commands that take --json.
    """
    root = ctx.find_root().command
    if words:
        name = " ".join(words)
        print_json(schema_of(*_outputs(root, name, ctx), title=f"zoo {name} --json"))
        return
    rows = [Printing(command=name, prints=_described(outputs)) for name, outputs in _printing(root, ctx)]
    print_table(rows, ("command", "prints"), as_json)


def schema_of(*outputs: Any, title: str) -> dict[str, Any]:
    """The JSON Schema of a value of one of the types `outputs`.

    An object has the fields of its type and no others, but for a TypedDict whose fields may be absent: to
    such a one plugins add. What is written below a field is its description.
    """
    import msgspec

    tops, parts = msgspec.json.schema_components(outputs, ref_template="#/$defs/{name}")
    classes = {one.__name__: one for one in _classes(outputs)}
    for name, part in parts.items():
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"])
        part["additionalProperties"] = bool(getattr(classes[name], "__optional_keys__", ()))
        for field, text in _descriptions(classes[name]):
            part["properties"][field]["description"] = text
    top = tops[0] if len(tops) == 1 else {"anyOf": list(tops)}
    return {"$schema": _DIALECT, "title": title, **top, **({"$defs": parts} if parts else {})}


def _outputs(root: click.Command, name: str, ctx: click.Context) -> list[Any]:
    """Raises UsageError: no command is called that, or it has no --json."""
    command: click.Command | None = root
    for word in name.split():
        command = command.get_command(ctx, word) if isinstance(command, click.Group) else None
    if found := _types_of(command):
        return found
    known = [one for one, _ in _printing(root, ctx)]
    below = next((f" {one}" for one in known if one.startswith(f"{name} ")), "")
    if command is None:
        near = closest(name, known)
        more, hint = (f" Did you mean '{near}'?", f"zoo schema {near}") if near else ("", "zoo schema")
        raise UsageError(f"no command is called '{name}'.{more}", hint)
    raise UsageError(f"zoo {name} has no --json.", f"zoo schema{below}")


def _printing(
    command: click.Command | None, ctx: click.Context, name: str = ""
) -> Iterator[tuple[str, list[Any]]]:
    """Every command with --json from `command` down, and the types of what it prints."""
    if found := _types_of(command):
        yield name, found
    if isinstance(command, click.Group):
        for word in command.list_commands(ctx):
            yield from _printing(command.get_command(ctx, word), ctx, f"{name} {word}".strip())


def _types_of(command: click.Command | None) -> list[Any]:
    params = command.params if command else ()
    return [one for param in params if isinstance(param, JsonOption) for one in param.outputs]


def _described(outputs: Iterable[Any]) -> str:
    """`list of Metric, or Metric`."""
    return ", or ".join(
        f"list of {get_args(one)[0].__name__}" if get_origin(one) is list else one.__name__ for one in outputs
    )


def _classes(kinds: Iterable[Any]) -> Iterator[type]:
    """Every class with fields among `kinds`, and in their fields."""
    for kind in kinds:
        yield from _classes(get_args(kind))
        fields = get_type_hints(kind) if get_origin(kind) is None and isinstance(kind, type) else {}
        if fields:
            yield kind
            yield from _classes(fields.values())


def _descriptions(of: type) -> Iterator[tuple[str, str]]:
    """Each field with the text below it, which Python itself does not keep."""
    for part in of.__mro__:
        source = ""
        with suppress(OSError, TypeError):  # a class that is not written in Python
            source = textwrap.dedent(inspect.getsource(part))
        for node in ast.walk(ast.parse(source)):
            for pair in pairwise(node.body) if isinstance(node, ast.ClassDef) else ():
                match pair:
                    case (
                        ast.AnnAssign(target=ast.Name(id=field)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        yield field, inspect.cleandoc(text)
