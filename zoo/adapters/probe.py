"""Keeps a probe beside each adapter: a few inputs, with the outputs of the adapter and of its bare base.

Whoever loads the adapter elsewhere can compare. The backbone's outputs without the adapter identify the base,
those with it identify the adapter, and the model's outputs identify the head. Of large outputs a fixed
selection is kept, so that the file stays small.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from zoo.errors import IncompatibleError
from zoo.models import safetensors_header
from zoo.models.fingerprint import weight_files
from zoo.models.precision import autocast, held

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from zoo.tasks.base import Task

    Answers = dict[str, np.ndarray]
    """Output -> the kept part of it, (inputs, ...); `backbone` is what the pretrained part gives."""
    Batches = list[dict[str, Tensor]]

FILE = "probe.safetensors"
BACKBONE = "backbone"
_STORED_BACKBONE = "trunk"
"""Its name in probe files, since 0.1.0."""
_METADATA = "probe"
"""The entry of the file's metadata that describes it, as JSON."""
TOLERANCES = {"fp32": 1e-3, "bf16": 5e-2}
"""Largest difference of an output, relative to the largest, by precision: machines differ in rounding."""
MERGE_TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""The same of a merged model and the adapter on its base, by the type that the weights are saved in."""
NOTHING = 1e-6
"""The same of an adapter that does nothing, and of its base."""
_POSITIONS = 4
"""Last positions of a text that are kept."""
_WIDTH = 256
"""Numbers of a position that are kept, spread evenly over the vocabulary or the width."""


@dataclass(frozen=True)
class Difference:
    name: str
    size: float
    """Largest difference of one number."""
    scale: float
    """Largest number."""

    def within(self, tolerance: float) -> bool:
        """NaN is within nothing."""
        return self.size <= tolerance * self.scale

    def __str__(self) -> str:
        return f"{self.name} differs by {self.size:.2g}, where it reaches {self.scale:.2g}"


@dataclass(frozen=True)
class Probe:
    """What probe.safetensors holds."""

    examples: list[dict[str, Any]] | None
    """The inputs; None where they are no text, and the task makes them anew."""
    inputs: Answers
    """What the model was given of each, for comparison."""
    base: Answers
    expected: Answers
    digests: list[int]
    """The CRC-32 of each of the base's tensors, sorted by name; empty where nobody took them."""
    names: str
    """The CRC-32 of those names."""


def batches(
    task: Task, processor: Any, max_length: int, examples: Sequence[Any] | None = None
) -> tuple[list[Any], Batches]:
    """The probe's inputs, and each as a batch of its own: padding would make answers depend on it."""
    examples = list(task.probe() if examples is None else examples)
    encoded = task.encode(examples, processor, max_length)
    made = [dict(task.collate([one], processor)) for one in encoded]
    return examples, [{name: value for name, value in one.items() if name != "labels"} for one in made]


def backbone_of(task: Task, model: nn.Module) -> nn.Module | None:
    """The pretrained part of a model as `load_model` gives it; None where that is all of it."""
    backbone = task.backbone(model)
    return None if backbone is model else backbone


