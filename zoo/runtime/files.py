"""Replaces a file whole, so that a crash leaves either the old one or the new one."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Leave the old file or the new one after any crash: write beside, sync, rename, sync the folder.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def is_disk_full(error: BaseException) -> bool:
    """Whether that is why something could not be written; libraries in other languages say it in words."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left" in str(error) or "inline_container.cc" in str(error)  # safetensors; torch.save


def sync(folder: Path) -> None:
    """Have the names in a folder reach the disk; Windows has no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
