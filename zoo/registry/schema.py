"""Defines the records: `AdapterSpec` is a run as asked for, `AdapterRecord` what came of it."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, field

SCHEMA = 1
"""Version of the record and of registry.json. A newer one is refused."""
UNKNOWN = "unknown"
"""The id of a base, the name of a method or task, that an adapter made elsewhere does not tell."""


class AdapterSpec(Struct, frozen=True, kw_only=True):
    """One training run, as asked for. `None` means "the task's or the method's default"."""

    method: str
    task: str
    name: str | None = None
    base: str | None = None
    data: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    """The method's parameters: text as typed (`{"r": "16"}`) on the way in, typed values in a record."""
    columns: dict[str, str] = field(default_factory=dict)
    """Task column -> column of the data, where the names differ: `{"text": "review"}`."""
    split: str | None = None
    """The split to train on; `None` is `train`."""
    eval_data: str | None = None
    """Held-out rows from elsewhere; `None` is the data's own, or a part of its rows."""
    limit: int | None = None
    """Train on this many rows, stratified by label; `None` is all. Never touches the held-out rows."""
    eval_limit: int | None = None
    """Evaluate on at most this many held-out rows; `None` is the task's default."""
    epochs: float | None = None
    learning_rate: float | None = None
    batch_tokens: int | None = None
    """Tokens in a batch, padding included."""
    max_length: int | None = None
    """Tokens of an example; what is longer is cut."""
    seed: int = 42
    gradient_accumulation: int = 1
    """Batches that make up one step of the optimizer."""
    packing: bool = False
    """The examples of a batch in one row without padding, none seeing another."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    compile: bool = False
    """Train through `torch.compile`."""
    precision: str = "auto"
    """`auto`, `bf16` or `fp32`."""
    base_dropout: str = "off"
    """`off` or `keep`: dropout inside a frozen base."""
    threads: int | None = None
    """Of the CPU's arithmetic, whose sums depend on it; `None` is as many as torch takes."""
    portable: bool = False
    """Only with instructions that every x86-64 processor with AVX2 has, so that all give the same weights."""


class BaseId(Struct, frozen=True, kw_only=True, gc=False):
    """Which base model, however it was fetched: the weights' hashes decide, the id is for people."""

    id: str
    """Canonical Hub id (`google-bert/bert-base-cased`), or `local:<folder>` where none is known."""
    source: str
    location: str
    """A reference that opens it again: `pip:...`, `hub:id@revision`, `path:/...`."""
    model_type: str
    config_sha256: str
    weights: dict[str, str]
    """File name -> sha256 (equal to the Hub's LFS oid)."""
    revision: str | None = None
    package: str | None = None
    licence: str | None = None
    tensors_sha256: str | None = None
    """Over all tensors, however they are sharded; None in a record of 0.1.0."""

    @property
    def reference(self) -> str:
        """What `from_pretrained` takes: the id, or the folder where there is no id."""
        return self.location.removeprefix("path:") if self.id.startswith("local:") else self.id


class DataId(Struct, frozen=True, kw_only=True):
    """Which rows, and how they were divided."""

    id: str
    source: str
    location: str
    fingerprint: str
    """sha256 over every usable row, in order."""
    n_train: int
    """Rows trained on, after `limit`."""
    n_train_available: int
    n_held_out: int
    split: str
    """The rule that made the held-out part, as a sentence."""
    columns: dict[str, str] = field(default_factory=dict)
    revision: str | None = None
    package: str | None = None
    licence: str | None = None
    config: str | None = None
    """Which configuration of a Hub data set: `mrpc` of GLUE."""
    eval_location: str | None = None
    """Where the held-out rows come from, if from elsewhere."""


class Metric(Struct, frozen=True, kw_only=True, gc=False):
    """A number with its error bar."""

    name: str
    value: float
    low: float
    high: float
    n: int
    level: float = 0.95
    interval: str = "wilson"
    """`wilson` (proportions) or `bootstrap` (percentile, over examples)."""
    lower_is_better: bool = False
    """As of a loss."""


