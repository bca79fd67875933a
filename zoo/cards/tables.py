"""Turns a record into a card's tables: metrics, training, data, base, cost."""

from __future__ import annotations

from zoo.cards.markdown import code, plain, table
from zoo.registry.schema import UNKNOWN, AdapterRecord, BaseId, DataId, Metric
from zoo.runtime.console import clock

Row = tuple[str, str]


def metric_table(record: AdapterRecord) -> str:
    """A row for each metric, with the same metric of each baseline."""
    rows = []
    for metric in record.metrics:
        same = [[one for one in found if one.name == metric.name] for found in record.baselines.values()]
        baselines = [_with_interval(found[0]) if found else "" for found in same]
        interval = f"{metric.low:.4f} to {metric.high:.4f}"
        rows.append((plain(metric.name), f"{metric.value:.4f}", interval, f"{metric.n}", *baselines))
    return table(("metric", "value", "interval", "n", *map(plain, record.baselines)), rows)


def training_facts(record: AdapterRecord) -> list[Row]:
    spec, training = record.spec, record.training
    params = ", ".join(f"{key}={value}" for key, value in sorted(spec.params.items()) if value is not None)
    facts: list[tuple[str, str | None]] = [
        ("method", code(spec.method) if spec.method != UNKNOWN else None),
        ("parameters", code(params) if params else None),
    ]
    if training is not None:
        accumulation = spec.gradient_accumulation
        options = [name for name in ("packing", "gradient_checkpointing", "compile") if getattr(spec, name)]
        facts += [
            ("epochs", None if spec.epochs is None else f"{spec.epochs:g}"),
            ("steps", f"{training.steps:,}"),
            ("learning rate", None if spec.learning_rate is None else f"{spec.learning_rate:g}"),
            ("maximum tokens per batch", None if spec.batch_tokens is None else f"{spec.batch_tokens:,}"),
            ("gradient accumulation steps", None if accumulation == 1 else f"{accumulation}"),
            ("maximum tokens per example", None if spec.max_length is None else f"{spec.max_length:,}"),
            ("precision", plain(training.precision)),
            ("base dropout", plain(training.base_dropout)),
            ("options", ", ".join(name.replace("_", " ") for name in options) or None),
            ("seed", f"{spec.seed}"),
            ("determinism", plain(training.deterministic) if training.deterministic else None),
            ("loss in the last epoch", f"{training.loss:.4f}"),
        ]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))
    return _known([*facts, ("versions", plain(versions) or None)])


def data_facts(data: DataId) -> list[Row]:
    return _known(
        [
            ("dataset", code(f"{data.id}:{data.config}" if data.config else data.id)),
            ("data revision", code(data.revision) if data.revision else None),
            ("data package", code(data.package) if data.package else None),
            ("data licence", plain(data.licence) if data.licence else None),
            ("row fingerprint", f"sha256 {code(data.fingerprint)}"),
            ("training rows", f"{data.n_train:,} of {data.n_train_available:,}"),
            ("evaluation rows", f"{data.n_held_out:,}"),
        ]
    )


def base_facts(base: BaseId) -> list[Row]:
    return _known(
        [
            ("base model", code(base.id)),
            ("model type", code(base.model_type)),
            ("base revision", code(base.revision) if base.revision else None),
            ("base package", code(base.package) if base.package else None),
            ("base licence", plain(base.licence) if base.licence else None),
            ("config.json", f"sha256 {code(base.config_sha256)}" if base.config_sha256 else None),
            *((plain(name), f"sha256 {code(digest)}") for name, digest in sorted(base.weights.items())),
        ]
    )


def cost_facts(record: AdapterRecord) -> list[Row]:
    cost = record.cost
    seconds, speed, memory = cost.train_seconds, cost.examples_per_second, cost.peak_memory_bytes
    trainable, total = cost.trainable_parameters, cost.total_parameters
    share = f" of {total:,} ({100 * trainable / total:.2f}%)" if total else ""
    return _known(
        [
            ("trainable parameters", f"{trainable:,}{share}"),
            ("size", f"{cost.adapter_bytes / 1e6:.2f} MB"),
            ("training time", clock(seconds) if seconds is not None else None),
            ("speed", f"{speed:.1f} examples/s" if speed is not None else None),
            ("evaluation time", clock(cost.evaluate_seconds) if cost.evaluate_seconds is not None else None),
            ("peak memory", f"{memory / 1e9:.2f} GB" if memory is not None else None),
            ("hardware", plain(cost.hardware) if cost.hardware else None),
        ]
    )


def _with_interval(metric: Metric) -> str:
    return f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f}, n {metric.n})"


def _known(facts: list[tuple[str, str | None]]) -> list[Row]:
    return [(name, value) for name, value in facts if value]
