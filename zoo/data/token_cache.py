"""Tokenizes examples once: the ids are cached on disk by their inputs, and are arrays in memory.

The tokenizers of transformers use every core by themselves; blocks of examples bound the memory.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from zoo.runtime import cache

if TYPE_CHECKING:
    import numpy as np

    from zoo.data.files import Example
    from zoo.runtime.console import Report
    from zoo.tasks.base import Task

BLOCK = 1000
"""Examples encoded at a time: a tokenizer's encodings take a hundred bytes per token."""
_DIGEST = "sha256"
MOST_BYTES = 1 << 30
"""Limit of the whole cache; the least recently used files go first."""
_SETTINGS = (
    "chat_template",
    "model_input_names",
    "model_max_length",
    "padding_side",
    "special_tokens_map",
    "split_special_tokens",
    "truncation_side",
)
"""Settings of a tokenizer beside its backend's: a task may use any of them."""


class Rows(Sequence[dict[str, Any]]):
    """Encoded examples whose values are integers or lists of integers, as one array per column.

    A list of Python integers takes ten times the memory of the array.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], order: np.ndarray | None = None):
        """`columns`: the values of each name; where a row has several, `name/ends` has the row ends."""
        import numpy as np

        self._columns = columns
        self._names = [name for name in columns if not name.endswith("/ends")]
        self._order = np.arange(len(columns["length"])) if order is None else order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | Rows:
        if isinstance(index, slice):
            return Rows(self._columns, self._order[index])
        row, found = int(self._order[index]), {}
        for name in self._names:
            values, ends = self._columns[name], self._columns.get(f"{name}/ends")
            part = row if ends is None else slice(ends[row - 1] if row else 0, ends[row])
            found[name] = values[part].tolist()
        return found


def encode(
    task: Task, examples: Sequence[Example], processor: Any, max_length: int, report: Report | None = None
) -> Sequence[dict[str, Any]]:
    """`task.encode`, or its cached result for the same examples, tokenizer, length and code."""
    from safetensors.numpy import save_file

    parent, key = cache.folder("encoded"), _key(task, examples, processor, max_length)
    path = parent / f"{key}.safetensors" if parent and key else None
    kept: dict[str, np.ndarray] | None = cache.read(path, _load) if path else None
    if kept is not None and len(kept.get("length", ())) == len(examples):
        _forget_the_last_call(processor)
        return Rows(kept)
    if report is not None and len(examples) > BLOCK:
        report.say(f"tokenizing {len(examples):,} rows")
    blocks: list[Any] = []
    for start in range(0, len(examples), BLOCK):
        rows = task.encode(examples[start : start + BLOCK], processor, max_length)
        blocks.append(_columns(rows) or rows)
    _forget_the_last_call(processor)
    if not blocks or any(isinstance(one, list) or one.keys() != blocks[0].keys() for one in blocks):
        return [row for one in blocks for row in (one if isinstance(one, list) else Rows(one))]
    columns = _join(blocks)
    if path is not None:
        digest = {_DIGEST: _digest(columns)}
        cache.write(path, lambda beside: save_file(columns, beside, metadata=digest), MOST_BYTES)
    return Rows(columns)


def _load(path: Path) -> dict[str, np.ndarray]:
    """Raises ValueError: it is not what was kept, so that it would train on other tokens."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        if (file.metadata() or {}).get(_DIGEST) != _digest(columns):
            raise ValueError("its digest differs")
    return columns


def _digest(columns: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(columns.items()):
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _key(task: Task, examples: Sequence[Example], processor: Any, max_length: int) -> str | None:
    """A hash of all that the ids depend on; None where the processor has no backend to hash."""
    backend = getattr(processor, "backend_tokenizer", None)
    if backend is None:
        return None
    rules = json.loads(backend.to_str())
    # settings of the last call
    rules.pop("truncation", None)
    rules.pop("padding", None)
    settings = {name: getattr(processor, name, None) for name in _SETTINGS}
    try:
        code = [Path(inspect.getfile(cls)).read_bytes() for cls in type(task).__mro__ if cls is not object]
    except (TypeError, OSError):  # defined in a notebook, for example
        return None
    digest = hashlib.sha256()
    for part in (rules, settings, task.name, max_length, version("transformers"), version("tokenizers")):
        digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    for source in code:
        digest.update(hashlib.sha256(source).digest())
    try:
        for example in examples:
            digest.update(json.dumps(example, sort_keys=True).encode())
    except (TypeError, ValueError):  # an image, for example
        return None
    return digest.hexdigest()


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray] | None:
    """One array per column; None where a value is neither an integer nor a list of integers."""
    import numpy as np

    columns: dict[str, np.ndarray] = {}
    if any(row.keys() != rows[0].keys() for row in rows):
        return None
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        try:
            if isinstance(values[0], list):
                # numpy would make an empty list float
                several = [np.asarray(value or np.arange(0)) for value in values]
                columns[f"{name}/ends"] = np.cumsum([len(value) for value in several])
                flat = np.concatenate(several)
            else:
                flat = np.asarray(values)
        except (TypeError, ValueError):
            return None
        if flat.ndim != 1 or flat.dtype.kind not in "iu":
            return None
        small = flat.min(initial=0) >= 0 and flat.max(initial=0) < 2**32
        columns[name] = flat.astype(np.min_scalar_type(int(flat.max(initial=0))) if small else np.int64)
    return columns if "length" in columns else None


def _join(blocks: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    import numpy as np

    columns = {}
    for name in blocks[0]:
        parts = [block[name] for block in blocks]
        if name.endswith("/ends"):
            starts = np.cumsum([0, *(part[-1] for part in parts[:-1])])
            parts = [part + start for part, start in zip(parts, starts, strict=True)]
        columns[name] = np.concatenate(parts)
    return columns


def _forget_the_last_call(processor: Any) -> None:
    """Reset truncation and padding, which tokenizers save: the file must not depend on a cache hit."""
    backend = getattr(processor, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
