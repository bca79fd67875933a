"""Tells how much memory a process may still take: of the machine, of its control group, of the GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
_UNLIMITED = 1 << 60


class Free(NamedTuple):
    bytes: int
    of: str
    """Whose: `this machine`, `the control group of this process`."""


def free_memory(root: Path = ROOT) -> Free | None:
    """What is free for this process before the system ends it; None where the system does not tell.

    Linux only, control groups of both versions. Memory that only caches files counts as free.

    Args:
        root: of the file system; another one in tests.
    """
    with suppress(OSError, ValueError):
        text = (root / "proc/meminfo").read_text(encoding="utf-8")
        found = [Free(int(_number("MemAvailable:", text)) * 1024, "this machine")]
        found += [Free(one, "the control group of this process") for one in _of_groups(root)]
        return min(found)
    return None


def _of_groups(root: Path) -> Iterator[int]:
    """Of each group that this process is in and that has a limit, and of those around it."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                top, limit, used, cached = (
                    root / "sys/fs/cgroup",
                    "memory.max",
                    "memory.current",
                    "inactive_file",
                )
            elif "memory" in controllers.split(","):
                top, limit = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
                used, cached = "memory.usage_in_bytes", "total_inactive_file"
            else:
                continue
            below = Path(path.lstrip("/"))
            for folder in (top / below, *(top / parent for parent in below.parents)):
                with suppress(OSError, ValueError):
                    most = int((folder / limit).read_text(encoding="ascii"))  # v2 says `max` for none
                    if most < _UNLIMITED:
                        stat = (folder / "memory.stat").read_text(encoding="ascii")
                        taken = int((folder / used).read_text(encoding="ascii"))
                        yield max(0, most - taken + int(_number(cached, stat)))


def _number(name: str, text: str) -> str:
    found = re.search(rf"^{re.escape(name)}\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(name)
    return found[1]
