"""`zoo config`: shows and changes a person's defaults."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli.common import json_option
from zoo.cli.help import Group
from zoo.cli.outputs import Default
from zoo.cli.tables import Column, print_table, wide_option
from zoo.registry import store
from zoo.runtime import config
from zoo.runtime.paths import expand
from zoo.runtime.terminal import say


class _Group(Group):
    """Explains the keys in its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Keys"):
            formatter.write_dl([(key, one.summary) for key, one in config.SETTINGS.items()])
        super().format_epilog(ctx, formatter)


@click.group(name="config", cls=_Group, examples=["zoo config list", "zoo config set precision fp32"])
def config_command() -> None:
    """Show and change your defaults: registry, namespace, precision, wide, tracker.

    An option of a command comes first, then an environment variable (ZOO_PRECISION), then the config file.
    For the registry, the nearest registry.json upwards comes before the config file.
    """


@config_command.command(name="list", examples=["zoo config list"])
@wide_option
@json_option(list[Default])
def list_command(as_json: bool) -> None:
    """Each setting, its value, and where that comes from."""
    rows = []
    for key in config.SETTINGS:
        value, origin = _current(key)
        rows.append(Default(key=key, value=value, origin=origin))
    print_table(
        rows, ("key", Column("value", lambda row: _shown(row["value"])), Column("from", "origin")), as_json
    )


@config_command.command(name="get", examples=["zoo config get registry"])
@click.argument("key")
def get_command(key: str) -> None:
    """Print the value of KEY that commands use here; an empty line where there is none."""
    config.check_key(key)
    click.echo(_shown(_current(key)[0]))


@config_command.command(
    name="set",
    examples=[
        "zoo config set precision fp32",
        "zoo config set registry ~/zoo",
        "zoo config set namespace my-team",
    ],
)
@click.argument("key")
@click.argument("value")
def set_command(key: str, value: str) -> None:
    """Write a default to the config file."""
    config.check_key(key)
    if key == "registry" and value:
        value = str(expand(value).absolute())
    wanted = config.check_value(key, value, "", f"zoo config set {key} {config.SETTINGS[key].example}")
    config.write(key, wanted)
    say(f"{key} is {_shown(wanted)}, in {config.path()}")
    used, origin = _current(key)
    if origin != config.IN_FILE:
        say(f"here the {origin} comes first: {_shown(used)}", "Warning:")


@config_command.command(name="unset", examples=["zoo config unset registry"])
@click.argument("key")
def unset_command(key: str) -> None:
    """Take KEY out of the config file."""
    if not config.write(key, None):
        config.check_key(key)
        say(f"{key} is not set in {config.path()}")


@config_command.command(name="path", examples=["zoo config path"])
def path_command() -> None:
    """Print the path of the config file, which need not exist. $ZOO_CONFIG names another one."""
    click.echo(config.path())


def _current(key: str) -> tuple[Any, str]:
    if key == "registry":
        path, origin = store.find()
        return str(path), origin
    return config.look_up(key)


def _shown(value: Any) -> str:
    """As it is written in the file."""
    return str(value).lower() if isinstance(value, bool) else str(value or "")
