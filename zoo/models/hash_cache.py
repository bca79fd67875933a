"""Hashes of large files, each computed once: believed as long as the file has its size and its times."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

import msgspec

from zoo.models.fingerprint import sha256, weight_files
from zoo.runtime import cache

WORTH_KEEPING = 10_000_000
"""Bytes of a file that is not hashed in a moment."""
MOST_BYTES = 10_000_000
"""Of all that is kept: some two hundred bytes a file."""
SETTLED_NS = 2_000_000_000
"""A file changed twice within its clock's tick looks unchanged: younger than this, it is not believed."""

Signature = tuple[str, int, int, int, int]


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    signature: Signature
    digest: str


def known_sha256(path: Path) -> str:
    """To tell what a file is. A guard against changed files reads them: `fingerprint.sha256`."""
    found = path.resolve().stat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return _hash(path, (str(path.resolve()), found.st_size, found.st_ino, *times))


def known_weight_hashes(folder: Path) -> dict[str, str]:
    return {path.name: known_sha256(path) for path in weight_files(folder)}


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
        content = msgspec.msgpack.encode(_Kept(signature, digest))
        cache.write(kept, lambda beside: beside.write_bytes(content))
        cache.prune(parent, MOST_BYTES)
    return digest
