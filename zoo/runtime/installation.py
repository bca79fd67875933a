"""Knows how this adapter-zoo was installed, and so the command that installs one of its extras."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

_NAME = "adapter-zoo"


def upgrade() -> str:
    """The command that brings a newer adapter-zoo, from where this one came."""
    try:
        origin = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return shlex.join(["git", "-C", str(Path(__file__).parents[2]), "pull"])
    url = origin.get("url", "")
    if "vcs_info" in origin:
        return f"pip install --upgrade '{_NAME} @ {origin['vcs_info']['vcs']}+{url}'"
    if origin.get("dir_info", {}).get("editable"):
        return shlex.join(["git", "-C", url2pathname(urlparse(url).path), "pull"])
    return f"pip install --upgrade {_NAME}"


def install_extra(extra: str) -> str:
    """`pip install -e 'CLONE[qlora]'` for an editable clone; else by the wheel's path, or by name.

    Where the file that it was installed from is gone, the requirements of the extra themselves are named.
    See the recorded origin of a distribution, https://packaging.python.org/specifications/direct-url/.
    """
    try:
        installed = distribution(_NAME)
    except PackageNotFoundError:  # run from a checkout that was not installed
        return f"pip install -e {shlex.quote(f'{Path(__file__).parents[2]}[{extra}]')}"
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    if not url:
        return f"pip install '{_NAME}[{extra}]'"
    if "vcs_info" in origin:
        return f"pip install '{_NAME}[{extra}] @ {origin['vcs_info']['vcs']}+{url}'"
    path = Path(url2pathname(urlparse(url).path))
    if path.exists():
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {editable}{shlex.quote(f'{path}[{extra}]')}"
    wanted = re.compile(rf"(.*?)\s*;\s*extra\s*==\s*['\"]{extra}['\"]")
    found = [one[1] for one in map(wanted.fullmatch, installed.requires or []) if one]
    return shlex.join(["pip", "install", *found])
