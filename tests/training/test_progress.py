"""What is told of a run while it goes: means over examples, and no number that is none."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from zoo.plugins import manager
from zoo.runtime.console import RecordingReport
from zoo.training import progress
from zoo.training.progress import Live


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the sums in every step."""
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.0)


def made(folder: Path = Path("nowhere")) -> Live:
    run: Any = SimpleNamespace(
        task=manager.load_task("bert-imdb"),
        method=manager.load_method("lora"),
        model=torch.nn.Identity(),
        folder=folder / "checkpoints",
        report=RecordingReport(),
    )
    return Live(run)


def batches(sizes: list[int], seed: int = 0) -> list[tuple[Any, torch.Tensor]]:
    pick = torch.Generator().manual_seed(seed)
    return [
        (
            SimpleNamespace(logits=torch.randn(size, 2, generator=pick)),
            torch.randint(2, (size,), generator=pick),
        )
        for size in sizes
    ]


def mean_over_examples(given: list[tuple[Any, torch.Tensor]]) -> float:
    logits = torch.cat([outputs.logits for outputs, _ in given])
    return float(cross_entropy(logits, torch.cat([labels for _, labels in given])))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("sizes", [[4], [1, 7], [5, 1, 1]])
def test_the_loss_of_accumulated_batches_is_the_mean_over_their_examples(sizes: list[int]) -> None:
    seen, given = made(), batches(sizes)
    parts = [seen.loss(outputs, labels, sum(sizes)) for outputs, labels in given]
    assert float(sum(parts)) == pytest.approx(mean_over_examples(given))
    assert seen.step_end(1, 9).startswith(f"loss {mean_over_examples(given):.3f}, training accuracy ")
    assert seen.mean_loss == pytest.approx(mean_over_examples(given))
    assert seen.seen == sum(sizes)


@pytest.mark.parametrize("counted", [True, False])
def test_the_mean_over_an_epoch_is_over_its_examples_not_its_steps(counted: bool) -> None:
    seen, given = made(), batches([8, 1, 3])
    for outputs, labels in given:
        seen.loss(outputs, labels, torch.tensor(len(labels)) if counted else None)
        seen.step_end(1, 9)
    assert seen.mean_loss == pytest.approx(mean_over_examples(given))


def test_a_share_of_a_step_counts_only_its_own_examples() -> None:
    """Where several processes share a step, the count is of all of them and the loss of one."""
    seen, given = made(), batches([4, 6])
    outputs, labels = given[0]
    seen.loss(outputs, labels, 10)
    assert seen.mean_loss == pytest.approx(mean_over_examples(given[:1]))


@pytest.mark.usefixtures("always")
def test_a_new_epoch_begins_at_nothing_but_goes_on_counting_examples() -> None:
    seen = made()
    first, second = batches([4, 2])
    for given in (first, second):
        seen.epoch_begin()
        seen.step_begin()
        seen.loss(*given)
        note = seen.step_end(1, 9)
    assert seen.mean_loss == pytest.approx(mean_over_examples([second]))
    hits = int((second[0].logits.argmax(-1) == second[1]).sum())
    assert note == f"loss {mean_over_examples([second]):.3f}, training accuracy {hits / 2:.3f}"
    assert seen.seen == 6


def test_the_loss_given_back_has_its_gradient() -> None:
    outputs, labels = batches([4])[0]
    outputs.logits.requires_grad_()
    made().loss(outputs, labels, 4).backward()
    assert outputs.logits.grad is not None
    assert outputs.logits.grad.abs().sum() > 0


def test_the_sums_are_read_a_few_times_a_second_only() -> None:
    seen = made()
    notes = []
    for given in batches([4, 4, 4]):
        seen.loss(*given)
        notes.append(seen.step_end(1, 9))
    assert notes[0] == notes[1] == notes[2]


def test_what_is_saved_comes_back_and_goes_on(tmp_path: Path) -> None:
    whole, broken, given = made(), made(), batches([5, 2, 3])
    for one in given:
        whole.loss(*one)
    for one in given[:2]:
        broken.loss(*one)
    broken.halved_at = [1, 2]
    broken.save(tmp_path / "live.json")
    resumed = made()
    resumed.load(tmp_path / "live.json")
    assert resumed.halved_at == [1, 2]
    assert resumed.seconds > broken.seconds - 5
    assert resumed.seen == 7
    assert resumed.mean_loss == pytest.approx(broken.mean_loss)
    resumed.loss(*given[2])
    assert resumed.mean_loss == pytest.approx(whole.mean_loss)
    assert resumed.seen == whole.seen


def test_nothing_seen_yet_is_a_mean_of_nothing() -> None:
    assert made().mean_loss == 0


def test_the_first_signal_asks_and_the_second_stops() -> None:
    seen, before = made(), signal.getsignal(signal.SIGTERM)
    with seen.stop_after_this_step():
        signal.raise_signal(signal.SIGTERM)
        assert seen.stopping
        report: Any = seen._run.report
        assert report.messages == [
            "stopping: a checkpoint is saved at the end of this step; once more stops at once"
        ]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_the_signals_are_left_alone() -> None:
    seen, entered = made(), []

    def run() -> None:
        with seen.stop_after_this_step():
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGINT)]
