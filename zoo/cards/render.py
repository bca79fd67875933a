"""AdapterRecord -> README.md: a model card with nothing filled in by hand.

A card never names a folder of the maker's machine, save where the base is such a folder and only it can load
the adapter. What it states of the run stands in tables, so that zoo/cards/validate.py can hold an edited card
against the record.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from zoo.cards.facts import base_facts, cost_facts, data_facts, metric_rows, training_facts
from zoo.cards.markdown import code, excerpt, fenced, plain, table
from zoo.cards.metadata import dump, front_matter
from zoo.cards.redact import public
from zoo.cards.snippets import at_once, usage
from zoo.errors import NotFoundError, PluginError
from zoo.plugins import manager
from zoo.registry.schema import UNKNOWN, AdapterRecord

if TYPE_CHECKING:
    from types import ModuleType

    from zoo.plugins.method import Method
    from zoo.tasks.base import Task

FILE = "README.md"
_OWN = "adapter-zoo"
_CHANGE = "_change"
"""Ends the names of what `Task.change` gives."""


def render(record: AdapterRecord, repo: str | None = None, licence: str | None = None) -> str:
    """The card, with the words and the sections of the record's task and method where they are installed.

    Args:
        repo: the id under which it is on the Hub, or will be: what the snippets open. None is the folder.
        licence: an id of the Hub; None is the base's own.
    """
    task, task_module = _plugin("task", record.spec.task)
    method, method_module = _plugin("method", record.spec.method)
    modules = [module for module in (task_module, method_module) if module is not None]
    python = usage(public(record) if repo else record, task, method, repo)
    return card(record, python, *modules, task=task, method=method, repo=repo, licence=licence)


def card(
    record: AdapterRecord,
    usage: str,
    *modules: ModuleType,
    task: Task | None = None,
    method: Method | None = None,
    repo: str | None = None,
    licence: str | None = None,
) -> str:
    """The card's text. `modules` are plugins whose `zoo_card` hook may add sections."""
    record = public(record)
    sections = [
        f"---\n{dump(front_matter(record, task, licence))}---",
        f"# {plain(record.name)}\n\n{_what(record)}",
        f"## How good it is\n\n{_results(record)}",
        *([f"## What it says\n\n{_samples(record)}"] if record.samples else []),
        f"## How to load it\n\n{_loading(record, usage, task, repo)}",
        f"## Training\n\n{_training(record)}",
        f"## Data\n\n{_data(record)}",
        f"## Base model\n\n{_base(record)}",
        f"## Cost\n\n{table(('cost', 'measured'), cost_facts(record))}",
        f"## Limits\n\n{_limits(record, task, method)}",
    ]
    hook = manager.manager(*modules).hook
    sections += [section.strip() for section in hook.zoo_card(record=record) if section]
    return "\n\n".join(sections) + "\n"


def _plugin(kind: str, name: str) -> tuple[Any, ModuleType | None]:
    """What a plugin makes, and its module; neither where it is not installed or is broken."""
    try:
        return manager.load(kind, name), manager.load_module(manager.find(kind)[name])
    except (NotFoundError, PluginError):
        return None, None


def _what(record: AdapterRecord) -> str:
    spec, whole = record.spec, record.format == "transformers"
    kind = "A fine-tuned model" if whole else f"A {code(spec.method)} adapter"
    if spec.method == UNKNOWN:
        kind = "An adapter of an unknown method"
    what = [
        f"{kind} for {'an unknown task' if spec.task == UNKNOWN else f'the task {code(spec.task)}'} on "
        f"{'an unknown base' if record.base.id == UNKNOWN else code(record.base.id)}."
    ]
    if record.labels:
        what.append(f"Labels: {', '.join(map(code, record.labels))}.")
    if record.origin and record.training is None:
        what.append(f"It was not trained by adapter-zoo, but taken in from {code(record.origin)}.")
    if record.format == "zoo":
        what.append("PEFT has no such method: it takes adapter-zoo to load it, see below.")
    return " ".join(what)


def _results(record: AdapterRecord) -> str:
    if not record.metrics:
        return "Unknown: no result is on record."
    rows = table(metric_rows(record)[0], metric_rows(record)[1:])
    return "\n\n".join(part for part in (_measured(record), rows, _doubts(record)) if part)


