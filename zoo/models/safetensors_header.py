"""Reads and checks the header of a safetensors file without torch and without trusting it.

`safetensors.safe_open` checks dtypes, shapes and offsets. Before it is called, the length of the header and
the number of tensors are limited, because it takes five seconds over a header of 500,000 tensors, and a name
that comes twice is refused, which it accepts.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from zoo.errors import IncompatibleError, NotFoundError

Shape = tuple[int, ...]
MOST_HEADER_BYTES = 1_000_000
"""Ten thousand tensors of long names are half of it. The format itself allows a hundred times as much."""
MOST_TENSORS = 10_000
_LENGTH_BYTES = 8
_CHUNK = 1 << 24
"""Bytes in memory at once; a multiple of the size of every number."""
_HEAD_BYTES = 32
"""Enough to tell what else a file is."""
_PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")
_LONGEST_NAME = 120
"""Characters of a tensor's name that a message repeats."""
_ENTRY = {"dtype", "shape", "data_offsets"}
"""What a header says of a tensor."""
_PATTERNS = {
    "F64": (8, 0x7FF << 52, 0x7FF << 52),
    "F32": (4, 0x7F800000, 0x7F800000),
    "C64": (4, 0x7F800000, 0x7F800000),
    "F16": (2, 0x7C00, 0x7C00),
    "BF16": (2, 0x7F80, 0x7F80),
    "F8_E5M2": (1, 0x7C, 0x7C),
    "F8_E4M3": (1, 0x7F, 0x7F),
    "F8_E4M3FNUZ": (1, 0xFF, 0x80),
    "F8_E5M2FNUZ": (1, 0xFF, 0x80),
    "F8_E8M0": (1, 0xFF, 0xFF),
}
"""A float's bytes, and `bits & mask == pattern` for what is not finite: numpy lacks most of these types."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the header has it."""

    dtype: str
    shape: Shape
    start: int
    """Its first byte in the file."""
    end: int
    """The byte after its last."""


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a file by name, in the header's order.

    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: it is not a complete, valid safetensors file; the message says what it is instead.
    """
    return _read(path)[0]


def read_headers(paths: Iterable[Path]) -> dict[str, TensorInfo]:
    """The tensors of several files by name. Errors: see `read_header`."""
    return {name: info for path in paths for name, info in read_header(path).items()}


def metadata(path: Path) -> dict[str, str]:
    """The `__metadata__` of the file. Errors: see `read_header`."""
    return _read(path)[1]


def check_finite(path: Path) -> None:
    """
    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: a tensor holds NaN or infinity, or it is no safetensors file.
    """
    import numpy as np

    for name, info, chunks in _contents(path):
        if info.dtype not in _PATTERNS:
            continue
        width, mask, pattern = _PATTERNS[info.dtype]
        for chunk in chunks:
            if ((np.frombuffer(chunk, f"<u{width}") & mask) == pattern).any():
                raise _bad(path, f"holds NaN or infinity in the tensor {named(name)}")


def digests(path: Path) -> dict[str, int]:
    """The CRC-32 of each tensor's bytes, wherever in a file they are. Errors: see `read_header`."""
    found = {}
    for name, _, chunks in _contents(path):
        digest = 0
        for chunk in chunks:
            digest = crc32(chunk, digest)
        found[name] = digest
    return found


def tensor_hashes(path: Path) -> list[str]:
    """A SHA-256 over the name, dtype, shape and bytes of each tensor. Errors: see `read_header`."""
    import hashlib

    found = []
    for name, info, chunks in _contents(path):
        digest = hashlib.sha256(json.dumps([name, info.dtype, info.shape]).encode())
        for chunk in chunks:
            digest.update(chunk)
        found.append(digest.hexdigest())
    return found


def named(name: str) -> str:
    """A tensor's name for a message: it is untrusted, so it may be long or hold control characters."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}..."


def _read(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    content = _header_bytes(path)
    try:
        entries = json.loads(content.decode("utf-8"), object_pairs_hook=partial(_unique, path))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number of a million digits
        raise _bad(path, "is not a safetensors file: its header is not JSON") from None
    if not isinstance(entries, dict):
        raise _bad(path, "is not a safetensors file: its header is no JSON object")
    extra = entries.pop("__metadata__", None) or {}
    if len(entries) > MOST_TENSORS:
        raise _bad(path, f"has {len(entries):,} tensors; {MOST_TENSORS:,} are allowed")
    try:
        with safe_open(path, "np"):
            pass
    except SafetensorError as error:
        detail = str(error).removeprefix("Error while deserializing header: ")
        if "not fully covered" in detail:
            raise _bad(path, "is cut short, or has bytes behind its last tensor", "fetch it again") from None
        raise _bad(path, f"is damaged: {named(detail)}") from None
    start = _LENGTH_BYTES + len(content)
    tensors = {}
    for name, entry in entries.items():
        if entry.keys() != _ENTRY:
            raise _bad(
                path, f"is damaged: its header has more than {', '.join(sorted(_ENTRY))} of {named(name)}"
            )
        begin, end = entry["data_offsets"]
        tensors[name] = TensorInfo(entry["dtype"], tuple(entry["shape"]), start + begin, start + end)
    return tensors, extra


def _header_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"{path} is not there.")
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(_HEAD_BYTES)
        length = int.from_bytes(head[:_LENGTH_BYTES], "little")
        if length > size - _LENGTH_BYTES:
            raise _not_whole(path, head, size)
        if length > MOST_HEADER_BYTES:
            raise _bad(path, f"has a header of {length:,} bytes; {MOST_HEADER_BYTES:,} are allowed")
        file.seek(_LENGTH_BYTES)
        return file.read(length)


def _not_whole(path: Path, head: bytes, size: int) -> IncompatibleError:
    """What a file is whose first eight bytes are no length of a header within it."""
    if head.startswith(b"version https://git-lfs"):
        return _bad(
            path,
            "is a Git LFS pointer, not the weights: the repository was cloned without them",
            shlex.join(["git", "-C", str(path.parent), "lfs", "pull"]),
        )
    if head.startswith(b"PK\x03\x04") or (head[:1] == b"\x80" and head[1:2] in _PICKLE_PROTOCOLS):
        return _bad(path, "is pickled weights under another name, and pickle runs code")
    if size == 0:
        return _bad(path, "is empty", "fetch it again")
    if head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{":
        return _bad(path, "is cut short within its header", "fetch it again")
    return _bad(path, "is not a safetensors file")


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a key come twice, and readers differ in which of them they believe."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _bad(path, f"is not a safetensors file: its header has {named(twice)} twice")
    return found


def shape_words(shape: Shape) -> str:
    """`8x768`; a number by itself has no sides."""
    return "x".join(map(str, shape)) or "one number"


def _contents(path: Path) -> Iterator[tuple[str, TensorInfo, Iterator[bytes]]]:
    """Each tensor with its name and its bytes, in the header's order."""
    tensors = read_header(path)
    with path.open("rb") as file:
        for name, info in tensors.items():
            yield name, info, _chunks(file, info)


def _chunks(file: BinaryIO, info: TensorInfo) -> Iterator[bytes]:
    file.seek(info.start)
    left = info.end - info.start
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:  # it shrank while it was read
            return
        left -= len(chunk)
        yield chunk


def _bad(path: Path, what: str, hint: str | None = None) -> IncompatibleError:
    return IncompatibleError(f"{path} {what}.", hint)
