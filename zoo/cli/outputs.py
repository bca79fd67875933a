"""Declares what commands print with --json, where no type of another package is that already.

`zoo schema` makes JSON Schema of these types. What is written below a field is its description there.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from zoo.plugins.params import Parameter
from zoo.registry.schema import HubId, Metric
from zoo.runtime.checks import CheckResult


class DryRun(TypedDict):
    """What a run would be, told from the config of the base alone."""

    name: str
    method: str
    params: str
    """The method's parameters: `r=8, alpha=16`."""
    task: str
    base: str
    data: str
    """The data, or why there is none."""
    rows: str
    """How many would be trained on and held out, where they are here to be counted."""
    labels: str
    epochs: float
    learning_rate: float
    precision: str
    """`bf16` or `fp32`."""
    trainable: int
    """Parameters that would be trained."""
    parameters: int
    """All of them."""
    adapter_bytes: int
    memory: int
    """Bytes at the peak, estimated."""


class Default(TypedDict):
    """One of a person's defaults."""

    key: str
    value: str | bool | None
    origin: str
    """Where it comes from: an environment variable, the config file, the nearest registry.json, `default`."""


class Evaluated(TypedDict):
    """How good an adapter is on some rows."""

    name: str
    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    """The same of answers that need no model: `majority` is always the commonest label."""
    flags: list[str]
    """Warnings: a metric that does not beat a baseline."""


class Prediction(TypedDict, total=False):
    """What an adapter says of one input, beside the input itself: a field for each text column of the task.

    Which fields there are is decided by the kind of the task; a third-party kind may add its own.
    """

    label: str
    """Of a classification: the likeliest."""
    probability: float
    """Of that label."""
    probabilities: dict[str, float]
    """Of every label; they add up to 1."""
    answer: str
    """Of a chat model."""


class Match(TypedDict):
    """A picture or a caption of a gallery."""

    match: str
    similarity: float
    """The cosine, from -1 to 1."""


class Ranking(TypedDict):
    """What of a gallery is nearest to one text or picture."""

    query: str
    matches: list[Match]
    """The nearest first."""


class Merged(TypedDict):
    """A model made of an adapter and its base."""

    folder: str
    dtype: str
    """Of the saved weights."""
    largest_difference: float
    """Between its outputs and those of the adapter on its base."""
    largest_output: float
    """Of the adapter on its base: what the difference is to be compared with."""


class Card(TypedDict):
    """The card of an adapter, and what became of the one in its folder."""

    name: str
    path: str
    """Of the card in the adapter's folder."""
    text: str
    """What the record gives."""
    written: bool
    edited: bool
    """Is the card in the folder another one than `text`?"""
    differs: list[str]
    """What the card in the folder says otherwise than the record."""
    refused: list[str]
    """Why the Hub would refuse the card as --write leaves it."""


class Published(TypedDict):
    """What was sent to the Hub, or would be."""

    repository: str
    public: bool
    """Was it asked for with --public?"""
    hub: HubId | None
    """Where it is now; null of a --dry-run."""
    changed: bool
    """Was anything sent? False where the Hub had all of it already."""
    files: dict[str, int]
    """Name -> bytes of what is sent."""
    left_out: dict[str, str]
    """Name -> why it is not sent."""
    checks: list[CheckResult]


class Verified(TypedDict):
    """What the checks of one adapter found."""

    name: str
    results: list[CheckResult]


class MethodFacts(TypedDict):
    """A training method."""

    name: str
    summary: str
    paper: str
    learning_rate: float
    """The default."""
    params: dict[str, Parameter]
    tasks: list[str]
    """The tasks that it can train."""
    refused: dict[str, str]
    """Task -> why the method cannot train it."""
    unmergeable: str | None
    """Why it cannot be merged into a base; null where it can."""
    trainable: dict[str, int]
    """Task -> parameters that it trains on the task's base, where they were counted."""
    format: str
    """What loads what it saves: `peft`, `transformers` or `zoo`."""
    package: str


class TaskFacts(TypedDict):
    """A task."""

    name: str
    summary: str
    bases: list[str]
    """Its default bases, the preferred one first."""
    data: list[str]
    """Its default data, likewise."""
    columns: list[str]
    metric: str
    package: str


