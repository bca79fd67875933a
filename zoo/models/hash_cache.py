"""Keeps the hashes of large files while size and times stay, and of their tensors under the file's hash."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

import msgspec

from zoo.models.safetensors_header import tensor_hashes
from zoo.runtime import cache

WORTH_KEEPING = 10_000_000
"""Bytes of a file that is not hashed in a moment."""
MOST_BYTES = 10_000_000
"""Of all that is kept: some two hundred bytes a file, and seventy a tensor."""
SETTLED_NS = 2_000_000_000
"""A file changed twice within its clock's tick looks unchanged: younger than this, it is not believed."""

Signature = tuple[str, int, int, int, int]


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    signature: Signature
    digest: str


def sha256(path: Path) -> str:
    import hashlib  # a listing has no use for the time that OpenSSL takes to load

    with path.open("rb") as file:
        if hasattr(hashlib, "file_digest"):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()  # Python 3.10
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """To tell what a file is. A guard against changed files reads them: `sha256`."""
    found = path.resolve().stat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return _hash(path, (str(path.resolve()), found.st_size, found.st_ino, *times))


@lru_cache(maxsize=4096)
def known_tensors(path: Path, digest: str) -> tuple[str, ...]:
    """A hash of each tensor in a safetensors file whose own SHA-256 is `digest`: see `tensor_hashes`.

    Raises:
        IncompatibleError: it is no safetensors file.
    """
    parent = cache.folder("hashes")
    if parent is None or path.stat().st_size < WORTH_KEEPING:
        return tuple(tensor_hashes(path))
    kept = parent / f"{digest}.tensors.msgpack"
    try:
        return msgspec.msgpack.decode(kept.read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.DecodeError):
        pass
    found = tuple(tensor_hashes(path))
    _keep(kept, found)
    return found


@lru_cache(maxsize=4096)
def _hash(path: Path, signature: Signature) -> str:
    parent = cache.folder("hashes")
    if parent is None or signature[1] < WORTH_KEEPING:
        return sha256(path)
    import hashlib

    kept = parent / f"{hashlib.sha256(signature[0].encode('utf-8', 'surrogateescape')).hexdigest()}.msgpack"
    try:
        known = msgspec.msgpack.decode(kept.read_bytes(), type=_Kept)
        if known.signature == signature:
            return known.digest
    except (OSError, msgspec.DecodeError):
        pass
    digest = sha256(path)
    if time.time_ns() - max(signature[3:]) > SETTLED_NS:
        _keep(kept, _Kept(signature, digest))
    return digest


def _keep(path: Path, value: object) -> None:
    content = msgspec.msgpack.encode(value)
    cache.write(path, lambda beside: beside.write_bytes(content), MOST_BYTES)
