"""Renders an AdapterRecord as README.md: front matter, a title, and one block between two markers."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.cards.markdown import code, excerpt, fenced, plain, table
from zoo.cards.metadata import dump, front_matter, merge, split
from zoo.cards.redact import public
from zoo.cards.snippets import at_once, usage
from zoo.cards.tables import base_facts, cost_facts, data_facts, metric_table, training_facts
from zoo.errors import NotFoundError, PluginError
from zoo.plugins import manager
from zoo.registry.schema import UNKNOWN, AdapterRecord

if TYPE_CHECKING:
    from types import ModuleType

    from zoo.plugins.method import Method
    from zoo.tasks.base import Task

FILE = "README.md"
BEGIN = "<!-- zoo:begin (generated from zoo.json: write above or below this block) -->"
END = "<!-- zoo:end -->"
_BEGIN = re.compile(r"^<!-- zoo:begin\b[^\n]*-->$", re.MULTILINE)
_END = re.compile(r"^<!-- zoo:end -->$", re.MULTILINE)
_CHANGE = "_change"
"""Ends the names of what `Task.change` gives."""


class Parts(NamedTuple):
    """A card: everything between front matter and block, and after the block, is a person's."""

    matter: str
    """The YAML of the front matter, without its lines `---`."""
    above: str
    block: str
    below: str


def parts(text: str) -> Parts | None:
    """None where there is no front matter or no block: adapter-zoo 0.1 or a person wrote the card."""
    matter, body = split(text.replace("\r\n", "\n"))
    begin = _BEGIN.search(body)
    # the last: a sample inside the block may quote a marker
    end = max((one.end() for one in _END.finditer(body, begin.end())), default=None) if begin else None
    if matter is None or begin is None or end is None:
        return None
    return Parts(matter, body[: begin.start()], body[begin.start() : end], body[end:])


def keep_prose(edited: str, new: str, *, relicensed: bool = False) -> str:
    """`new`, a rendered card, with the prose and the further front matter of `edited`.

    Where `edited` has no block, nothing tells its prose from ours: `new` is returned as it is. The licence of
    `edited` stays, unless the adapter is `relicensed`.
    """
    theirs, ours = parts(edited), parts(new)
    if theirs is None or ours is None:
        return new
    matter = merge(theirs.matter, ours.matter, relicensed=relicensed)
    return f"---\n{matter}---\n{theirs.above}{ours.block}{theirs.below}"


def render(record: AdapterRecord, repo: str | None = None, licence: str | None = None) -> str:
    """The card, with the sentences and sections of the record's task and method where they are installed.

    Args:
        repo: the id under which it is on the Hub, or will be: what the snippets open. None is the folder.
        licence: an id of the Hub; None is the base's own.
    """
    task, task_module = plugin("task", record.spec.task)
    method, method_module = plugin("method", record.spec.method)
    python = usage(public(record) if repo else record, task, method, repo)
    modules = (task_module, method_module)
    return card(record, python, *modules, task=task, method=method, repo=repo, licence=licence)


def card(
    record: AdapterRecord,
    usage: str,
    *modules: ModuleType | None,
    task: Task | None = None,
    method: Method | None = None,
    repo: str | None = None,
    licence: str | None = None,
) -> str:
    """The card's text. `modules` are plugins whose `zoo_card` hook may add sections."""
    record = public(record)
    sections = [
        _what(record),
        f"## Evaluation\n\n{_results(record)}",
        *([f"## Samples\n\n{_samples(record)}"] if record.samples else []),
        f"## Usage\n\n{_loading(record, usage, task, repo)}",
        f"## Training\n\n{_training(record)}",
        f"## Data\n\n{_data(record)}",
        f"## Base model\n\n{_base(record)}",
        f"## Cost\n\n{table(('cost', 'measured'), cost_facts(record))}",
        f"## Limitations\n\n{_limitations(record, task, method)}",
    ]
    hook = manager.manager(*modules).hook
    sections += [section.strip() for section in hook.zoo_card(record=record) if section]
    head = f"---\n{dump(front_matter(record, task, licence))}---\n\n# {plain(record.name)}"
    return "\n\n".join([head, BEGIN, *sections, END]) + "\n"


def plugin(kind: str, name: str) -> tuple[Any, ModuleType | None]:
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
    task = "an unknown task" if spec.task == UNKNOWN else f"the task {code(spec.task)}"
    base = "an unknown base" if record.base.id == UNKNOWN else code(record.base.id)
    what = [f"{kind} for {task} on {base}."]
    if record.labels:
        what.append(f"Labels: {', '.join(map(code, record.labels))}.")
    if record.origin and record.training is None:
        what.append(f"It was not trained by adapter-zoo, but imported from {code(record.origin)}.")
    if record.format == "zoo":
        what.append("PEFT has no such method: adapter-zoo loads it, see below.")
    return " ".join(what)