class Offered(TypedDict):
    """A base or a data set that is here."""

    kind: Literal["base", "data"]
    id: str
    reference: str
    """What --base or --data takes."""
    note: str


class SourceFacts(TypedDict):
    """A source of bases and data."""

    name: str
    scheme: str
    """How its references begin: `pip:`."""
    summary: str
    package: str
    offers: list[Offered]


class PluginFacts(TypedDict):
    """An installed plugin."""

    kind: str
    """`method`, `task` or `source`."""
    name: str
    package: str
    module: str
    state: str
    """`ok`, or why it does not work."""


class NewPlugin(TypedDict):
    """A plugin that was written."""

    folder: str
    files: list[str]


class RunRow(TypedDict):
    """A training that has not come to its end."""

    run: str
    """Its id."""
    name: str
    """That the adapter will have."""
    status: Literal["alive", "interrupted", "failed", "finished"]
    """`finished`: trained and saved, and not yet registered."""
    step: int
    """The last one of a living run; else the one of the newest checkpoint."""
    steps: int | None
    """Of the whole training, once it is known."""
    method: str
    task: str
    created: str
    host: str
    pid: int
    detail: str
    next: str
    """What to type to go on with it, or to stop it."""


class Rebuilt(TypedDict):
    """A registry.json made anew."""

    registry: str
    adapters: int
    """How many it has now."""
    left_out: list[str]
    """The zoo.json files that could not be read, each with the reason."""
    lost: list[str]
    """The adapters of the old one that have no folder."""
    undo: int | None
    """The number for zoo undo; null where nothing changed."""


class RegistryChecked(TypedDict):
    """A registry.json compared with the adapters' folders."""

    registry: str
    results: list[CheckResult]
    sound: bool
    """Did no check fail?"""


class JoinedRegistry(TypedDict):
    """Two registries in one, or, with --dry-run, what would come of it."""

    registry: str
    added: list[str]
    """The adapters that were only there, by their name here."""
    same: list[str]
    """Those that are in both, with the same files."""
    renamed: dict[str, str]
    """Name there -> name here, where another adapter has the name."""
    without_files: list[str]
    """Added with their record alone: their folder is not there."""
    left_out: list[str]
    """What could not be taken, each with the reason."""
    undo: int | None
    """The number for zoo undo; null where nothing changed."""


class MigratedRegistry(TypedDict):
    """A registry in the form of this version."""

    registry: str
    files: list[str]
    """What was written anew."""
    left_out: list[str]
    """The zoo.json files that could not be read, each with the reason."""
    undo: int | None
    """The number for zoo undo; null where nothing changed."""


class Undoable(TypedDict):
    """A command of which everything that it removed or replaced is kept."""

    number: int
    """What zoo undo takes."""
    command: str
    created: str
    until: str
    """How long it is kept."""
    adapters: list[str]


class Undone(TypedDict):
    """What was brought back."""

    undone: Undoable
    undo: int
    """The number with which zoo undo takes that back."""


class Diagnosed(TypedDict):
    """What the zoo finds about this installation."""

    facts: dict[str, str | int]
    """Of this machine. What is counted in bytes has a name that ends so."""
    results: list[CheckResult]
    """What does not work first; empty where all does."""
    sound: bool
    """Did no check fail?"""


class Printing(TypedDict):
    """A command that takes --json."""

    command: str
    prints: str
    """Its output in a few words; `zoo schema COMMAND` gives the schema."""


# types that are defined where they are made, in modules that would make a command start later


def fits() -> Any:
    """Of `zoo check`."""
    from zoo.adapters.compat.report import Fit

    return list[Fit]


def reproduced() -> Any:
    """Of `zoo reproduce`."""
    from zoo.training.reproduce import Reproduced

    return Reproduced


def checked_rows() -> Any:
    """Of `zoo data check`."""
    from zoo.data.inspect import Checked

    return Checked


def found_repos() -> Any:
    """Of `zoo search`."""
    from zoo.hub.search import Found

    return list[Found]
