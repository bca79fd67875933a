"""What `zoo list` needs of every record, kept ready in the user's cache folder.

registry.json is the truth. Of a hundred thousand records it takes seconds to decode, and a list shows a
twentieth of it: that part is written beside a signature of the file, and believed as long as the file has it.
The index may be deleted, damaged, old or impossible to write: then it is made again, or not used.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from zoo import __version__
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.registry.store import Registry, without_collecting
from zoo.runtime import cache

VERSION = f"{__version__} 3"
"""Of the zoo, which judged every record as it read it, and of the layout. Another's index is made again."""
WORTH_KEEPING = 2_000_000
"""Bytes of a registry.json that is no longer decoded in a moment."""
MOST_BYTES = 500_000_000
"""Of all indexes: those of registries that are gone are the first to go."""
SETTLED_NS = 2_000_000_000
"""A file changed twice within its clock's tick looks unchanged: younger than this, it is not signed."""

Signature = tuple[int, int, int, int]


class Measured(Struct, frozen=True, array_like=True, gc=False):
    """A metric without how its interval was made."""

    name: str
    value: float
    low: float
    high: float
    n: int
    lower_is_better: bool


class Summary(Struct, frozen=True, array_like=True, gc=False):
    """A record as far as a list shows it, filters by it or sorts by it."""

    key: str
    """Its name in registry.json, which a hand may have made another than the record's own."""
    name: str
    method: str
    task: str
    base: int
    """Where in `Listing.bases`."""
    metrics: tuple[Measured, ...]
    flags: tuple[str, ...]
    created: str
    train_seconds: float | None
    trainable_parameters: int
    total_parameters: int | None
    adapter_bytes: int

    def value(self, metric: str) -> float | None:
        return next((found.value for found in self.metrics if found.name == metric), None)

    def rank(self, metric: str) -> float:
        """Smaller is better; without the metric it is the worst."""
        found = next((found for found in self.metrics if found.name == metric), None)
        if found is None:
            return float("inf")
        return found.value if found.lower_is_better else -found.value


class Listing(Struct, frozen=True, array_like=True):
    bases: list[BaseId]
    """Each once: thousands of adapters are of a few bases."""
    adapters: list[Summary]


class _File(Struct, frozen=True, array_like=True):
    version: str
    signature: Signature
    checksum: int
    """Of `listing`: what a power cut left half written may still decode."""
    listing: msgspec.Raw


def listing(registry: Registry) -> Listing:
    """Every adapter in brief, from the index where there is a fresh one.

    Raises:
        RegistryError: as `Registry.records` does.
    """
    now = time.time_ns()
    try:
        found = registry.path.stat()
    except OSError:
        return _summarise(registry)  # nothing yet, or it says what is wrong
    # taken before the content is read: a change in between makes the index stale, never falsely fresh
    signature = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
    path = _path(registry.path) if found.st_size >= WORTH_KEEPING else None
    if path is None:
        return _summarise(registry)
    known = _load(path, signature)
    if known is None:
        known = _summarise(registry)
        if now - found.st_mtime_ns > SETTLED_NS:
            _save(path, signature, known)
    return known


def _path(registry: Path) -> Path | None:
    """The index of that registry.json, or None where the user has no cache folder."""
    import hashlib

    digest = hashlib.sha256(os.fsencode(registry.resolve())).hexdigest()
    folder = cache.folder("index")
    return folder / f"{digest}.msgpack" if folder else None


def _summarise(registry: Registry) -> Listing:
    """One whole record at a time: all of a hundred thousand at once take a gigabyte."""
    bases: dict[bytes, tuple[int, BaseId]] = {}
    adapters = []
    encode = msgspec.msgpack.Encoder(order="sorted").encode
    with without_collecting():
        for key, record in registry.each():
            number, _ = bases.setdefault(encode(record.base), (len(bases), record.base))
            adapters.append(_summary(key, record, number))
    return Listing([base for _, base in bases.values()], adapters)


def _summary(key: str, record: AdapterRecord, base: int) -> Summary:
    cost = record.cost
    return Summary(
        key,
        record.name,
        record.spec.method,
        record.spec.task,
        base,
        tuple([Measured(m.name, m.value, m.low, m.high, m.n, m.lower_is_better) for m in record.metrics]),
        tuple(record.flags),
        record.created,
        cost.train_seconds,
        cost.trainable_parameters,
        cost.total_parameters,
        cost.adapter_bytes,
    )


def _load(path: Path, signature: Signature) -> Listing | None:
    from zlib import crc32

    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=_File)
        if (found.version, found.signature, found.checksum) != (VERSION, signature, crc32(found.listing)):
            return None
        with without_collecting():
            return msgspec.msgpack.decode(found.listing, type=Listing)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _save(path: Path, signature: Signature, made: Listing) -> None:
    """Whole or not at all, and no matter if not. Not synced: the checksum tells what a crash left."""
    from zlib import crc32

    try:
        encoded = msgspec.msgpack.encode(made)
    except OverflowError:  # a number of more than 64 bits
        return
    content = msgspec.msgpack.encode(_File(VERSION, signature, crc32(encoded), msgspec.Raw(encoded)))
    cache.write(path, lambda beside: beside.write_bytes(content))
    cache.prune(path.parent, MOST_BYTES)
