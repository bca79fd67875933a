"""AdapterRecord -> README.md: a model card with nothing filled in by hand."""

from __future__ import annotations

import re
from typing import Any

from zoo.plugins import manager
from zoo.report import clock
from zoo.specs import AdapterRecord, Metric

_LONGEST = 600
"""Characters of a sample that a card shows."""


def card(record: AdapterRecord, usage: str, *modules: Any) -> str:
    """The card's text. `modules` are plugins whose `zoo_card` hook may add sections."""
    sections = [
        f"---\n{_front_matter(record)}---",
        f"# {record.name}\n\n{_what(record)}",
        f"## How good it is\n\n{_metrics_table(record)}",
        *([f"## What it says\n\n{_samples(record)}"] if record.samples else []),
        f"## How to load it\n\n```python\n{usage.strip()}\n```",
        f"## Training\n\n{_training(record)}",
        f"## Data\n\n{_data(record)}",
        f"## Base model\n\n{_base(record)}",
        f"## Cost\n\n{_cost(record)}",
    ]
    sections += [section.strip() for section in manager(*modules).hook.zoo_card(record=record) if section]
    return "\n\n".join(sections) + "\n"


def _front_matter(record: AdapterRecord) -> str:
    import yaml

    on_hub = not record.base.id.startswith("local:")
    matter: dict[str, Any] = {
        "library_name": record.format if record.format in ("peft", "transformers") else "adapter-zoo",
        "tags": ["adapter-zoo", record.spec.method, record.spec.task],
        "metrics": [metric.name for metric in record.metrics],
    }
    if on_hub:
        relation = "finetune" if record.format == "transformers" else "adapter"
        matter |= {"base_model": record.base.id, "base_model_relation": relation}
        matter["tags"].append(f"base_model:{relation}:{record.base.id}")
    if not record.data.id.startswith("local:"):
        matter["datasets"] = [record.data.id]
    if record.base.licence:
        matter["license"] = record.base.licence
    text = yaml.safe_dump(matter, sort_keys=True, allow_unicode=True)
    if yaml.safe_load(text) != matter:  # some control characters only survive escaped
        text = yaml.safe_dump(matter, sort_keys=True, allow_unicode=False)
    return str(text)


def _what(record: AdapterRecord) -> str:
    kind = "A fine-tuned model" if record.format == "transformers" else f"A `{record.spec.method}` adapter"
    what = f"{kind} for the task `{record.spec.task}` on {_code(record.base.id)}."
    return f"{what} Labels: {', '.join(map(_code, record.labels))}." if record.labels else what


def _metrics_table(record: AdapterRecord) -> str:
    baselines = list(record.baselines)
    lines = [
        f"On {record.data.n_held_out:,} held-out rows, with 95% intervals, seed {record.spec.seed}.",
        "",
        _table_row("metric", "value", "interval", "n", *baselines),
        "|---|---|---|---|" + "---|" * len(baselines),
    ]
    for metric in record.metrics:
        beside = [
            next((b for b in record.baselines[name] if b.name == metric.name), None) for name in baselines
        ]
        cells = [_with_interval(b) if b else "" for b in beside]
        interval = f"{metric.low:.4f} to {metric.high:.4f}"
        lines.append(_table_row(metric.name, f"{metric.value:.4f}", interval, str(metric.n), *cells))
    lines += ["", *(f"- **Doubt:** {flag}." for flag in record.flags)]
    return "\n".join(lines).rstrip()


def _table_row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    """A code span that no text can break out of: labels come from strangers' files."""
    line = " ".join(text.split())
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def _with_interval(metric: Metric) -> str:
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f}, n {metric.n})"


def _samples(record: AdapterRecord) -> str:
    """Held-out inputs, not chosen by anybody, with both answers."""
    return "\n\n".join(
        f"**{title}**\n\n{_fenced(text)}"
        for sample in record.samples
        for title, text in (
            ("Asked", sample.prompt),
            ("The data's answer", sample.expected),
            ("The base, untrained", sample.before),
            ("This adapter", sample.after),
        )
    )


def _fenced(text: str) -> str:
    """A block that no text can break out of, cut where it gets long, without control characters."""
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in shown)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", clean)), default=0))
    return f"{fence}text\n{clean}\n{fence}"


def _training(record: AdapterRecord) -> str:
    spec, training = record.spec, record.training
    params = ", ".join(f"{key}={value}" for key, value in sorted(spec.params.items())) or "none"
    return (
        f"- method `{spec.method}`: {params}\n"
        f"- {spec.epochs:g} epochs, {training.steps} steps, learning rate {spec.learning_rate:g}, "
        f"at most {spec.batch_tokens} tokens a batch, texts cut at {spec.max_length} tokens\n"
        f"- precision {training.precision}, base dropout {training.base_dropout}, seed {spec.seed}, "
        f"last epoch's loss {training.loss:.4f}\n"
        f"- again: {_code(record.command)}\n"
        f"- with {', '.join(f'{name} {version}' for name, version in sorted(record.versions.items()))}"
    )


def _data(record: AdapterRecord) -> str:
    data = record.data
    name = f"{data.id}:{data.config}" if data.config else data.id
    return (
        f"{_code(name)} ({_whence(data.package, data.revision, data.source)}), fingerprint "
        f"`{data.fingerprint[:16]}`. Trained on {data.n_train:,} of {data.n_train_available:,} rows; "
        f"judged by {data.n_held_out:,}: {data.split}."
    )


def _base(record: AdapterRecord) -> str:
    base = record.base
    files = "\n".join(f"- `{name}` sha256 `{digest}`" for name, digest in sorted(base.weights.items()))
    whence = _whence(base.package, base.revision, base.source)
    return f"{_code(base.id)} ({whence}), a `{base.model_type}`:\n\n{files}"


def _whence(package: str | None, revision: str | None, source: str) -> str:
    if package:
        return f"from the Python package {package}"
    return f"revision `{revision}`" if revision else f"from source {source}"


def _cost(record: AdapterRecord) -> str:
    cost = record.cost
    share = 100 * cost.trainable_parameters / cost.total_parameters
    return (
        f"Trained in {clock(cost.train_seconds)} ({cost.examples_per_second:.1f} examples/s) "
        f"on {cost.hardware}; peak memory {cost.peak_memory_bytes / 1e9:.2f} GB. "
        f"{cost.trainable_parameters:,} of {cost.total_parameters:,} parameters trained ({share:.2f}%); "
        f"{cost.adapter_bytes / 1e6:.2f} MB saved."
    )
