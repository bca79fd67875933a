"""`--base` and `--allow-other-base`, for every command that puts an adapter on its base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

base_option = click.option(
    "--base",
    metavar="ID|PATH",
    help="The adapter's base, where it is not found by itself. It must hold the same weights.",
)


def base_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Both, as the arguments `base` and `allow_other`."""
    allow = click.option(
        "--allow-other-base",
        "allow_other",
        is_flag=True,
        help="Use a base with other weights all the same, if the shapes fit; the record keeps a note of it.",
    )
    return base_option(allow(command))
