"""Names the experiment trackers that a training can report to, and refuses one that is not installed."""

from __future__ import annotations

from zoo.errors import NotFoundError
from zoo.runtime.suggest import did_you_mean

NONE = "none"
TRACKERS = {
    "clearml": ("clearml", "clearml"),
    "comet_ml": ("comet_ml", "comet-ml"),
    "dvclive": ("dvclive", "dvclive"),
    "mlflow": ("mlflow", "mlflow"),
    "neptune": ("neptune", "neptune"),
    "swanlab": ("swanlab", "swanlab"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "trackio": ("trackio", "trackio"),
    "wandb": ("wandb", "wandb"),
}
"""Name in transformers' `report_to` -> the module it needs, and the package that brings it."""


def check_known(name: str) -> str:
    """The name itself.

    Raises:
        NotFoundError: it is neither a tracker's nor `none`.
    """
    if name not in (NONE, *TRACKERS):
        raise NotFoundError(
            f"no tracker is called '{name}': {', '.join(TRACKERS)}.{did_you_mean(name, TRACKERS)}",
            f"--tracker {NONE}",
        )
    return name


def check_installed(name: str) -> str:
    """The name itself, without importing anything.

    Raises:
        NotFoundError: it is no tracker's, or its package is not installed.
    """
    if check_known(name) != NONE:
        from importlib.util import find_spec

        module, package = TRACKERS[name]
        if find_spec(module) is None:
            raise NotFoundError(f"the tracker '{name}' is not installed.", f"pip install {package}")
    return name