def _measured(record: AdapterRecord) -> str:
    metrics = record.metrics
    kinds: dict[str, list[str]] = {}
    for metric in metrics:
        kinds.setdefault(plain(metric.interval), []).append(code(metric.name))
    how = "; ".join(f"{kind} for {', '.join(names)}" for kind, names in kinds.items())
    how = next(iter(kinds)) if len(kinds) == 1 else how
    lower = [code(metric.name) for metric in metrics if metric.lower_is_better]
    changes = [code(metric.name) for metric in metrics if metric.name.endswith(_CHANGE)]
    rows = f"On {record.data.n_held_out:,} held-out rows" if record.data else "On unknown rows"
    said = [
        f"{rows}, with {metrics[0].level:.0%} intervals ({how}).",
        f"One run, seed {record.spec.seed}." if record.training else "",
        f"Lower is better: {', '.join(lower)}." if lower else "",
        f"Differences to the untrained base, example by example: {', '.join(changes)}." if changes else "",
    ]
    return " ".join(filter(None, said))


def _doubts(record: AdapterRecord) -> str:
    return "\n".join(f"- **Doubt:** {plain(flag)}." for flag in record.flags)


def _samples(record: AdapterRecord) -> str:
    """Held-out inputs, not chosen by anybody, with both answers."""
    return "\n\n".join(
        f"**{title}**\n\n{excerpt(text)}"
        for sample in record.samples
        for title, text in (
            ("Asked", sample.prompt),
            ("The data's answer", sample.expected),
            ("The base, untrained", sample.before),
            ("This adapter", sample.after),
        )
    )


def _loading(record: AdapterRecord, usage: str, task: Task | None, repo: str | None) -> str:
    parts = [fenced(usage.strip(), "python")]
    shorter = at_once(record, task, repo)
    if shorter:
        parts.append(f"PEFT finds the base by itself too:\n\n{fenced(shorter, 'python')}")
    name = repo.rpartition("/")[2] if repo else record.name  # `zoo pull` calls it after its repository
    command = task.command(name) if task else shlex.join(["zoo", "show", name])
    lines = [*_installs(record), *([shlex.join(["zoo", "pull", repo])] if repo else []), command]
    return "\n\n".join([*parts, "With the zoo:", fenced("\n".join(lines), "bash")])


def _installs(record: AdapterRecord) -> list[str]:
    """The commands for what is needed beside PEFT: adapter-zoo, and the plugins that are not its own."""
    pinned = sorted(set(filter(None, map(manager.pinned, record.plugins.values()))))
    others = [one for one in pinned if not one.startswith(f"{_OWN}==")]
    own = next((one for one in pinned if one.startswith(f"{_OWN}==")), _OWN)
    return [f"pip install {' '.join([own, *others])}"]


def _training(record: AdapterRecord) -> str:
    if record.training is None:
        known = training_facts(record)
        said = "Unknown: nobody recorded how it was trained."
        return f"{said}\n\n{table(('setting', 'value'), known)}" if known else said
    again = f"The command that trains it again:\n\n{fenced(record.command, 'bash')}" if record.command else ""
    return f"{table(('setting', 'value'), training_facts(record))}\n\n{again}".strip()


def _data(record: AdapterRecord) -> str:
    if record.data is None:
        return "Unknown: nobody recorded what it was trained on."
    return f"{table(('data', 'value'), data_facts(record.data))}\n\nJudged by: {plain(record.data.split)}."


def _base(record: AdapterRecord) -> str:
    if record.base.id == UNKNOWN:
        return "Unknown: nobody recorded which base it fits. `zoo check` proposes candidates by its shapes."
    return table(("base", "value"), base_facts(record.base))


def _limits(record: AdapterRecord, task: Task | None, method: Method | None) -> str:
    data, base = record.data, record.base
    said = []
    if record.flags:
        said.append("Part of its numbers may be chance: see the doubts above.")
    if record.metrics and record.training:
        said.append(
            f"One run with one seed ({record.spec.seed}): the intervals say how far the held-out rows may "
            "mislead, not how far another seed would differ."
        )
    if not record.metrics:
        said.append("Nothing is known of how good it is.")
    if data is not None:
        said.append(f"Trained and measured on {code(data.id)} only; on other data it was not measured.")
        if data.licence is None:
            said.append("The licence of the data is not on record.")
    if task is not None:
        said += task.limits(record)
    if record.spec.max_length and record.training:
        said.append(f"What is longer than {record.spec.max_length:,} tokens is cut.")
    if record.format != "transformers" and base.weights:
        whence = f", taken from the Python package {code(base.package)}" if base.package else ""
        said.append(f"It fits the base's weights of the sha256 above{whence}; on others it was not measured.")
    if method is not None and method.unmergeable and record.format != "transformers":
        said.append(f"It cannot be merged into its base: {plain(method.unmergeable)}.")
    if record.cost.hardware:
        said.append("Time and memory are those of one machine.")
    return "\n".join(f"- {one}" for one in said)
