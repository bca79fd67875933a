"""Reads untrusted files as text and JSON, with an error that names what they are instead."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from zoo.errors import IncompatibleError
from zoo.models.safetensors_header import named


def read_json(path: Path) -> Any:
    """Untrusted JSON: no key twice, since parsers differ in which they keep.

    Raises:
        IncompatibleError: it is something else; the message says what.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=_unique)
    except RecursionError:
        raise IncompatibleError(f"{path} is nested too deep to be read.") from None
    except ValueError as error:
        raise IncompatibleError(f"{path} is not JSON: {error}.") from None


def read_object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise IncompatibleError(f"{path} holds no JSON object but a {type(value).__name__}.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it has the key '{named(twice)}' twice")
    return found


def read_text(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith(b"version https://git-lfs"):
        raise IncompatibleError(
            f"{path} is a Git LFS pointer, not the file: the repository was cloned without it.",
            shlex.join(["git", "-C", str(path.parent), "lfs", "pull"]),
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IncompatibleError(f"{path} is not text in UTF-8.") from None
