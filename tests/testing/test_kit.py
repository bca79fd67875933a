"""The kit for plugin authors: its models and data are real, and it names what a method or task breaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zoo import IncompatibleError, Method, Task, TextClassification
from zoo.errors import UsageError
from zoo.plugins import manager
from zoo.testing import CAPTIONS, FAMILIES, TinyModels, broken, check_method, check_task, save_tiny_model


@dataclass(frozen=True)
class NoHelp:
    width: int = 8


class Biases(Method):
    """A method that keeps every promise; the tests break one at a time."""

    name = "biases"
    summary = "the biases are trained"
    learning_rate = 1e-2
    unmergeable: str | None = None

    def attach(self, model: Any, params: Any, task: Task, head: Sequence[str]) -> Any:
        model.requires_grad_(False)
        for name, value in model.named_parameters():
            if name.endswith(".bias") or any(name.startswith(f"{module}.") for module in head):
                value.requires_grad_(True)
        return model

    def merge(self, model: Any) -> Any:
        return model


class ForgetsToRestore(Biases):
    def restore(self, model: Any, folder: Path, params: Any, task: Task) -> Any:
        return self.attach(model, params, task, ())


class LosesTheHead(Biases):
    def attach(self, model: Any, params: Any, task: Task, head: Sequence[str]) -> Any:
        adapted = super().attach(model, params, task, ())
        for name in head:
            adapted.get_submodule(name).requires_grad_(False)
        return adapted


class ChangesWhatIsFrozen(Biases):
    def after_step(self, model: Any, step: int) -> None:
        next(model.parameters()).data.add_(1)


class TrainsWhatNeverGetsAGradient(Biases):
    def attach(self, model: Any, params: Any, task: Task, head: Sequence[str]) -> Any:
        import torch

        model.register_parameter("idle", torch.nn.Parameter(torch.zeros(3)))
        adapted = super().attach(model, params, task, head)
        adapted.idle.requires_grad_(True)
        return adapted


class TrainsNothing(Biases):
    def attach(self, model: Any, params: Any, task: Task, head: Sequence[str]) -> Any:
        return model.requires_grad_(False)


class WritesAPickle(Biases):
    def save(self, model: Any, folder: Path, base: Any) -> None:
        super().save(model, folder, base)
        (folder / "extra.bin").write_bytes(b"")


class SavesLess(Biases):
    def save(self, model: Any, folder: Path, base: Any) -> None:
        from safetensors.torch import save_file

        name, value = next(iter(self.state(model).items()))
        save_file({name: value.detach()}, folder / "adapter.safetensors")


class CountsOtherwise(Biases):
    def attach(self, model: Any, params: Any, task: Task, head: Sequence[str]) -> Any:
        adapted = super().attach(model, params, task, head)
        if next(model.parameters()).is_meta:
            adapted.requires_grad_(True)
        return adapted


class RemembersSteps(Biases):
    """Its penalty depends on what a checkpoint does not hold."""

    steps = 0

    def training_starts(self, model: Any, steps: int) -> None:
        self.steps = 0

    def after_step(self, model: Any, step: int) -> None:
        self.steps += 1

    def penalty(self, model: Any) -> Any:
        return self.steps * sum((value**2).sum() for value in model.parameters() if value.requires_grad)


class MergesWrongly(Biases):
    def merge(self, model: Any) -> Any:
        next(value for name, value in model.named_parameters() if "LayerNorm" in name).data.add_(1)
        return model


class SaysItDoesNotMergeAndDoes(Biases):
    unmergeable = "it cannot"


class IsNotExplained(Biases):
    Params = NoHelp


class RefusesWithoutAReason(Biases):
    def refuses(self, task: Task, params: Any) -> str | None:
        return ""


class RaisesAtRandom(Biases):
    def attach(self, model: Any, params: Any, task: Task, head: Sequence[str]) -> Any:
        raise RuntimeError("no GPU")


BROKEN: dict[type[Biases], str] = {
    ForgetsToRestore: "restore on a fresh base",
    LosesTheHead: "a head without pretrained weights",
    ChangesWhatIsFrozen: "no other",
    TrainsWhatNeverGetsAGradient: "changes every tensor",
    TrainsNothing: "that is something",
    WritesAPickle: "safetensors and json",
    SavesLess: "every number that is trained",
    CountsOtherwise: "counts without weights",
    RemembersSteps: "stopped and resumed",
    MergesWrongly: "it merges",
    SaysItDoesNotMergeAndDoes: "it merges",
    IsNotExplained: "each parameter is explained",
    RefusesWithoutAReason: "refuses with a reason",
    RaisesAtRandom: "refuses with a reason",
}


@pytest.fixture(scope="module")
def task() -> Task:
    return manager.load_task("bert-imdb")


def test_a_method_that_keeps_its_promises_breaks_none(task: Task, tiny_bert: Path, reviews_csv: Path) -> None:
    results = check_method(Biases(), task, tiny_bert, reviews_csv)
    assert broken(results) == []
    assert {one.status for one in results} == {"ok"}
    assert len(results) > 12


@pytest.mark.parametrize("method", BROKEN, ids=lambda method: method.__name__)
def test_a_broken_promise_is_named(
    method: type[Biases], task: Task, tiny_bert: Path, reviews_csv: Path
) -> None:
    found = broken(check_method(method(), task, tiny_bert, reviews_csv))
    assert [promise for promise, happened in found if BROKEN[method] in promise and happened] != []


def test_the_detail_is_what_happened(task: Task, tiny_bert: Path, reviews_csv: Path) -> None:
    (found,) = broken(check_method(RaisesAtRandom(), task, tiny_bert, reviews_csv))
    assert found[1] == "RuntimeError: no GPU"
    assert found[0].startswith("bert-imdb: ")


def test_a_refusal_with_a_reason_is_no_broken_promise(task: Task, tiny_bert: Path, reviews_csv: Path) -> None:
    class Refuses(Biases):
        def attach(self, model: Any, params: Any, task: Task, head: Sequence[str]) -> Any:
            raise IncompatibleError("it wants a model of 70 billion parameters.")

    results = check_method(Refuses(), task, tiny_bert, reviews_csv)
    assert broken(results) == []
    assert results[-1].status == "skipped"
    assert "70 billion" in results[-1].detail


def test_unknown_parameters_are_named(task: Task, tiny_bert: Path, reviews_csv: Path) -> None:
    found = broken(check_method(Biases(), task, tiny_bert, reviews_csv, {"rank": "8"}))
    assert "no parameter 'rank'" in found[0][1]


# tasks


class Mine(TextClassification):
    name = "mine"
    summary = "a task"
    bases = ("hub:google-bert/bert-base-cased",)
    data = ()


def test_a_task_that_keeps_its_promises_breaks_none(tiny_models: TinyModels, reviews_csv: Path) -> None:
    for family in ("bert", "llama"):
        assert broken(check_task(Mine(), tiny_models[family], reviews_csv)) == []


class HalfTheLoss(Mine):
    def loss(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        return super().loss(outputs, labels)  # whatever it is told


class SeesItsPadding(Mine):
    def collate(self, encoded: Any, processor: Any) -> Any:
        import torch

        batch = super().collate(encoded, processor)
        batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
        return batch


class MeasuresSomethingElse(Mine):
    primary_metric = "f7"


class IsTooLong(Mine):
    def encode(self, examples: Any, processor: Any, max_length: int) -> Any:
        return [{**one, "length": 10**6} for one in super().encode(examples, processor, max_length)]


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (HalfTheLoss, "the loss is a finite mean"),
        (SeesItsPadding, "alone and padded"),
        (MeasuresSomethingElse, "its primary metric"),
        (IsTooLong, "none too long"),
    ],
)
def test_a_broken_promise_of_a_task_is_named(
    kind: type[Mine], promise: str, tiny_bert: Path, reviews_csv: Path
) -> None:
    found = broken(check_task(kind(), tiny_bert, reviews_csv))
    assert [name for name, happened in found if promise in name and happened] != []


# models and data


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_is_small_and_always_the_same(
    family: str, tiny_models: TinyModels, tmp_path: Path
) -> None:
    from zoo.models.fingerprint import LocalWeights

    again = save_tiny_model(family, tmp_path / family)
    assert LocalWeights(again).weights == LocalWeights(tiny_models[family]).weights != {}
    assert sum(path.stat().st_size for path in again.iterdir()) < 1_000_000
    assert json.loads((again / "config.json").read_text(encoding="utf-8"))["model_type"] == family


def test_a_family_that_the_kit_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are bert, roberta, distilbert, llama, clip"):
        save_tiny_model("mamba", tmp_path)


def test_the_tiny_llama_writes_a_conversation_by_its_template_and_back(tiny_models: TinyModels) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_models["llama"]))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Où?"}], tokenize=False)
    assert text == "<|im_start|>user\nOù?<|im_end|>\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_pictures_are_those_that_the_captions_name(pictures_folder: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    lines = (pictures_folder / "metadata.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "file_name,text"
    assert len(lines) == len(CAPTIONS) + 1
    name, caption = lines[1].split(",")
    assert caption == "a red square on white"
    assert image.open(pictures_folder / name).getpixel((20, 16)) == (255, 0, 0)


def test_the_conversations_end_with_an_answer(conversations_jsonl: Path) -> None:
    for line in conversations_jsonl.read_text(encoding="utf-8").splitlines():
        assert [one["role"] for one in json.loads(line)["messages"]] == ["user", "assistant"]
