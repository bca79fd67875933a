"""Narrows a list of adapters, and checks what filters name: a typo must not look like an empty zoo."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from zoo.errors import NotFoundError, OptionError, UsageError, ZooError
from zoo.plugins.params import split_pairs
from zoo.registry.schema import BaseId, ListedRecord
from zoo.registry.store import Registry
from zoo.runtime import suggest
from zoo.runtime.paths import is_folder

Listed = tuple[str, ListedRecord, BaseId]
"""Key in registry.json, record in brief, base."""


class Filter(NamedTuple):
    typed: str
    """As on the command line: `--method lora`."""
    fits: Callable[[Listed], bool]
    check: Callable[[], str]
    """Asked where no adapter fits: raises if nothing is called that, or returns a remark, or nothing."""


def filters_of(
    adapters: Sequence[Listed],
    registry: Registry,
    *,
    base: str | None,
    method: str | None,
    task: str | None,
    least: Iterable[str],
    most: Iterable[str],
) -> Iterator[Filter]:
    """Those of `zoo list`, in the order of its help.

    Raises:
        OptionError: a bound is no METRIC=NUMBER.
    """
    if base is not None:
        keys = _on_base(adapters, base, registry)
        yield Filter(f"--base {base}", lambda one: one[0] in keys, partial(_check_base, base, adapters))
    if method is not None:
        check = partial(_check_plugin, "method", method, adapters)
        yield Filter(f"--method {method}", lambda one: one[1].spec.method == method, check)
    if task is not None:
        check = partial(_check_plugin, "task", task, adapters)
        yield Filter(f"--task {task}", lambda one: one[1].spec.task == task, check)
    for flag, pairs, sign in (("--min", least, 1), ("--max", most, -1)):
        for metric, text in split_pairs(pairs, flag).items():
            try:
                bound = sign * float(text)
            except ValueError:
                raise OptionError(f"'{flag} {metric}' wants a number, got '{text}'.") from None
            fits = partial(_is_within, metric, sign, bound)
            check = partial(_check_metric, metric, flag, text, adapters)
            yield Filter(f"{flag} {metric}={text}", fits, check)


def narrow(adapters: Sequence[Listed], filters: Sequence[Filter]) -> tuple[list[Listed], list[str]]:
    """What passes every filter; where that is nothing, sentences that say why.

    Raises:
        ZooError: a filter names what does not exist.
    """
    checked = [one.check() for one in filters if not any(map(one.fits, adapters))]
    left, before = list(adapters), ""
    for one in filters:
        kept = list(filter(one.fits, left))
        if left and not kept:
            count = f"{len(left):,} adapter{'s' if len(left) > 1 else ''}"
            return [], [
                f"{one.typed} fits none of {count}{before and f' with{before}'}",
                *filter(None, checked),
            ]
        left, before = kept, f"{before} {one.typed}"
    return left, []


def _check_metric(name: str, flag: str, bound: str, adapters: Sequence[Listed]) -> str:
    """Nothing where an adapter was measured by it, or an installed task is.

    Raises:
        UsageError: there is no such metric.
    """
    from zoo.plugins import manager

    measured = {metric.name for _, record, _ in adapters for metric in record.metrics}
    of_tasks = {task.primary_metric for _, task, _ in manager.load_all("task") if task is not None}
    if adapters and name not in measured | of_tasks:
        known = ", ".join(sorted(measured))
        near, hint = suggest.unknown(f"{name}={bound}", [f"{one}={bound}" for one in measured], "zoo list")
        raise UsageError(f"{flag}: no metric is called '{name}': {known}.{near}", hint)
    return ""


def known_bases(recorded: Iterable[str] = ()) -> set[str]:
    """Ids of bases: of adapters, of tasks, of what is here, and the Hub's old names."""
    from zoo.models.fingerprint import LEGACY_IDS, canonical
    from zoo.plugins import manager

    found = {*recorded, *LEGACY_IDS, *LEGACY_IDS.values()}
    for _, task, _ in manager.load_all("task"):
        found |= {canonical(one) for one in task.bases} if task is not None else set()
    return found | {offer.id for source in manager.load_sources() for offer in source.offers("base")}


def check_on_hub(kind: str, name: str, known: Collection[str]) -> str:
    """A remark on a name that is not known here, though a card on the Hub may have it; else nothing.

    Raises:
        NotFoundError: it is nearly a known name, and no OWNER/NAME.
    """
    from zoo.models.fingerprint import canonical

    if canonical(name).lower() in map(str.lower, known):
        return ""
    near, hint = suggest.unknown(name, known, "")
    remark = f"no {kind} is called '{name}' here.{near}"
    if near and "/" not in name:
        raise NotFoundError(remark, hint)
    return remark


def _check_plugin(kind: str, name: str, adapters: Sequence[Listed]) -> str:
    from zoo.plugins import manager

    manager.check_name(kind, name, (getattr(record.spec, kind) for _, record, _ in adapters))
    return ""


def _check_base(base: str, adapters: Sequence[Listed]) -> str:
    """A folder, the digits of a hash, or an id; only the Hub knows whether there is an OWNER/NAME.

    Raises:
        NotFoundError: no base is called that, or there is no such folder.
    """
    from zoo.models.fingerprint import is_hash, named_folder

    if named_folder(base) is not None or is_hash(base):
        return ""
    if base.startswith(("path:", ".", "/", "~")):
        raise NotFoundError(f"there is no folder '{base.removeprefix('path:')}'.", "zoo sources")
    if is_folder(Path(base)):
        raise NotFoundError(
            f"no base is called '{base}'; a folder has a slash.", f"--base {shlex.quote(f'./{base}')}"
        )
    remark = check_on_hub("base", base, known_bases(on.id for *_, on in adapters))
    if remark and "/" not in base:
        raise NotFoundError(remark, "zoo sources")
    return remark


def _on_base(adapters: Sequence[Listed], base: str, registry: Registry) -> set[str]:
    """Keys of the adapters that were trained on it."""
    from zoo.models.fingerprint import same_base

    bases = {id(on): on for *_, on in adapters}
    hits = dict(zip(bases, same_base(list(bases.values()), base), strict=True))
    return {key for key, _, on in adapters if hits[id(on)] or _is_trained_on(key, on, base, registry)}


def _is_trained_on(name: str, recorded: BaseId, base: str, registry: Registry) -> bool:
    """Does the folder `base` hold, in other files, the weights of a record of 0.1.0?"""
    from zoo.models.fingerprint import LocalWeights, named_folder

    folder = named_folder(base)
    if folder is None or not recorded.weights or recorded.tensors_sha256 is not None:
        return False
    from zoo.adapters.find_base import compare_weights

    with suppress(ZooError):
        adapter = registry.adapter_folder(name)
        return compare_weights(registry.get(name), adapter, folder, LocalWeights(folder))[0] is True
    return False


def _is_within(metric: str, sign: int, bound: float, one: Listed) -> bool:
    """`sign` is 1 for a lower bound, -1 for an upper one; what was not measured is in no range."""
    found = one[1].metric(metric)
    return found is not None and sign * found.value >= bound
