"""Knows how this adapter-zoo was installed, and so the command that installs one of its extras."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

_NAME = "adapter-zoo"


def upgrade() -> str:
    """The command that brings a newer adapter-zoo, from where this one came."""
    origin = _origin()
    if "vcs_info" in origin:
        return f"pip install --upgrade '{_NAME} @ {_repository(origin)}'"
    if origin.get("dir_info", {}).get("editable"):
        return shlex.join(["git", "-C", str(_path(origin)), "pull"])
    return f"pip install --upgrade {_NAME}"


def install_extra(extra: str) -> str:
    """`pip install -e 'CLONE[qlora]'` for an editable clone; else by the wheel's path, or by name.

    Where the file that it was installed from is gone, the requirements of the extra themselves are named.
    """
    origin = _origin()
    if not origin:
        return f"pip install '{_NAME}[{extra}]'"
    if "vcs_info" in origin:
        return f"pip install '{_NAME}[{extra}] @ {_repository(origin)}'"
    path = _path(origin)
    if path.exists():
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {editable}{shlex.quote(f'{path}[{extra}]')}"
    return shlex.join(["pip", "install", *requirements(extra)])


def requirements(extra: str) -> list[str]:
    """What an extra installs, as pip takes it; nothing where this zoo was not installed."""
    with suppress(PackageNotFoundError):
        lines = [line.partition(";") for line in requires(_NAME) or ()]
        return [one.strip() for one, _, when in lines if re.search(rf"extra == .{extra}\b", when)]
    return []


def _origin() -> dict[str, Any]:
    """Where it was installed from; empty for a package index. A checkout that runs as it is is editable.

    See https://packaging.python.org/specifications/direct-url/.
    """
    try:
        found: dict[str, Any] = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return {"url": Path(__file__).parents[2].as_uri(), "dir_info": {"editable": True}}
    return found


def _repository(origin: dict[str, Any]) -> str:
    return f"{origin['vcs_info']['vcs']}+{origin['url']}"


def _path(origin: dict[str, Any]) -> Path:
    return Path(url2pathname(urlparse(origin["url"]).path))
