"""The low-rank methods and their relatives: every number that is declared is trained, and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.attach import attach, attached, load
from zoo.errors import IncompatibleError, OptionError
from zoo.models.shared_base import Bases
from zoo.plugins import manager
from zoo.plugins import params as options
from zoo.plugins.method import Method
from zoo.registry.schema import BaseId

METHODS = (
    *("adalora", "c3a", "delora", "dora", "fourierft", "gralora", "hira", "hra", "loha", "lokr"),
    *("lora", "miss", "oft", "olora", "peanut", "pissa", "psoft", "pvera", "randlora", "road", "rslora"),
    *("shira", "tinylora", "unilora", "vblora", "vera", "waveft"),
)
FROM_SEEDS = ("vera", "pvera", "randlora", "vblora", "unilora", "tinylora", "shira", "fourierft", "waveft")
BOUNDED = [name for name in METHODS if manager.load_method(name).bounded_rank]  # type: ignore[attr-defined]
TASK = manager.load_task("bert-imdb")
BASE = BaseId(
    id="local:tiny", source="local", location="path:tiny", model_type="", config_sha256="", weights={}
)


@dataclass
class Trained:
    method: Method
    model: Any
    declared: dict[str, int]
    changed: dict[str, int]
    logits: Any
    folder: Path


def inputs() -> dict[str, Any]:
    import torch

    ids = torch.randint(4, 200, (4, 10), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def logits(model: Any) -> Any:
    return model(**inputs()).logits.float()


@pytest.fixture(scope="session")
def trained(
    tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trained]:
    """A method trained in float32 and saved, once for all tests that look at it."""
    return cache(lambda name: train(name, tiny_models["bert"], tmp_path_factory.mktemp(name)))


def train(name: str, base: Path, folder: Path, steps: int = 3) -> Trained:
    """Some steps as the engine takes them; afterwards the model is in evaluation."""
    import torch
    from torch.nn.functional import cross_entropy

    method, model = manager.load_method(name), attached(name, base)
    declared = {key: value.numel() for key, value in model.named_parameters() if value.requires_grad}
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    moved = {key: torch.zeros_like(value, dtype=torch.bool) for key, value in before.items()}
    optimizer = torch.optim.AdamW(
        [value for value in model.parameters() if value.requires_grad], lr=method.learning_rate
    )
    method.training_starts(model, steps)
    model.train()
    for step in range(1, steps + 1):
        loss = cross_entropy(logits(model), torch.tensor([0, 1, 0, 1]))
        penalty = method.penalty(model)
        (loss if penalty is None else loss + penalty).backward()
        for key, value in model.named_parameters():
            if value.requires_grad:
                assert value.grad is not None, f"{key} has no gradient"
                assert value.grad.isfinite().all(), f"{key} has a gradient that is not finite"
        optimizer.step()
        for key, value in model.named_parameters():
            moved[key] |= value != before[key]  # of several steps the last may lead back to the start
        method.after_step(model, step)
        optimizer.zero_grad()
    changed = {key: int(value.sum()) for key, value in moved.items() if value.any()}
    model.eval()
    method.save(model, folder, BASE)
    with torch.no_grad():
        return Trained(method, model, declared, changed, logits(model), folder)


def difference(model: Any, expected: Any) -> float:
    import torch

    with torch.no_grad():
        return float((logits(model.eval()) - expected).abs().max())


@pytest.mark.parametrize("name", METHODS)
def test_training_changes_every_number_that_is_declared_and_no_other(
    name: str, trained: Callable[[str], Trained]
) -> None:
    one = trained(name)
    assert one.changed == one.declared


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"vblora", "unilora"}))
def test_training_begins_at_the_base_as_it_is(name: str, tiny_bert: Path) -> None:
    model = attached(name, tiny_bert)
    assert difference(model, logits(load(tiny_bert)[0].eval()).detach()) < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_a_rank_of_zero_is_refused(name: str) -> None:
    method = manager.load_method(name)
    first = next(iter(options.describe(method.Params)))
    with pytest.raises(OptionError, match=f"'{first}' must be at least|'{first}' wants"):
        options.parse(method.Params, {first: "0"}, name)


@pytest.mark.parametrize("name", sorted(set(BOUNDED) - {"adalora", "c3a", "oft", "road"}))
def test_a_rank_above_the_sides_of_a_matrix_is_refused(name: str, tiny_bert: Path) -> None:
    first = next(iter(options.describe(manager.load_method(name).Params)))
    with pytest.raises(IncompatibleError, match=r"rank 2000 is above the 32 of the matrix|2000 and the"):
        attached(name, tiny_bert, **{first: 2000})


@pytest.mark.parametrize(
    ("name", "given", "reason", "hint"),
    [
        ("c3a", {"block_size": 24}, "block_size 24 does not divide 32", "-s block_size=16"),
        ("oft", {"oft_block_size": 12}, "oft_block_size 12 does not divide 32", "-s oft_block_size=8"),
        ("vblora", {"vector_length": 20}, "vector_length 20 does not divide 32", "-s vector_length=16"),
        ("shira", {"r": 17}, "more shira params than the total", "zoo methods shira"),
        ("adalora", {"init_r": 40}, "rank 40 is above the 32 of the matrix", "-s init_r=32"),
    ],
)
def test_sizes_that_do_not_fit_the_base_are_refused_before_its_weights_are_there(
    name: str, given: dict[str, Any], reason: str, hint: str, tiny_bert: Path
) -> None:
    import torch

    model, head = TASK.empty_model(tiny_bert, ("no", "yes"))
    with torch.device("meta"), pytest.raises(IncompatibleError, match=reason) as caught:
        attach(name, model, head, **given)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("adalora", {"init_r": "8"}, "init_r 8 is not above target_r 8"),
        ("gralora", {"r": "9"}, "r 9 is not a multiple of k 2"),
        ("hra", {"r": "7"}, "r 7 is odd"),
        ("road", {"variant": "road_3"}, "wants road_1|road_2|road_4"),
        ("vblora", {"topk": "300"}, "topk 300 is more than the 256 vectors"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    name: str, given: dict[str, str], reason: str
) -> None:
    with pytest.raises(OptionError) as caught:
        options.parse(manager.load_method(name).Params, given, name)
    assert reason in str(caught.value)


def test_blocks_divide_matrices_of_any_size(tiny_models: dict[str, Path]) -> None:
    """Llama's value projection is 64 x 32 and its down projection 128 x 64."""
    names = ("v_proj", "down_proj")
    for name, size in (("c3a", 32), ("vblora", 32), ("oft", 32), ("road", 32)):
        model = attached(name, tiny_models["llama"], targets=names)
        config = model.active_peft_config
        sizes = ("block_size", "vector_length", "oft_block_size", "group_size")
        assert size in [getattr(config, one, None) for one in sizes], name


