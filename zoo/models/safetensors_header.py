"""Reads and checks the header of a safetensors file without torch and without trusting it.

Eight bytes of length, a JSON header, the numbers: sizes are compared with the file's before anything is
parsed or allocated, so that a hostile file of any size costs no more than its first million bytes.
`safetensors.safe_open` is no substitute: it accepts a tensor that is named twice, and reads a header of
500,000 tensors for five seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zlib import crc32

from zoo.errors import IncompatibleError, NotFoundError

if TYPE_CHECKING:
    import numpy as np

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
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "F64": 64,
    "C64": 64,
}
"""Every dtype of the format, in bits a number."""
_PATTERNS = {
    "F16": (2, 0x7C00, 0x7C00),
    "BF16": (2, 0x7F80, 0x7F80),
    "F8_E5M2": (1, 0x7C, 0x7C),
    "F8_E4M3": (1, 0x7F, 0x7F),
    "F8_E4M3FNUZ": (1, 0xFF, 0x80),
    "F8_E5M2FNUZ": (1, 0xFF, 0x80),
    "F8_E8M0": (1, 0xFF, 0xFF),
}
"""Where numpy has no such float: its bytes, and `bits & mask == pattern` for what is no finite number."""
_FLOATS = {"F32": "<f4", "F64": "<f8", "C64": "<f4"}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the header has it."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Its first byte in the file."""
    end: int
    """The byte after its last."""


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a file by name, in the header's order.

    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: it is no whole, honest safetensors file; the message says what it is instead.
    """
    header, size = _read(path)
    if header.start + header.data_bytes != size:
        lacking = header.start + header.data_bytes - size
        raise _bad(
            path,
            f"is cut short: {lacking:,} bytes of its numbers are missing"
            if lacking > 0
            else f"has {-lacking:,} bytes behind its last tensor",
            "fetch it again",
        )
    return header.tensors


def metadata(path: Path) -> dict[str, str]:
    """The `__metadata__` of the file.

    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: as `read_header` does.
    """
    return _read(path)[0].metadata


def check_finite(path: Path) -> None:
    """
    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: a tensor holds NaN or infinity, or it is no safetensors file.
    """
    import numpy as np

    with path.open("rb") if path.is_file() else _missing(path) as file:
        for name, info in read_header(path).items():
            if info.dtype not in _FLOATS and info.dtype not in _PATTERNS:
                continue
            for chunk in _chunks(file, info):
                if not _is_finite(np.frombuffer(chunk, dtype=np.uint8), info.dtype):
                    raise _bad(path, f"holds NaN or infinity in the tensor {named(name)}")


def digests(path: Path) -> dict[str, int]:
    """The CRC-32 of each tensor's bytes: equal numbers, whatever the file that they lie in.

    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: it is no safetensors file.
    """
    found = {}
    with path.open("rb") if path.is_file() else _missing(path) as file:
        for name, info in read_header(path).items():
            digest = 0
            for chunk in _chunks(file, info):
                digest = crc32(chunk, digest)
            found[name] = digest
    return found


def tensor_hashes(path: Path) -> list[str]:
    """A SHA-256 over the name, dtype, shape and bytes of each tensor, in the header's order.

    Raises:
        NotFoundError: there is no such file.
        IncompatibleError: it is no safetensors file.
    """
    import hashlib

    found = []
    with path.open("rb") if path.is_file() else _missing(path) as file:
        for name, info in read_header(path).items():
            digest = hashlib.sha256(json.dumps([name, info.dtype, info.shape]).encode())
            for chunk in _chunks(file, info):
                digest.update(chunk)
            found.append(digest.hexdigest())
    return found


def named(name: str) -> str:
    """A tensor's name for a message: it is untrusted, so it may be long or hold control characters."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}..."


@dataclass(frozen=True)
class _Header:
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    start: int
    """Where the numbers begin."""
    data_bytes: int


