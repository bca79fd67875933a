"""Reports what this machine is and has: versions, hardware, disk space, caches, access to the Hub.

Nothing here imports torch, which takes seconds and, where it is broken, the whole process with it: a child
process asks it. Of a token only its presence is reported.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from zoo.registry.store import Registry
from zoo.runtime import cache, device
from zoo.runtime.checks import FAILED, WARNING, CheckResult
from zoo.security.secrets import redact

_OWN = "adapter-zoo"
_LIBRARIES = ("torch", "transformers", "peft", "huggingface_hub", "safetensors", "datasets")
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "bf16", "asimd")
"""What decides how quick arithmetic is, as Linux calls it."""
_LITTLE_ROOM = 2_000_000_000
"""Bytes free below which the next base or run may not fit."""
_PROBE_SECONDS = 120.0
_HUB_SECONDS = 5.0
_PROBE = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json
from zoo.runtime.device import choose_precision, describe, device
print(json.dumps({"device": f"{device()}, {describe()}", "precision": choose_precision("auto")}))
"""

Facts = dict[str, str | int]


def probe() -> subprocess.Popen[str]:
    """A child process that imports torch; start it first, for it takes as long as the other checks."""
    command, pipe = [sys.executable, "-c", _PROBE], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def answer(process: subprocess.Popen[str]) -> tuple[Facts, list[CheckResult]]:
    """Wait for what `probe` started: facts of the device, or what is wrong with torch."""
    try:
        out, err = process.communicate(timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()[0], f"no answer within {_PROBE_SECONDS:.0f} s"
    try:
        facts: Facts = json.loads(out)
    except ValueError:
        last = (err.strip().splitlines() or [f"it ended with status {process.returncode}"])[-1]
        what = f"torch does not work: {redact(last)}"
        return {}, [CheckResult(sys.prefix, FAILED, what, "pip install --force-reinstall torch")]
    return facts, []


def machine() -> Facts:
    facts: Facts = {"python": platform.python_version(), "zoo": _version(_OWN)}
    facts |= {name: _version(name) for name in _LIBRARIES}
    facts |= {"platform": platform.platform(), "cpu": f"{device.cpu_name()}, {os.cpu_count()} threads"}
    if features := _cpu_features():
        facts["cpu features"] = features
    if total := _memory():
        facts["memory_bytes"] = total
    return facts


def room(registry: Registry) -> Facts:
    """Where the registry and the caches are, their size, and the free space there."""
    client, own = _client(), cache.folder("x")
    places = {
        "registry": registry.path.parent,
        "cache": own.parent if own else None,
        "HF_HOME": Path(client.HF_HOME) if client else None,
    }
    facts: Facts = {}
    for name, folder in places.items():
        facts[name] = str(folder or "none")
        if folder is not None and name != "registry":
            facts[f"{name} size_bytes"] = _size(folder)
        if folder is not None and (free := _free(folder)) is not None:
            facts[f"{name} free_bytes"] = free
    return facts | {"registry": str(registry.path)}


def hub(ask: bool) -> Facts:
    """Access to the Hub. With `ask` it is requested once, which takes seconds where nobody answers."""
    constants = _client()
    if constants is None:
        return {"hub": "not asked: its client is not installed"}
    facts: Facts = {
        "endpoint": redact(re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)),  # without its login
        "token": _token(constants.HF_TOKEN_PATH),
    }
    if constants.HF_HUB_OFFLINE:
        facts["hub"] = "not asked: HF_HUB_OFFLINE is set"
    elif not ask:
        facts["hub"] = "not asked"
    else:
        facts["hub"] = "reachable" if _answers(constants.ENDPOINT) else "not reachable"
    return facts


def shortcomings(facts: Facts) -> Iterator[CheckResult]:
    """Libraries that are missing or out of range, and disks nearly full."""
    yield from _unmet()
    for name, fix in (
        ("registry", "zoo list --sort bytes"),
        ("cache", shlex.join(["rm", "-r", str(facts.get("cache"))])),
        ("HF_HOME", "hf cache prune"),
    ):
        free = facts.get(f"{name} free_bytes")
        if isinstance(free, int) and free < _LITTLE_ROOM:
            yield CheckResult(str(facts[name]), WARNING, f"only {free / 1e9:.1f} GB are free", fix)


def _unmet() -> list[CheckResult]:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # it comes with transformers, which is then missing too
        return [_missing(name) for name in _LIBRARIES if _version(name) == "none"]
    found = []
    for wanted in map(Requirement, requires(_OWN) or []):
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        installed = _version(wanted.name)
        if installed == "none" or not wanted.specifier.contains(installed, prereleases=True):
            found.append(_missing(wanted.name, str(wanted.specifier), installed))
    return found


def _missing(name: str, range_: str = "", installed: str = "none") -> CheckResult:
    what = f"the zoo needs {name}{range_}, and {installed} is installed"
    return CheckResult(sys.prefix, FAILED, what, f"pip install '{name}{range_}'")


def _client() -> Any:
    """The settings of the Hub's client, or None where it cannot be imported: that is a result of its own."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return None
    return constants


@lru_cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _cpu_features() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return " ".join(name for name in _CPU_FEATURES if name in flags)


def _memory() -> int | None:
    """Bytes that this process may have: the machine's, or less where a container sets a limit."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def _free(folder: Path) -> int | None:
    """Bytes free where a folder is, or would be made."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def _size(folder: Path) -> int:
    """Bytes of the files below a folder. Links are not followed: the Hub's cache is full of them."""
    total = 0
    for place, _, names in os.walk(folder):  # which leaves out what is not there or not ours
        for name in names:
            with suppress(OSError):  # gone meanwhile
                found = os.lstat(os.path.join(place, name))
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def _token(path: str) -> str:
    """Looked for and not read through the client, which may fetch or renew one."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return f"present, in {name}"
    try:
        return "present, stored" if Path(path).read_bytes().strip() else "none"
    except OSError:
        return "none"


def _answers(endpoint: str) -> bool:
    """Any answer will do, a refusal too."""
    from huggingface_hub import get_session

    from zoo.hub import waits

    waits.install()
    try:
        get_session().get(f"{endpoint}/api/models", params={"limit": 1}, timeout=_HUB_SECONDS)
    except Exception:  # of requests, of httpx, of a proxy
        return False
    return True
