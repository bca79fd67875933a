"""Builds the YAML front matter of a card: what the Hub reads of an adapter, its results as a model-index."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from zoo.cards.redact import is_hub_id
from zoo.models.fingerprint import canonical
from zoo.registry.schema import UNKNOWN, AdapterRecord, DataId, Metric

if TYPE_CHECKING:
    from zoo.tasks.base import Task

RECORD_KEYS = (
    "library_name",
    "base_model",
    "base_model_relation",
    "base_model_revision",
    "base_model_sha256",
    "datasets",
    "metrics",
    "model-index",
)
"""What only the record says; licence, language, pipeline tag and further keys may be a person's."""
BASE_TAG = "base_model:"
_BLOCK = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
"""As the Hub finds it."""
_KNOWN_METRICS = """
accuracy bertscore bleu bleurt brier_score cer character charcut_mt chrf comet exact_match f1
google_bleu mae mape mase matthews_correlation mauve mean_iou meteor mse pearsonr perplexity
precision r_squared recall roc_auc rouge sacrebleu sari seqeval smape spearmanr squad ter wer
"""
_HUB_METRICS = {"mcc": "matthews_correlation", **{name: name for name in _KNOWN_METRICS.split()}}
"""A metric's name here -> its id on the Hub."""
_LOCAL_DATA = "custom"
"""The model-index wants a type of every data set, and a file has no id."""


def front_matter(
    record: AdapterRecord, task: Task | None = None, licence: str | None = None
) -> dict[str, Any]:
    """
    Args:
        record: in its public form.
        task: what knows the pipeline tag, and the language of its own data; None where it is not installed.
        licence: an id of the Hub; None is the base's own.
    """
    spec, base = record.spec, record.base
    matter: dict[str, Any] = {
        "library_name": record.format if record.format in ("peft", "transformers") else "adapter-zoo",
        "tags": ["adapter-zoo", *(name for name in (spec.method, spec.task) if name != UNKNOWN)],
    }
    if metrics := [_HUB_METRICS[one.name] for one in record.metrics if one.name in _HUB_METRICS]:
        matter["metrics"] = metrics
    base_id = canonical(base.id)
    if is_hub_id(base_id):
        relation = "finetune" if record.format == "transformers" else "adapter"
        matter |= {"base_model": base_id, "base_model_relation": relation}
        matter["tags"].append(f"base_model:{relation}:{base_id}")
        if base.revision:
            matter["base_model_revision"] = base.revision
    if base.weights:
        matter["base_model_sha256"] = dict(sorted(base.weights.items()))
    if record.data is not None and is_hub_id(record.data.id):
        matter["datasets"] = [record.data.id]
    if stated := licence or base.licence:
        found = stated.split(", ")
        matter["license"] = found[0] if len(found) == 1 else found
    if task is not None and task.pipeline_tag:
        matter["pipeline_tag"] = task.pipeline_tag
    if task is not None and task.language and record.data is not None and _is_its_own(task, record.data):
        matter["language"] = task.language
    if record.metrics:
        matter["model-index"] = _model_index(record, matter.get("pipeline_tag", spec.task))
    return matter


def merge(edited: str, new: str, *, relicensed: bool = False) -> str:
    """The front matter `new` with what a person added to or changed in `edited`, both as YAML.

    `RECORD_KEYS` are always those of `new`, and so is the licence of an adapter that is `relicensed`. An
    unreadable `edited` adds nothing.
    """
    ours = parse(new)
    try:
        theirs = parse(edited)
    except ValueError:
        return dump(ours)
    tags = theirs.pop("tags", None)
    if isinstance(tags, list):
        ours["tags"] += [one for one in tags if one not in ours["tags"] and not str(one).startswith(BASE_TAG)]
    kept = (*RECORD_KEYS, "license") if relicensed else RECORD_KEYS
    return dump(ours | {key: value for key, value in theirs.items() if key not in kept})


def dump(matter: dict[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(matter, sort_keys=True, allow_unicode=True, width=1000)
    if yaml.safe_load(text) != matter:  # some control characters only survive escaped
        text = yaml.safe_dump(matter, sort_keys=True, allow_unicode=False, width=1000)
    return str(text)


def split(text: str) -> tuple[str | None, str]:
    """The front matter's text, None where there is none, and what comes after it."""
    found = _BLOCK.match(text)
    return (found[2], text[found.end() :]) if found else (None, text)


def parse(text: str) -> dict[str, Any]:
    """Raises ValueError: it is not YAML, names a key twice, has aliases, or holds no mapping."""
    import yaml

    class Loader(yaml.SafeLoader):
        """The Hub refuses a key that is there twice, where this library takes the last."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):  # a few lines of them stand for terabytes
                raise ValueError("it repeats a value by its alias, which is not read here")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = Counter(self.construct_object(key, deep=True) for key, _ in node.value)
            if twice := [key for key, times in keys.items() if times > 1]:
                raise ValueError(f"'{twice[0]}' is there twice")
            return super().construct_mapping(node, deep)

    try:
        found = yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        line = f" in its line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"it is not YAML{line}: {error.problem}") from None
    except ValueError as error:
        raise ValueError(str(error) or "it is not YAML") from None
    except Exception as error:  # the readers of numbers, dates and such raise what they meet
        raise ValueError(f"it is not YAML: {type(error).__name__}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError("it is no mapping of names to values")
    return found


def _exact(value: float) -> float | str:
    """A number as the model-index has it, of six digits; the Hub's JSON knows no infinity."""
    return round(value, 6) if math.isfinite(value) else str(value)


def _metric_args(metric: Metric, record: AdapterRecord) -> dict[str, Any]:
    """What makes a value one to compare with: rows, interval, seed, and the baselines."""
    found: dict[str, Any] = {"n": metric.n, "low": _exact(metric.low), "high": _exact(metric.high)}
    found |= {"level": metric.level, "interval": metric.interval}
    if record.training is not None:
        found["seed"] = record.spec.seed
    for name, metrics in record.baselines.items():
        for one in metrics:
            if one.name == metric.name:
                found.setdefault("baselines", {})[name] = _exact(one.value)
    return found


def _model_index(record: AdapterRecord, task_type: str) -> list[dict[str, Any]]:
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    data = record.data
    results = [
        EvalResult(
            task_type=task_type,
            dataset_type=data.id if data and is_hub_id(data.id) else _LOCAL_DATA,
            dataset_name=data.id.removeprefix("local:") if data else UNKNOWN,
            dataset_config=data.config if data else None,
            dataset_split=_split_name(data) if data else None,
            dataset_revision=data.revision if data else None,
            dataset_args={"fingerprint": f"sha256:{data.fingerprint}", "rule": data.split} if data else None,
            metric_type=_HUB_METRICS.get(metric.name, metric.name),
            metric_value=_exact(metric.value),
            metric_name=metric.name,
            metric_args=_metric_args(metric, record),
            verified=False,
        )
        for metric in record.metrics
    ]
    index: list[dict[str, Any]] = eval_results_to_model_index(record.name, results)
    return index


def _split_name(data: DataId) -> str:
    """The split that the held-out rows were taken from, of which the rule says the rest."""
    found = re.search(r"\bthe data's own (\w+) split|\bheld out of (\w+)", data.split)
    return (found[1] or found[2]) if found else data.split


def _is_its_own(task: Task, data: DataId) -> bool:
    own = {ref.partition(":")[2].partition("@")[0].partition(":")[0].lower() for ref in task.data}
    return data.id.lower() in own