class Sample(Struct, frozen=True, kw_only=True):
    """A held-out input with the model's answers before and after training."""

    prompt: str
    expected: str
    before: str
    """The base, untrained."""
    after: str


class Cost(Struct, frozen=True, kw_only=True, gc=False):
    """What the run took. Bytes and seconds are measured, never estimated; None is not known."""

    trainable_parameters: int
    adapter_bytes: int
    total_parameters: int | None = None
    train_seconds: float | None = None
    evaluate_seconds: float | None = None
    examples_per_second: float | None = None
    peak_memory_bytes: int | None = None
    """Highest resident memory of the process, or allocated memory of the GPU where there is one."""
    hardware: str | None = None


class Training(Struct, frozen=True, kw_only=True):
    """How the weights came about, beyond what was asked for."""

    steps: int
    loss: float
    """Mean training loss of the last epoch."""
    precision: str
    base_dropout: str
    threads: int
    halved_at: list[int] = field(default_factory=list)
    """Steps before which the batches were halved, each once, because memory ran out."""
    changes: list[str] = field(default_factory=list)
    """What was another when the run was resumed: `threads was 2, and is 4`. Then it cannot be repeated."""
    device: str | None = None
    """`cpu` or `cuda`; None in a record of 0.1.0, as the fields below."""
    kernels: str | None = None
    """What rounded the sums: `AVX2`, `AVX512, MKL_CBWR=AUTO`, or the name of the GPU."""
    processes: int = 1
    deterministic: str | None = None
    """Where the same training gives the same weights bit for bit, or why that is not claimed."""


class FileId(Struct, frozen=True, kw_only=True):
    bytes: int
    sha256: str


class HubId(Struct, frozen=True, kw_only=True):
    """Where on the Hub an adapter is."""

    repo: str
    revision: str
    """The commit."""
    url: str


class AdapterRecord(Struct, frozen=True, kw_only=True):
    """The birth certificate of an adapter."""

    name: str
    spec: AdapterSpec
    """Every setting resolved: running it again is running this adapter again."""
    base: BaseId
    data: DataId | None
    """None where nobody recorded it."""
    labels: list[str]
    metrics: list[Metric]
    baselines: dict[str, list[Metric]]
    """`majority` (always the commonest label) and `untrained` (the base with a fresh head), same rows."""
    flags: list[str]
    """Warnings: a metric that does not beat a baseline."""
    cost: Cost
    training: Training | None
    """None where nobody recorded it."""
    format: str
    """What loads the folder: `peft`, `transformers`, or `zoo` (`zoo.restore(model, folder)`)."""
    files: dict[str, FileId]
    command: str
    created: str
    versions: dict[str, str]
    plugins: dict[str, str]
    """`method` and `task` -> the distribution and version that brought it."""
    samples: list[Sample] = field(default_factory=list)
    """Of a task that writes; empty for one that only measures."""
    hub: HubId | None = None
    """Where it was published or pulled from."""
    origin: str | None = None
    """Of an adapter that was not trained here: `hub:repo@commit`, or `path:folder`."""
    run: str | None = None
    """The id of the training, where it was one of this zoo."""
    schema: int = SCHEMA

    @property
    def precision(self) -> str:
        """What it was trained in, and works in unless another is asked for."""
        return self.training.precision if self.training else "auto"

    def metric(self, name: str) -> Metric | None:
        return next((metric for metric in self.metrics if metric.name == name), None)


class ListedSpec(Struct, frozen=True, kw_only=True, gc=False):
    """Of an `AdapterSpec`, what `zoo list` shows."""

    method: str
    task: str


class ListedRecord(Struct, frozen=True, kw_only=True, gc=False):
    """The fields of an `AdapterRecord` that `zoo list` shows, filters by or sorts by; the rest is skipped."""

    name: str
    spec: ListedSpec
    base: Raw
    """A `BaseId` in JSON: thousands of adapters are of a few bases."""
    metrics: list[Metric]
    flags: list[str]
    cost: Cost
    created: str
    schema: int = SCHEMA

    def metric(self, name: str) -> Metric | None:
        return next((metric for metric in self.metrics if metric.name == name), None)
