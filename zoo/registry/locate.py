"""Finds the registry.json that a command works on."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.registry.registry_json import FILE
from zoo.runtime.paths import expand, is_folder


def locate(given: str | None = None) -> Path:
    """`--registry`, `$ZOO_REGISTRY`, the nearest registry.json upwards, the user's config, or data folder."""
    return find(given)[0]


def find(given: str | None = None) -> tuple[Path, str]:
    """The path of registry.json, and what names it, in the order of `locate`.

    What a project has comes before a person's default, which comes before ours.

    Raises:
        UsageError: the user's config is damaged.
    """
    if given:
        return _file_in(given), "option"
    if named := os.environ.get("ZOO_REGISTRY"):
        return _file_in(named), "environment variable ZOO_REGISTRY"
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder / FILE, "nearest registry.json"
    from zoo.runtime import config  # not needed in a project

    if chosen := config.read().get("registry"):
        return _file_in(str(chosen)), config.IN_FILE
    import platformdirs

    return Path(platformdirs.user_data_dir("adapter-zoo", appauthor=False)) / FILE, config.DEFAULT


def _file_in(named: str) -> Path:
    path = expand(named)
    return path / FILE if is_folder(path) or not path.suffix else path
