"""Adapters used together give what each gives alone, whatever its method does to the base it is handed."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.conftest import Result, reviews, tiny_spec, write_csv
from tests.records import change_weights, copy_registry, data
from zoo import Method, Task
from zoo.adapters import evaluate, load
from zoo.adapters.load import Adapters
from zoo.errors import IncompatibleError, NotFoundError, UnreachableError
from zoo.models.shared_base import Bases, options_key
from zoo.plugins import manager
from zoo.registry.store import Registry
from zoo.runtime.console import RecordingReport, Report
from zoo.tasks.text_classification import TextClassification
from zoo.training import pipeline

LORAS = ("lora-1", "lora-2", "lora-3", "lora-4")
ALL = (*LORAS, "head-1", "full-1", "head-2", "lora-other", "lora-short")
Counts = dict[str, int]


@pytest.fixture(scope="module")
def trained(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Adapters of every kind on the tiny BERT, one on the tiny RoBERTa, one that reads fewer tokens."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_csv(folder / "reviews.csv", reviews())
    registry = Registry(folder / "registry.json")
    for seed, name in enumerate(ALL):
        base = tiny_models["roberta" if name == "lora-other" else "bert"]
        length = 6 if name == "lora-short" else None
        spec = tiny_spec(
            name.partition("-")[0], base, data, name=name, max_length=length, seed=seed, learning_rate=0.01
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ZOO_CACHE", str(folder / "cache" / name))  # each encodes for itself
            pipeline.train(spec, registry)
    return registry


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """How often a model, a processor and a data set was really read, and rows encoded."""
    found = dict.fromkeys(("load_model", "load_processor", "examples", "encode"), 0)

    def count(name: str) -> None:
        real = getattr(TextClassification, name)

        def counted(self: Task, *args: Any, **options: Any) -> Any:
            found[name] += 1
            return real(self, *args, **options)

        monkeypatch.setattr(TextClassification, name, counted)

    for name in found:
        count(name)
    return found


def logits(adapters: Adapters, name: str, precision: str = "fp32") -> Any:
    loaded = adapters.load(name)
    examples = [loaded.task.example(text) for text, _ in reviews(20)]
    rows = loaded.task.encode(examples, loaded.processor, loaded.max_length)
    return loaded.outputs(rows, precision, Report(), "")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_used_together_give_exactly_the_logits_that_each_gives_alone(
    precision: str, trained: Registry
) -> None:
    together = Adapters(ALL, trained)
    alone = [logits(Adapters([name], trained), name, precision) for name in ALL]
    for name, expected in zip(ALL, alone, strict=True):
        assert (logits(together, name, precision) == expected).all(), name
    assert not any((one == other).all() for i, one in enumerate(alone) for other in alone[:i])


def test_adapters_evaluated_together_give_what_each_gives_alone_and_what_was_recorded(
    trained: Registry,
) -> None:
    alone = [evaluate.evaluate(load.load(name, trained)) for name in ALL]
    assert [one for _, one in evaluate.evaluate_all(ALL, trained)] == alone
    assert [one.metrics for one in alone] == [trained.get(name).metrics for name in ALL]


def test_what_adapters_have_in_common_is_read_once(trained: Registry, counts: Counts) -> None:
    assert len(dict(evaluate.evaluate_all((*LORAS, "head-1"), trained))) == 5
    assert counts == {"load_model": 1, "load_processor": 1, "examples": 1, "encode": 1}


def test_two_bases_a_full_model_and_another_length_are_each_read_for_themselves(
    trained: Registry, counts: Counts
) -> None:
    list(evaluate.evaluate_all(("lora-1", "lora-other", "full-1", "lora-short", "lora-2"), trained))
    # a full fine-tune's tokenizer is read for itself, but gives what the cache has already
    assert {name: counts[name] for name in ("load_model", "examples", "encode")} == {
        "load_model": 3,
        "examples": 1,
        "encode": 3,
    }


def test_other_data_is_read_once_for_all(trained: Registry, counts: Counts, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", reviews(30, seed=5))
    found = dict(evaluate.evaluate_all(LORAS, trained, data=str(other)))
    assert counts["examples"] == counts["encode"] == 1
    assert {metric.n for one in found.values() for metric in one.metrics} == {30}


def test_a_base_is_dropped_when_no_adapter_is_left_that_wants_it(trained: Registry) -> None:
    together = Adapters(("lora-1", "lora-2", "lora-other"), trained)
    first = together.load("lora-1").model
    shared = weakref.ref(next(iter(together._bases._templates.values())).model)
    own = weakref.ref(first)
    del first
    gc.collect()
    assert own() is None
    assert shared() is not None
    together.load("lora-2")
    together.load("lora-other")
    gc.collect()
    assert shared() is None


def test_the_weights_of_a_base_lie_in_memory_once(trained: Registry) -> None:
    together = Adapters(("lora-1", "lora-2"), trained)
    name = "base_model.model.bert.embeddings.word_embeddings.weight"
    first = together.load("lora-1").model.get_parameter(name)
    second = together.load("lora-2").model.get_parameter(name)
    assert first is not second
    assert first.data_ptr() == second.data_ptr()


# third-party methods


class Rude(Method):
    """Loads an adapter by doing `write` to the base."""

    name = "lora"
    format = "rude"
    write: Callable[[Any], None]

    def attach(self, model: Any, params: Any, task: Task, head: Any) -> Any:
        raise NotImplementedError

    def restore(self, model: Any, folder: Path, params: Any, task: Task) -> Any:
        type(self).write(model)
        return model

    def usage(self) -> str:
        return ""


def copy_in(model: Any) -> None:
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight.copy_(torch.ones(32, 64))


def write_through_data(model: Any) -> None:
    model.bert.encoder.layer[0].output.dense.weight.data.mul_(-1)


def write_one_number_through_numpy(model: Any) -> None:
    model.bert.encoder.layer[1].output.dense.bias.detach().numpy()[-1] += 1e-3


def swap_rows(model: Any) -> None:
    weight = model.bert.embeddings.word_embeddings.weight
    weight.data[[10, 150]] = weight.data[[150, 10]]


def replace(model: Any) -> None:
    model.bert.encoder.layer[0] = model.bert.encoder.layer[1]
    model.bert.embeddings.word_embeddings.weight.data = torch.zeros(200, 32)
    model.config.num_labels = 7


def write_into_buffers_and_head(model: Any) -> None:
    model.bert.embeddings.position_ids.zero_()
    with torch.no_grad():
        model.classifier.weight.zero_()


WRITES: dict[Callable[[Any], None], int] = {
    copy_in: 2,
    write_through_data: 2,
    write_one_number_through_numpy: 2,
    swap_rows: 2,
    replace: 1,
    write_into_buffers_and_head: 1,
}
"""What a method may do, and how often the base is read for it and the adapter after it."""


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_method_that_writes_into_the_base_does_not_disturb_the_next_adapter(
    write: Callable[[Any], None], trained: Registry, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = logits(Adapters(["head-1"], trained), "head-1")
    monkeypatch.setattr(Rude, "write", staticmethod(write), raising=False)
    real = manager.load_method
    rude = Rude()
    rude.Params = real("lora").Params
    monkeypatch.setattr(manager, "load_method", lambda name: rude if name == "lora" else real(name))
    together = Adapters(("lora-1", "head-1"), trained)
    counts["load_model"] = 0
    together.load("lora-1")
    assert (logits(together, "head-1") == expected).all()
    assert counts["load_model"] == WRITES[write]


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(5, 3)
        self.scores = torch.nn.Linear(3, 5, bias=False)
        self.scores.weight = self.words.weight
        self.head = torch.nn.Linear(3, 2)
        self.head.weight.requires_grad_(False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.scores(self.words(ids))
        return found


def take_two(model: torch.nn.Module) -> tuple[Any, list[int]]:
    """The first of two uses of a base, and a list that is as long as it was read often."""
    bases, reads = Bases(), [0]
    bases.announce("base")
    bases.announce("base")

    def read() -> tuple[torch.nn.Module, list[str]]:
        reads.append(1)
        return model, ["head"]

    return bases.take("base", read)[0], reads


def test_tied_weights_stay_tied_and_what_is_trained_stays_so() -> None:
    model = Tied()
    tree, _ = take_two(model)
    assert tree is not model
    assert tree.scores.weight is tree.words.weight
    assert tree.words.weight.data_ptr() == model.words.weight.data_ptr()
    assert tree.head.weight.data_ptr() != model.head.weight.data_ptr()
    assert [value.requires_grad for value in tree.parameters()] == [True, False, True]


def test_a_model_whose_functions_hold_on_to_it_is_not_copied() -> None:
    patched = Tied()
    scores, plain = patched.scores, patched.forward
    patched.forward = lambda ids: scores(plain(ids))  # type: ignore[method-assign]
    assert take_two(patched)[0] is patched
    hooked = Tied()
    hooked.words.register_forward_hook(lambda module, ids, found: found + hooked.words.weight.sum())
    assert take_two(hooked)[0] is hooked


def test_options_are_equal_only_if_they_load_the_same_model() -> None:
    from transformers import BitsAndBytesConfig

    four, eight = BitsAndBytesConfig(load_in_4bit=True), BitsAndBytesConfig(load_in_8bit=True)
    assert options_key({"quantization_config": four}) != options_key({"quantization_config": eight})
    again = BitsAndBytesConfig(load_in_4bit=True)
    assert options_key({"quantization_config": four}) == options_key({"quantization_config": again})
    assert options_key({}) == options_key({})
    assert options_key({"key": lambda: 0}) != options_key({"key": lambda: 0})


# what is checked first


@pytest.fixture
def mine(trained: Registry, tmp_path: Path) -> Registry:
    return copy_registry(trained, tmp_path / "copy")


def rebase(registry: Registry, name: str, **changes: Any) -> None:
    record = registry.get(name)
    registry.replace(msgspec.structs.replace(record, base=msgspec.structs.replace(record.base, **changes)))


def test_a_lost_file_is_known_before_anything_is_loaded(mine: Registry, counts: Counts) -> None:
    (mine.adapter_folder("head-2") / "adapter.safetensors").unlink()
    with pytest.raises(NotFoundError, match="'head-2' has lost its file"):
        list(evaluate.evaluate_all(ALL, mine))
    assert set(counts.values()) == {0}


def test_another_base_is_known_before_anything_is_loaded(mine: Registry, counts: Counts) -> None:
    rebase(mine, "lora-2", weights={"model.safetensors": "0" * 64}, tensors_sha256="0" * 64)
    with pytest.raises(IncompatibleError, match="'lora-2' was trained on"):
        list(evaluate.evaluate_all(("lora-1", "lora-2"), mine))
    assert set(counts.values()) == {0}


def test_changed_rows_are_known_before_anything_is_measured(mine: Registry, counts: Counts) -> None:
    record = mine.get("lora-2")
    other = msgspec.structs.replace(data(record), fingerprint="0" * 64)
    mine.replace(msgspec.structs.replace(record, data=other))
    with pytest.raises(IncompatibleError, match="has changed since 'lora-2' was trained"):
        list(evaluate.evaluate_all(("lora-1", "lora-2"), mine))
    assert counts["load_model"] == 0


# which base it is


@pytest.fixture
def copy_of_base(tiny_models: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(tiny_models["bert"], tmp_path / "me" / "my-bert")


def alter(base: Path, **tensors: Any) -> Path:
    """Add a little to the named tensors, `__` for a dot."""

    def add(weights: dict[str, Any]) -> None:
        for name, much in tensors.items():
            weights[name.replace("__", ".")] += much

    change_weights(base / "model.safetensors", add)
    return base


def test_a_base_that_has_moved_is_found_by_its_id(
    mine: Registry, copy_of_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebase(mine, "lora-1", location="path:/nowhere/at/all", id="me/my-bert")
    with pytest.raises(NotFoundError, match="the base of 'lora-1', me/my-bert, is not here") as error:
        Adapters(["lora-1"], mine)
    assert isinstance(error.value, UnreachableError)  # the Hub, which may have it, is offline
    assert error.value.hint == "--base FOLDER"
    monkeypatch.chdir(copy_of_base.parent.parent)
    assert Adapters(["lora-1"], mine)["lora-1"].base_id.location == f"path:{copy_of_base}"


def test_altered_tensors_are_refused_by_name_and_counted(mine: Registry, copy_of_base: Path) -> None:
    alter(copy_of_base, encoder__layer__0__attention__self__key__bias=1e-3)
    with pytest.raises(IncompatibleError) as error:
        Adapters(["lora-1"], mine, base=str(copy_of_base))
    said = f"'lora-1' was trained on local:tiny-bert; path:{copy_of_base} holds other weights: 1 of "
    assert str(error.value).startswith(said)
    assert str(error.value).endswith(" tensors differs, encoder.layer.0.attention.self.key.bias.")
    assert "--allow-other-base" in (error.value.hint or "")
    alter(copy_of_base, encoder__layer__1__output__dense__bias=1)
    with pytest.raises(IncompatibleError, match=r"2 of \d+ tensors differ, .*layer.0.*bias first\."):
        Adapters(["lora-1"], mine, base=str(copy_of_base))


def test_another_model_is_refused(mine: Registry, tiny_models: dict[str, Path]) -> None:
    with pytest.raises(IncompatibleError, match=r"'lora-1' was trained on local:tiny-bert; .* other weights"):
        Adapters(["lora-1"], mine, base=str(tiny_models["roberta"]))


def test_another_base_is_used_aloud_and_noted_once(
    mine: Registry, copy_of_base: Path, tmp_path: Path
) -> None:
    alter(copy_of_base, encoder__layer__0__output__dense__bias=1e-3)
    third = alter(shutil.copytree(copy_of_base, tmp_path / "third"), embeddings__LayerNorm__bias=1)
    before = mine.get("lora-1").flags
    for base in (copy_of_base, copy_of_base, third):
        heard = RecordingReport()
        Adapters(["lora-1"], mine, base=str(base), allow_other=True, report=heard).load("lora-1")
        assert len(heard.warnings) == 1
        assert "It is used all the same" in heard.warnings[0]
    flags = mine.get("lora-1").flags[len(before) :]
    assert [flag.partition(", weights")[0] for flag in flags] == [
        "used on another base than its own: local:my-bert",
        "used on another base than its own: local:third",
    ]


def test_another_base_must_have_the_shapes_all_the_same(mine: Registry, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=200, hidden_size=48, **shape)).save_pretrained(tmp_path / "wide")
    with pytest.raises(IncompatibleError, match=r"'lora-1' does not fit path:.*wide: .*32.*48"):
        Adapters(["lora-1"], mine, base=str(tmp_path / "wide"), allow_other=True)
    assert mine.get("lora-1").flags == Registry(mine.path).get("lora-1").flags
    assert not any("wide" in flag for flag in mine.get("lora-1").flags)


def test_a_base_that_nobody_hashed_is_used_and_said_to_be_unchecked(mine: Registry) -> None:
    rebase(mine, "lora-1", weights={})
    heard = RecordingReport()
    Adapters(["lora-1"], mine, report=heard).load("lora-1")
    assert len(heard.warnings) == 1
    assert "cannot be checked" in heard.warnings[0]


def test_a_base_that_nobody_recorded_must_be_named(mine: Registry, copy_of_base: Path) -> None:
    rebase(mine, "lora-1", id="unknown", source="unknown", location="", weights={})
    with pytest.raises(NotFoundError, match="nobody recorded which base 'lora-1' sits on"):
        Adapters(["lora-1"], mine)
    Adapters(["lora-1"], mine, base=str(copy_of_base)).load("lora-1")


def test_a_task_that_nobody_recorded_is_asked_for(mine: Registry) -> None:
    record = mine.get("lora-1")
    mine.replace(msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, task="unknown")))
    with pytest.raises(NotFoundError, match="nobody recorded the task of 'lora-1'") as error:
        Adapters(["lora-1"], mine)
    assert error.value.hint == "zoo tasks"


def test_a_method_of_a_package_that_is_not_installed_names_the_package(mine: Registry) -> None:
    record = mine.get("lora-1")
    spec = msgspec.structs.replace(record.spec, method="lora-plus-plus")
    plugin = {**record.plugins, "method": "zoo-lora-plus-plus 1.2"}
    mine.replace(msgspec.structs.replace(record, spec=spec, plugins=plugin))
    with pytest.raises(NotFoundError, match="needs the method 'lora-plus-plus' of the package") as error:
        Adapters(["lora-1"], mine)
    assert error.value.hint == "pip install zoo-lora-plus-plus"


def test_what_a_method_raises_on_loading_becomes_one_line(
    mine: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("Error(s) in loading state_dict:\n\tsize mismatch for a\n\tsize mismatch for b")

    monkeypatch.setattr(type(manager.load_method("lora")), "restore", fail)
    with pytest.raises(IncompatibleError, match="'lora-1' does not load onto path:") as error:
        Adapters(["lora-1"], mine).load("lora-1")
    assert "\n" not in str(error.value)


def test_the_command_line_takes_a_base_and_refuses_another(
    zoo: Callable[..., Result], mine: Registry, copy_of_base: Path
) -> None:
    where = ("--registry", mine.path, "--base", copy_of_base)
    said = zoo("predict", "lora-1", "a fine film", *where)
    assert said.code == 0, said.err
    assert said.out == zoo("predict", "lora-1", "a fine film", "--registry", mine.path).out
    assert zoo("evaluate", "lora-1", *where).code == 0
    alter(copy_of_base, encoder__layer__0__output__dense__bias=1e-3)
    for command in (("predict", "lora-1", "a fine film"), ("evaluate", "lora-1")):
        refused = zoo(*command, *where)
        assert refused.code == 5
        assert "encoder.layer.0.output.dense.bias" in refused.error
        allowed = zoo(*command, *where, "--allow-other-base")
        assert allowed.code == 0, allowed.err
        assert "Warning: 'lora-1' was trained on" in allowed.err
