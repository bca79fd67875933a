"""Converts pickled weights to safetensors in a process without tokens, with little memory and time."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.errors import IncompatibleError, NotFoundError, ZooError
from zoo.models.safetensors_header import check_finite, read_header
from zoo.security.secrets import clean

_SECONDS = 120
"""For importing torch and a small adapter; a disk gives more than the bytes below in each further second."""
_BYTES_PER_SECOND = 20_000_000
_MEMORY = 1 << 29
"""Bytes beside four times the file: the numbers as read, as copied and as written."""
_KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")
"""Variables without which Python or torch may not start; the zoo itself may lie on PYTHONPATH."""


def convert(path: Path, out: Path) -> None:
    """Write the tensors of the pickled file `path` to the safetensors file `out`.

    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: it holds anything but a flat dictionary of tensors; the message says what.
        ZooError: it took too long.
    """
    if not path.is_file():
        raise NotFoundError(f"{path} is not there.")
    seconds = _SECONDS + path.stat().st_size // _BYTES_PER_SECOND
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [sys.executable, "-m", "zoo.security.convert_bin", path.absolute(), out.absolute()],
                env={**kept, "HOME": empty, "PYTHONUSERBASE": site.getuserbase(), "OMP_NUM_THREADS": "1"},
                cwd=empty,  # an untrusted folder may hold a module called `json`
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        if done.returncode:
            lines = clean(done.stdout.decode("utf-8", "replace")).strip().splitlines()
            why = lines[-1] if lines else "it asked for more memory or time than its size explains"
            raise IncompatibleError(f"{path} is not converted: {why}.")
        read_header(out)
        check_finite(out)
    except subprocess.TimeoutExpired:
        out.unlink(missing_ok=True)
        raise ZooError(f"{path} was not converted within {seconds} s.") from None
    except ZooError:
        out.unlink(missing_ok=True)
        raise


def _main(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    size = source.stat().st_size
    _limit(size)
    save_file(_flat(_load(source), size), target, metadata={"format": "pt"})


def _load(source: Path) -> Any:
    import pickle

    import torch

    with source.open("rb") as file:
        if file.read(23) == b"version https://git-lfs":
            _refuse("it is a Git LFS pointer, not the weights")
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        _refuse(_forbidden(str(error), source))
    except Exception as error:  # the readers of zip, tar and pickle have no common error
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            _refuse("it asks for more memory than its size explains")
        _refuse(f"it cannot be read ({type(error).__name__})")


def _forbidden(message: str, source: Path) -> str:
    """The name that it would have called, out of torch's advice or of a pickle that torch did not make."""
    found = re.search(r"GLOBAL ([\w.]+)", message)
    name = found[1] if found else _called(source)
    return f"it would run {name}" if name else "it is damaged, or holds more than tensors"


def _called(source: Path) -> str | None:
    """The first name that a bare pickle looks up; its instructions are only listed, not followed."""
    import pickletools

    texts: list[str] = []
    with source.open("rb") as file, suppress(ValueError, MemoryError):
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if operation.name == "STACK_GLOBAL":
                return ".".join(texts[-2:])
            if isinstance(argument, str):
                texts.append(argument)
    return None


def _flat(loaded: Any, size: int) -> dict[str, Any]:
    """The tensors by name, each with numbers of its own: files share them among tied weights."""
    import torch

    if not isinstance(loaded, dict) or not loaded:
        _refuse(f"it holds no dictionary of tensors but a {type(loaded).__name__}")
    total = 0
    for name, tensor in loaded.items():
        if not isinstance(name, str):
            _refuse(f"it has a key that is no text but a {type(name).__name__}")
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
        if not plain or tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            _refuse(f"'{name[:80]}' is no plain tensor but a {type(tensor).__name__}")
        total += tensor.numel() * tensor.element_size()
        if total > 2 * size + (1 << 20):  # a view may call one number a million
            _refuse("its tensors have more numbers than the file")
    return {name: tensor.detach().contiguous().clone() for name, tensor in loaded.items()}


def _limit(size: int) -> None:
    """Where the system can: memory and time beyond what torch itself took, one file, no processes."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit is what there is
        return
    seconds = _SECONDS + size // _BYTES_PER_SECOND
    status = Path("/proc/self/statm")
    mapped = int(status.read_text().split()[0]) * resource.getpagesize() if status.is_file() else 0
    wanted = {
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": 2 * size + (4 << 20),
        "RLIMIT_NPROC": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 64,
    }
    if mapped:  # else what torch has mapped is unknown, and any limit may be below it
        wanted["RLIMIT_AS"] = mapped + 4 * size + _MEMORY
    for name, value in wanted.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (limit, limit))


def _refuse(why: str) -> Any:
    """One line for the parent, and nothing of the interpreter's own end: it may be out of memory."""
    print(json.dumps(why, ensure_ascii=False)[1:-1], flush=True)
    os._exit(5)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