def _results(record: AdapterRecord) -> str:
    if not record.metrics:
        return "Unknown: no results are recorded."
    warnings = "\n".join(f"- **Warning:** {plain(flag)}." for flag in record.flags)
    return "\n\n".join(filter(None, (_measured(record), metric_table(record), warnings)))


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
    sentences = [
        f"{rows}, with {metrics[0].level:.0%} intervals ({how}).",
        f"One run, seed {record.spec.seed}." if record.training else "",
        f"Lower is better: {', '.join(lower)}." if lower else "",
        f"Paired differences from the untrained base: {', '.join(changes)}." if changes else "",
    ]
    return " ".join(filter(None, sentences))


def _samples(record: AdapterRecord) -> str:
    """Held-out inputs, not hand-picked, with the answers of the base and of the adapter."""
    return "\n\n".join(
        f"**{title}**\n\n{excerpt(text)}"
        for sample in record.samples
        for title, text in (
            ("Prompt", sample.prompt),
            ("Reference", sample.expected),
            ("Untrained base", sample.before),
            ("This adapter", sample.after),
        )
    )


def _loading(record: AdapterRecord, usage: str, task: Task | None, repo: str | None) -> str:
    parts = [fenced(usage.strip(), "python")]
    if shorter := at_once(record, task, repo):
        parts.append(f"PEFT can load base and adapter at once:\n\n{fenced(shorter, 'python')}")
    name = repo.rpartition("/")[2] if repo else record.name  # `zoo pull` calls it after its repository
    command = task.command(name) if task else shlex.join(["zoo", "show", name])
    lines = [*_installs(record), *([shlex.join(["zoo", "pull", repo])] if repo else []), command]
    return "\n\n".join([*parts, "With adapter-zoo:", fenced("\n".join(lines), "bash")])


def _installs(record: AdapterRecord) -> list[str]:
    """The command that installs adapter-zoo and the third-party plugins."""
    pinned = sorted(set(filter(None, map(manager.pinned, record.plugins.values()))))
    own = [one for one in pinned if one.startswith("adapter-zoo==")]
    others = [one for one in pinned if one not in own]
    return [f"pip install {' '.join([*(own or ['adapter-zoo']), *others])}"]


def _training(record: AdapterRecord) -> str:
    facts = training_facts(record)
    known = table(("setting", "value"), facts) if facts else ""
    if record.training is None:
        return f"Unknown: the training was not recorded.\n\n{known}".strip()
    again = f"To reproduce:\n\n{fenced(record.command, 'bash')}" if record.command else ""
    return f"{known}\n\n{again}".strip()


def _data(record: AdapterRecord) -> str:
    if record.data is None:
        return "Unknown: the training data was not recorded."
    return f"{table(('data', 'value'), data_facts(record.data))}\n\nEvaluated on: {plain(record.data.split)}."


def _base(record: AdapterRecord) -> str:
    if record.base.id == UNKNOWN:
        return "Unknown: the base was not recorded. `zoo check` proposes candidates by the adapter's shapes."
    return table(("base", "value"), base_facts(record.base))


def _limitations(record: AdapterRecord, task: Task | None, method: Method | None) -> str:
    data, base = record.data, record.base
    found = []
    if record.flags:
        found.append("Some results may be due to chance: see the warnings above.")
    if record.metrics and record.training:
        found.append(
            f"One run with one seed ({record.spec.seed}): the intervals cover the choice of held-out rows, "
            "not the variation between seeds."
        )
    if not record.metrics:
        found.append("It was not evaluated.")
    if data is not None:
        found.append(f"Trained and evaluated on {code(data.id)} only.")
        if data.licence is None:
            found.append("The licence of the data is not recorded.")
    if task is not None:
        found += task.limits(record)
    if record.spec.max_length and record.training:
        found.append(f"Inputs longer than {record.spec.max_length:,} tokens are truncated.")
    if record.format != "transformers" and base.weights:
        source = f", from the Python package {code(base.package)}" if base.package else ""
        found.append(
            f"It fits the base weights with the sha256 above{source}; on others it was not evaluated."
        )
    if method is not None and method.unmergeable and record.format != "transformers":
        found.append(f"It cannot be merged into its base: {plain(method.unmergeable)}.")
    if record.cost.hardware:
        found.append("Time and memory were measured on one machine.")
    return "\n".join(f"- {one}" for one in found)
