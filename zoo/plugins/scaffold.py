"""Writes a plugin to start from: a folder that pip installs, with a plugin, its test and a README."""

from __future__ import annotations

import itertools
import keyword
import re
from pathlib import Path
from string import Template

from zoo.errors import UsageError
from zoo.plugins import manager
from zoo.runtime.suggest import instead

_TEMPLATES = Path(__file__).with_name("templates")
"""One folder for each kind, with `$name` and the like to fill in; .txt because they are not modules."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 60


def write_package(kind: str, name: str, into: Path) -> Path:
    """Make the folder `into/name`: `pip install` it, and `zoo plugin check NAME` passes.

    Raises:
        UsageError: the name is not valid, or a plugin or a folder has it.
    """
    _check_name(kind, name, into)
    folder = into / name
    if folder.exists():
        raise UsageError(f"{folder} exists already.", instead(_free(kind, name, into), name))
    distribution = name if name.startswith("zoo-") else f"zoo-{name}"
    module = distribution.replace("-", "_")
    fields = {
        "name": name,
        "distribution": distribution,
        "module": module,
        "class_name": "".join(part.capitalize() for part in name.split("-")),
    }
    for template, path in (
        ("pyproject.toml", "pyproject.toml"),
        ("README.md", "README.md"),
        ("module.py", f"{module}.py"),
        ("test.py", f"tests/test_{module}.py"),
    ):
        text = (_TEMPLATES / kind / f"{template}.txt").read_text(encoding="utf-8")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(Template(text).substitute(fields), encoding="utf-8")
    return folder


def _check_name(kind: str, name: str, into: Path) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or keyword.iskeyword(name):
        plain = "-".join(re.findall("[a-z0-9]+", name.lower()))
        my_name = f"my-{plain}"[:_LONGEST].rstrip("-") if plain else f"my-{kind}"
        raise UsageError(
            f"'{name}' is not a plugin name: small letters, digits and single hyphens, a letter first, "
            f"at most {_LONGEST}.",
            instead(_free(kind, my_name, into), name),
        )
    installed = manager.find(kind).get(name)
    if installed is not None:
        raise UsageError(
            f"a {kind} is called '{name}' already: it is in {installed.distribution}.",
            instead(_free(kind, f"my-{name}", into), name),
        )


def _free(kind: str, name: str, into: Path) -> str:
    """The name, numbered where a plugin or a folder has it."""
    tried = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(one for one in tried if one not in manager.find(kind) and not (into / one).exists())