def outputs(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every output of an evaluating model that is a tensor of real numbers, by name."""
    import torch

    place = next(model.parameters()).device
    with torch.inference_mode():
        found = model.eval()(**{k: v.to(place) for k, v in batch.items() if k != "labels"})
    return {
        name: value.float().cpu()
        for name, value in found.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def ask(
    model: nn.Module,
    inputs: Batches,
    backbone: nn.Module | None = None,
    precision: str = "fp32",
    *,
    whole: bool = False,
) -> Answers:
    """The outputs of the model, and of the `backbone` within it, for each input by itself.

    Args:
        whole: every number of them, instead of the selection that a probe keeps.
    """
    import torch

    place = next(model.parameters()).device
    if precision == "fp32":
        torch.nn.Module.float(model)  # transformers' own refuses a quantised base, and leaves it alone so
    seen: list[Any] = []
    hook: AbstractContextManager[Any] = nullcontext()
    if backbone is not None:
        hook = backbone.register_forward_hook(lambda module, given, found: seen.append(found))
    rows: dict[str, list[np.ndarray]] = {}
    with hook, held(model, precision), autocast(place, precision):
        for batch in inputs:
            seen.clear()
            found = outputs(model, batch)
            if seen:
                found[BACKBONE] = _hidden(seen[-1])
            for name, value in found.items():
                rows.setdefault(name, []).append(value.numpy() if whole else _kept(value))
    return {name: _joined(values) for name, values in rows.items()}


def compare(found: Answers, wanted: Answers) -> list[Difference]:
    """One for each output that both have, in the order of names."""
    import numpy as np

    differences = []
    for name in sorted(found.keys() & wanted.keys()):
        one, other = (value.reshape(-1).astype("float64") for value in (found[name], wanted[name]))
        scale = float(np.abs(other).max(initial=0.0))
        size = float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else float("inf")
        differences.append(Difference(name, size, scale))
    return differences


def first_difference(found: Answers, wanted: Answers, tolerance: float) -> Difference | None:
    """The first output that differs by more than `tolerance`, relative to its largest number."""
    return next((one for one in compare(found, wanted) if not one.within(tolerance)), None)


def bare_answers(found: Answers, head: Sequence[str]) -> Answers:
    """What a bare base's answers tell: under a freshly drawn head, only what comes before it."""
    return {name: value for name, value in found.items() if name == BACKBONE or not head}


def write(
    folder: Path,
    examples: Sequence[Any],
    inputs: Batches,
    base: Answers,
    expected: Answers,
    base_digests: Mapping[str, int],
) -> None:
    """`probe.safetensors`, the same bytes for the same answers."""
    import numpy as np
    from safetensors.numpy import save_file

    tensors = {f"input.{name}": value for name, value in given(inputs).items()}
    for prefix, answers in (("base.", base), ("expected.", expected)):
        for name, value in answers.items():
            tensors[f"{prefix}{_STORED_BACKBONE if name == BACKBONE else name}"] = value
    description: dict[str, Any] = {"examples": examples} if _is_text(examples) else {}
    if base_digests:
        tensors["base.digests"] = np.array([base_digests[name] for name in sorted(base_digests)], "uint32")
        description["names"] = _names(base_digests)
    # one entry: the library writes several in any order, and so another file each time
    described = {_METADATA: json.dumps(description, ensure_ascii=False, sort_keys=True)}
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(contiguous, folder / FILE, described)
    (folder / FILE).chmod(0o644)


def read(folder: Path) -> Probe | None:
    """None where the adapter has no probe: others made it, or an older zoo.

    Raises:
        IncompatibleError: it is no probe.
    """
    from safetensors.numpy import load_file

    path = folder / FILE
    if not path.is_file():
        return None
    described = safetensors_header.metadata(path)
    safetensors_header.check_finite(path)
    try:
        description = json.loads(described[_METADATA])
        found = load_file(path)
        taken = found.pop("base.digests", None)
        return Probe(
            description.get("examples"),
            _under("input.", found),
            _under("base.", found),
            _under("expected.", found),
            [] if taken is None else [int(one) for one in taken.reshape(-1)],
            str(description.get("names", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IncompatibleError(f"{path} is not a probe: {type(error).__name__}.") from error


def given(inputs: Batches) -> Answers:
    """What the model is given of each input: tokens whole, and of pictures what is kept of outputs."""
    rows: dict[str, list[np.ndarray]] = {}
    for batch in inputs:
        for name, value in batch.items():
            kept = _kept(value) if value.is_floating_point() else value[0].cpu().numpy()
            rows.setdefault(name, []).append(kept)
    return {name: _joined(values) for name, values in rows.items()}


def digests(base: Path) -> dict[str, int]:
    """The CRC-32 of each tensor of a base; none where its files are beyond what is read of others' files."""
    try:
        return {
            name: digest
            for path in weight_files(base)
            for name, digest in safetensors_header.digests(path).items()
        }
    except IncompatibleError:
        return {}


def altered(probe: Probe | None, base: Path) -> tuple[list[str], int] | None:
    """The tensors of `base` that are not those of the adapter's own base, and how many it has.

    None where nobody took their digests, or the tensors have other names, so that it is another model.
    """
    if probe is None or not probe.digests:
        return None
    found = digests(base)
    if len(found) != len(probe.digests) or _names(found) != probe.names:
        return None
    pairs = zip(sorted(found), probe.digests, strict=True)
    return [name for name, digest in pairs if found[name] != digest], len(found)


def _is_text(examples: Sequence[Any]) -> bool:
    """Pictures are not kept: the task makes them anew."""
    try:
        json.dumps(examples)
    except TypeError:
        return False
    return True


def _names(of: Mapping[str, int]) -> str:
    return f"{crc32(chr(10).join(sorted(of)).encode()):08x}"


def _under(prefix: str, found: Mapping[str, np.ndarray]) -> Answers:
    answers = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    if _STORED_BACKBONE in answers:
        answers[BACKBONE] = answers.pop(_STORED_BACKBONE)
    return answers


def _hidden(found: Any) -> Tensor:
    """The hidden states that a backbone gives, before any pooling: that may have been drawn freshly."""
    hidden = getattr(found, "last_hidden_state", None)
    value: Tensor = found[0] if hidden is None else hidden
    return value.float().cpu()


def _kept(value: Tensor) -> np.ndarray:
    """Of one input's output (1, ..., positions, width) the last positions and a spread of the width."""
    import torch

    rows = value[0].reshape(-1, value.shape[-1])[-_POSITIONS:] if value.dim() > 2 else value.reshape(1, -1)
    chosen = torch.linspace(0, rows.shape[-1] - 1, min(_WIDTH, rows.shape[-1])).round().long()
    kept: np.ndarray = rows[:, chosen].float().cpu().numpy()
    return kept


def _joined(values: Sequence[np.ndarray]) -> np.ndarray:
    """(inputs, ...), or one row of everything where inputs differ in length."""
    import numpy as np

    if len({value.shape for value in values}) == 1:
        return np.stack(values)
    return np.concatenate([value.reshape(-1) for value in values])
