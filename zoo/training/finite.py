"""Notices a loss, gradient or weight that is no finite number within two steps, and finds out why.

After each step a flag is set on the device and copied without waiting for it. It is read a step later, when
it is long there: a synchronisation in every step would hold a GPU up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.models.precision import autocast
from zoo.plugins.run import Run
from zoo.runtime.device import device
from zoo.training.feature_cache import Above

if TYPE_CHECKING:
    from torch import Tensor, nn

_NAMES = ("the loss", "the gradient", "a weight")
_SLOWER = 10
"""By this a learning rate is to be divided that is too high, although it is no higher than the method's."""

Examples = Sequence[Mapping[str, Any]]


class NotFiniteError(Exception):
    """What is not finite first, after which step, and the examples of that step."""

    def __init__(self, what: str, step: int, examples: list[Mapping[str, Any]]):
        super().__init__(what)
        self.what, self.step, self.examples = what, step, examples


class Watch:
    """The flag of the last step.

    Args:
        model: whose trained weights are watched.
    """

    def __init__(self, model: nn.Module):
        self._trained = [value for value in model.parameters() if value.requires_grad]
        self.norm: Any = None
        """Of the gradient of the step under way."""
        self._flags: tuple[Any, Any, int, list[Mapping[str, Any]]] | None = None

    def after_step(self, loss: Any, step: int, batches: Iterable[Examples]) -> None:
        """Set the flag of this step, and read the one of the step before.

        Raises:
            NotFiniteError: something was not, in the step before.
        """
        import torch

        self.check()
        norms = torch._foreach_norm([value.detach() for value in self._trained])
        norm = torch.as_tensor(0.0 if self.norm is None else self.norm)
        values = [torch.as_tensor(loss), norm, torch.stack(norms).sum()]
        place = norms[0].device
        found = torch.stack([value.float().to(place, non_blocking=True) for value in values]).isfinite()
        copied, ready = found, None
        if place.type == "cuda":
            copied = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            copied.copy_(found, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        self._flags = copied, ready, step, [one for batch in batches for one in batch]

    def check(self) -> None:
        """Read the flag of the last step.

        Raises:
            NotFiniteError: something was not.
        """
        if self._flags is None:
            return
        copied, ready, step, examples = self._flags
        self._flags = None
        if ready is not None:
            ready.synchronize()
        fine = copied.tolist()
        if not all(fine):
            raise NotFiniteError(_NAMES[fine.index(False)], step, examples)


def explain(error: NotFiniteError, run: Run, above: Above, good: Mapping[str, Tensor]) -> ZooError:
    """The error for the person: a row, the precision or the learning rate is to blame.

    Args:
        good: weights of before by name, which were finite: the rows of the step are computed on them.
    """
    run.model.load_state_dict(dict(good), strict=False)
    at = f"at step {error.step} {error.what} is no longer a finite number"
    bad = next((one for one in error.examples if not math.isfinite(_loss(run, above, one))), None)
    if bad is None:
        rate, usual = run.spec.learning_rate, run.method.learning_rate
        return ZooError(
            f"{at}: the learning rate {rate:g} is too high. Nothing was registered.",
            f"--lr {usual if rate > usual else rate / _SLOWER:g}",
        )
    if run.precision != "fp32":
        return ZooError(f"{at}, in {run.precision}. Nothing was registered.", "--precision fp32")
    number = next((place for place, one in enumerate(above.rows, 1) if _is_same(one, bad)), None)
    which = f"training row {number} of {len(above.rows)}" if number else "a training row"
    return ZooError(
        f"{at}: {which} gives no finite loss. Nothing was registered.", f"remove or correct {which}"
    )


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    with suppress(RuntimeError, ValueError):  # rows with tensors or arrays are not compared as a whole
        return one is other or bool(one == other)
    return False


def _loss(run: Run, above: Above, example: Mapping[str, Any]) -> float:
    import torch

    place = device()
    batch = {
        name: value.to(place) if isinstance(value, torch.Tensor) else value
        for name, value in above.collate([example]).items()
    }
    labels = batch.pop("labels")
    above.model.eval()
    with torch.no_grad(), autocast(place, run.precision):
        return float(run.task.loss(above.model(**batch), labels, None))