@pytest.mark.parametrize("name", ["pissa", "olora"])
def test_a_converted_adapter_leaves_a_shared_base_untouched(
    name: str, tiny_bert: Path, trained: Callable[[str], Trained]
) -> None:
    one = trained(name)
    shared, reads = Bases(), []

    def read() -> tuple[Any, list[str]]:
        reads.append(1)
        return load(tiny_bert)

    for _ in range(3):
        shared.announce("bert")
    for _ in range(3):
        model, _ = shared.take("bert", read)
        restored = one.method.restore(model, one.folder, one.method.Params(), TASK)
        assert difference(restored, one.logits) < 1e-5
    assert len(reads) == 1
    config = json.loads((one.folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (16, 16, True)


def test_pissa_takes_the_exact_decomposition_when_asked(tiny_bert: Path) -> None:
    model = attached("pissa", tiny_bert, iterations=0)
    assert model.active_peft_config.init_lora_weights == "pissa"
    assert difference(model, logits(load(tiny_bert)[0].eval())) < 1e-5


def test_what_is_drawn_from_seeds_is_the_same_in_another_process(
    tiny_bert: Path, trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    import torch

    model, _ = load(tiny_bert)
    model.save_pretrained(str(tmp_path / "base"))
    torch.save(inputs(), tmp_path / "inputs.pt")
    folders = [str(trained(name).folder) for name in FROM_SEEDS]
    code = """if True:
        import sys, torch
        from peft import PeftModel
        from transformers import AutoModelForSequenceClassification
        work, *folders = sys.argv[1:]
        inputs = torch.load(f"{work}/inputs.pt")
        found = []
        for folder in folders:
            base = AutoModelForSequenceClassification.from_pretrained(f"{work}/base")
            found.append(PeftModel.from_pretrained(base, folder).eval()(**inputs).logits.detach())
        torch.save(found, f"{work}/logits.pt")
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path), *folders], check=True, timeout=120)
    for name, logits in zip(FROM_SEEDS, torch.load(tmp_path / "logits.pt"), strict=True):
        assert logits.sub(trained(name).logits).abs().max() < 1e-5, name


@pytest.mark.parametrize("steps", [1, 2, 4, 30])
def test_adalora_prunes_to_its_budget_where_the_run_is_long_enough(
    steps: int, tiny_bert: Path, tmp_path: Path
) -> None:
    one = train("adalora", tiny_bert, tmp_path, steps=steps)
    pattern = one.model.active_peft_config.rank_pattern
    ranks = [sum(kept) for kept in pattern.values()] if pattern else [12] * 4
    assert sum(ranks) == (48 if steps < 4 else 32)
    restored = one.method.restore(load(tiny_bert)[0], tmp_path, one.method.Params(), TASK)
    assert difference(restored, one.logits) < 1e-5


def test_adalora_resumed_after_its_last_pruning_keeps_what_was_kept(tiny_bert: Path) -> None:
    import torch

    def step(model: Any, number: int) -> None:
        (logits(model).sum() + method.penalty(model)).backward()
        with torch.no_grad():  # as momentum would, which moves the pruned ones too
            for value in directions(model):
                value += 0.01 * torch.arange(1, 1 + len(value))[:, None]
        method.after_step(model, number)

    def directions(model: Any) -> list[Any]:
        return [value for key, value in model.named_parameters() if ".lora_E." in key]

    method, model = manager.load_method("adalora"), attached("adalora", tiny_bert)
    method.training_starts(model, 20)
    for number in range(1, 16):
        step(model, number)
    kept = [(value != 0).tolist() for value in directions(model)]
    left = sum(int((value != 0).sum()) for value in directions(model))
    assert 0 < left < sum(value.numel() for value in directions(model))
    resumed = attached("adalora", tiny_bert)
    method.training_starts(resumed, 20)
    method.resume_schedule(resumed, method.schedule(model))
    resumed.load_state_dict(model.state_dict())
    step(resumed, 16)
    assert [(value != 0).tolist() for value in directions(resumed)] == kept
