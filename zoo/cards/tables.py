"""Numbers of an edited card held against those of its record: their digits may be fewer, but not other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_NUMBER = re.compile(
    r"(?:(?<![\w.])[-−])?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d{1,3})?\s?%?", re.ASCII | re.IGNORECASE
)
_LEAST_DIGITS = 2
"""After the point, of a rounded number: 0.87 stands for 0.8692, and 1 does not."""


def same_numbers(said: str, wanted: str) -> bool:
    """Has `said` the numbers of `wanted`, in their order, in whatever words?"""
    shown, known = _numbers(said), _numbers(wanted)
    return len(shown) == len(known) and all(map(_is_rounded, shown, known))


def _numbers(text: str) -> list[tuple[float, int]]:
    """Value, and digits after the point: 87.5% is 0.875 with three."""
    found = []
    for match in _NUMBER.findall(text):
        percent = match.endswith("%")
        bare = match.rstrip("% ").replace(",", "").replace("−", "-").lower()
        mantissa, _, power = bare.partition("e")
        digits = len(mantissa.partition(".")[2]) - int(power or 0)
        found.append((float(bare) / 100, digits + 2) if percent else (float(bare), digits))
    return found


def _is_rounded(shown: tuple[float, int], known: tuple[float, int]) -> bool:
    (value, digits), (exact, exact_digits) = shown, known
    if digits >= exact_digits or digits < _LEAST_DIGITS:
        return abs(value - exact) <= 1e-9 * max(1.0, abs(exact))
    return abs(value - exact) <= 0.5 * 10.0**-digits * (1 + 1e-6)


def differing_results(matter: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """What the model-index of an edited front matter says otherwise than the one made from the record."""
    shown, known = list(_results(matter)), list(_results(wanted))
    for name, dataset, metric in known:
        found = [(data, one) for other, data, one in shown if other == name]
        if not found:
            yield f"{name} is gone from the model-index."
        for data, one in found:
            yield from _differing_metric(name, one, metric)
            for key in ("type", "name", "config", "split", "revision", "args"):
                if data.get(key) != dataset.get(key):
                    said = f"the model-index says {key} {data.get(key)} of the data"
                    yield f"{said}, the record {dataset.get(key)}."
    names = {name for name, _, _ in known}
    for name, _, one in shown:
        if name not in names:
            yield f"{name} {one.get('value')} in the model-index is not on record."


def _differing_metric(name: str, said: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    if not _same(said.get("value"), wanted["value"]):
        yield f"{name} {said.get('value')} is not the record's {wanted['value']}."
    if said.get("verified"):
        yield f"{name} is not verified: only the Hub says so."
    args, known = said.get("args"), _flat(wanted["args"])
    shown = _flat(args) if isinstance(args, dict) else {}
    for key, value in known.items():
        if key not in shown:
            yield f"{key} of {name} is gone from the model-index."
        elif not _same(shown[key], value):
            yield f"{key} of {name} {shown[key]} is not the record's {value}."


def _flat(args: dict[str, Any]) -> dict[str, Any]:
    """The baselines beside the rest."""
    rest = {key: value for key, value in args.items() if not isinstance(value, dict)}
    for value in args.values():
        rest |= value if isinstance(value, dict) else {}
    return rest


def _same(said: object, wanted: object) -> bool:
    """As numbers, where both are; a YAML number as it is written in Python, which has its digits."""
    if isinstance(wanted, int | float) and not isinstance(said, bool) and isinstance(said, int | float | str):
        return same_numbers(str(said), str(wanted))
    return said == wanted


def _results(matter: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, data set, metric) of whatever is shaped like a result: what is not, a validation says."""
    for model in _mappings(matter.get("model-index")):
        for result in _mappings(model.get("results")):
            data = result.get("dataset")
            for metric in _mappings(result.get("metrics")):
                name = str(metric.get("name") or metric.get("type"))
                yield name, data if isinstance(data, dict) else {}, metric


def _mappings(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
