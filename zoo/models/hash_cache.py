"""Keeps the hashes of large files while size and times stay, and of their tensors under the file's hash."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import msgspec

from zoo.models.safetensors_header import tensor_hashes
from zoo.runtime import cache

WORTH_KEEPING = 10_000_000
"""Bytes of a file that is not hashed in a moment."""
MOST_BYTES = 10_000_000
"""Of all that is kept: some two hundred bytes a file, and seventy a tensor."""
SETTLED_NS = 2_000_000_000
"""A file changed twice within its clock's tick looks unchanged: younger than this, it is not believed."""

T = TypeVar("T")


def sha256(path: Path) -> str:
    import hashlib  # a listing has no use for the time that OpenSSL takes to load

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """To tell what a file is. A guard against changed files reads them: `sha256`."""
    found = path.resolve().stat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return _hash(path, max(times), repr((path.resolve(), found.st_size, found.st_ino, *times)))


@lru_cache(maxsize=4096)
def known_tensors(path: Path, digest: str) -> tuple[str, ...]:
    """A hash of each tensor in a safetensors file whose own SHA-256 is `digest`: see `tensor_hashes`.

    Raises:
        IncompatibleError: it is no safetensors file.
    """
    return _kept(path, f"{digest}.tensors", tuple[str, ...], lambda: tuple(tensor_hashes(path)))


@lru_cache(maxsize=4096)
def _hash(path: Path, changed_ns: int, signature: str) -> str:
    if time.time_ns() - changed_ns <= SETTLED_NS:
        return sha256(path)
    import hashlib

    name = hashlib.sha256(signature.encode("utf-8", "surrogateescape")).hexdigest()
    return _kept(path, name, str, lambda: sha256(path))


def _kept(path: Path, name: str, kind: type[T], make: Callable[[], T]) -> T:
    """What `make` finds out about a large file, kept in the cache under `name`."""
    parent = cache.folder("hashes")
    if parent is None or path.stat().st_size < WORTH_KEEPING:
        return make()
    kept = parent / f"{name}.msgpack"
    found = cache.read(kept, lambda one: msgspec.msgpack.decode(_intact(one.read_bytes()), type=kind))
    if found is None:
        found = make()
        content = msgspec.msgpack.encode(found)
        cache.write(kept, lambda beside: beside.write_bytes(_sum(content) + content), MOST_BYTES)
    return found


def _sum(content: bytes) -> bytes:
    return crc32(content).to_bytes(4, "big")


def _intact(content: bytes) -> bytes:
    """Raises ValueError: it is not what was kept."""
    if content[:4] != _sum(content[4:]):
        raise ValueError("its checksum differs")
    return content[4:]