def _read(path: Path) -> tuple[_Header, int]:
    with path.open("rb") if path.is_file() else _missing(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(_HEAD_BYTES)
        length = int.from_bytes(head[:_LENGTH_BYTES], "little")
        if length > size - _LENGTH_BYTES:
            raise _not_whole(path, head, size)
        if length > MOST_HEADER_BYTES:
            raise _bad(path, f"has a header of {length:,} bytes; {MOST_HEADER_BYTES:,} are allowed")
        file.seek(_LENGTH_BYTES)
        return _parse(path, file.read(length)), size


def _not_whole(path: Path, head: bytes, size: int) -> IncompatibleError:
    """What a file is whose first eight bytes are no length of a header within it."""
    if head.startswith(b"version https://git-lfs"):
        return _bad(
            path,
            "is a Git LFS pointer, not the weights: the repository was cloned without them",
            "git lfs pull, in its clone",
        )
    if head.startswith(b"PK\x03\x04") or (head[:1] == b"\x80" and head[1:2] in _PICKLE_PROTOCOLS):
        return _bad(path, "is pickled weights under another name, and pickle runs code")
    if size == 0:
        return _bad(path, "is empty", "fetch it again")
    if head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{":
        return _bad(path, "is cut short within its header", "fetch it again")
    return _bad(path, "is not a safetensors file")


def _parse(path: Path, content: bytes) -> _Header:
    try:
        entries = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of a million digits
        said = str(error) if isinstance(error, _DuplicateError) else "its header is not JSON"
        raise _bad(path, f"is not a safetensors file: {said}") from None
    if not isinstance(entries, dict):
        raise _bad(path, "is not a safetensors file: its header is no JSON object")
    extra = entries.pop("__metadata__", None) or {}
    if not isinstance(extra, dict) or not all(isinstance(value, str) for value in extra.values()):
        raise _bad(path, "has metadata that is not text")
    if len(entries) > MOST_TENSORS:
        raise _bad(path, f"has {len(entries):,} tensors; {MOST_TENSORS:,} are allowed")
    start = _LENGTH_BYTES + len(content)
    tensors = {name: _tensor(path, name, entry, start) for name, entry in entries.items()}
    end = start
    for name, info in sorted(tensors.items(), key=lambda one: (one[1].start, one[1].end)):
        if info.start != end:
            flaw = "overlaps the one before it" if info.start < end else "leaves a hole before it"
            raise _bad(path, f"is damaged: the tensor {named(name)} {flaw}")
        end = info.end
    return _Header(tensors, extra, start, end - start)


class _DuplicateError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a key come twice, and readers differ in which of them they believe."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateError(f"its header has {named(twice)} twice")
    return found


def _tensor(path: Path, name: str, entry: Any, start: int) -> TensorInfo:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, f"is damaged: its header describes the tensor {named(name)} wrongly")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _bad(path, f"has a tensor {named(name)} of the unknown dtype {named(str(dtype))}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(path, f"is damaged: the tensor {named(name)} has no valid shape and place")
    begin, end = offsets
    if math.prod(shape) * _BITS[dtype] != (end - begin) * 8:
        raise _bad(
            path,
            f"is damaged: the tensor {named(name)} of {dtype} {shape_words(tuple(shape))} "
            f"lies in {end - begin:,} bytes",
        )
    return TensorInfo(dtype, tuple(shape), start + begin, start + end)


def shape_words(shape: tuple[int, ...]) -> str:
    """`8x768`; a number by itself has no sides."""
    return "x".join(map(str, shape)) or "one number"


def _are_sizes(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= 32
        and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
    )


def _chunks(file: BinaryIO, info: TensorInfo) -> Iterator[bytes]:
    file.seek(info.start)
    left = info.end - info.start
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:  # it shrank while it was read
            return
        left -= len(chunk)
        yield chunk


def _is_finite(content: np.ndarray, dtype: str) -> bool:
    import numpy as np

    if dtype in _FLOATS:
        return bool(np.isfinite(content.view(_FLOATS[dtype])).all())
    width, mask, pattern = _PATTERNS[dtype]
    bits = content.view(f"<u{width}")
    return not bool(((bits & mask) == pattern).any())


def _missing(path: Path) -> BinaryIO:
    raise NotFoundError(f"{path} is not there.")


def _bad(path: Path, what: str, hint: str | None = None) -> IncompatibleError:
    return IncompatibleError(f"{path} {what}.", hint)
