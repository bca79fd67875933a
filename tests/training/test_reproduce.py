"""An adapter that is trained again from its record: the same weights bit for bit, or why they are not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import reviews, tiny_spec, write_csv
from tests.records import change_weights, copy_registry, make_base, make_data, training
from tests.tasks.test_bert_mrpc import pairs
from zoo.errors import IncompatibleError, Interrupted, NotFoundError, UsageError
from zoo.models.fingerprint import file_ids
from zoo.registry.schema import AdapterRecord, AdapterSpec
from zoo.registry.store import Registry
from zoo.runtime import device
from zoo.runtime.console import RecordingReport
from zoo.tasks.text_classification import TextClassification
from zoo.testing.data import write_conversations, write_pictures
from zoo.training import pipeline, runs
from zoo.training.inputs import Inputs
from zoo.training.record import claim
from zoo.training.reproduce import reproduce


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a reproduction makes is gone when it ends, however it ends."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not list(folder.glob("zoo-*"))


def write_pairs(path: Path) -> Path:
    return write_csv(path, pairs(), header="sentence1,sentence2,label")


KINDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "bert-mrpc": ("bert", lambda folder: write_pairs(folder / "pairs.csv")),
    "clip-retrieval": ("clip", lambda folder: write_pictures(folder / "pictures")),
    "tinyllama-chat": ("llama", lambda folder: write_conversations(folder / "talk.jsonl")),
}
"""Task -> the family of its tiny base, and its rows: one of each kind but the classification of texts."""


@pytest.mark.parametrize("task", KINDS)
def test_an_adapter_of_each_kind_of_task_is_reproduced_bit_for_bit(
    task: str, tiny_models: dict[str, Path], tmp_path: Path, registry: Registry
) -> None:
    family, write = KINDS[task]
    record = pipeline.train(tiny_spec("lora", tiny_models[family], write(tmp_path), task=task), registry)
    assert_reproduced(record, registry)


def test_an_adapter_that_classifies_texts_is_reproduced_bit_for_bit(trained_bert: Registry) -> None:
    assert_reproduced(trained_bert.get("lora"), trained_bert)


def assert_reproduced(record: AdapterRecord, registry: Registry) -> None:
    before = registry.path.read_bytes()
    found = reproduce(record.name, registry)
    assert found.identical
    assert found.files == {"adapter_model.safetensors": True}
    assert found.largest_difference == 0
    assert [one.name for one in found.metrics] == [one.name for one in record.metrics]
    assert all(one.within and one.value == one.recorded for one in found.metrics)
    assert found.differences == []
    assert registry.path.read_bytes() == before
    assert runs.all_runs(registry) == []


def test_the_same_weights_in_a_file_with_another_header_are_the_same(
    trained_bert: Registry, tmp_path: Path
) -> None:
    """safetensors draws the order of several entries of metadata, which 0.1.0 wrote."""
    from safetensors.torch import load_file, save_file

    copy = copy_registry(trained_bert, tmp_path / "copy")
    path = copy.adapter_folder("head") / "adapter.safetensors"
    save_file(load_file(path), path, metadata={"format": "pt", "method": "head"})
    record = copy.get("head")
    files = {**record.files, path.name: file_ids(path.parent)[path.name]}
    copy.replace(msgspec.structs.replace(record, files=files))
    found = reproduce("head", copy)
    assert (found.identical, found.files, found.largest_difference) == (True, {path.name: False}, 0)


def test_a_folder_with_a_record_is_reproduced_where_no_registry_is(
    trained_bert: Registry, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained_bert.adapter_folder("full"), tmp_path / "sent")
    nowhere = Registry(tmp_path / "nowhere" / "registry.json")
    assert reproduce(str(folder), nowhere).files == {"model.safetensors": True}
    assert not nowhere.path.parent.exists()


def test_batches_are_halved_before_the_recorded_steps_and_nothing_is_tried_again(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    load, failed = TextClassification.load_model, list[int]()
    sizes: list[int] = []

    def load_model(self: Any, *args: Any, **options: Any) -> Any:
        model, head = load(self, *args, **options)

        def refuse(module: Any, args: Any, given: Any) -> None:
            if module.training:
                sizes.append(len(given["input_ids"]))
                if len(sizes) > 3 and sizes[-1] > 1 and not failed:
                    failed.append(len(sizes))
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
        return model, head

    with monkeypatch.context() as patch:
        patch.setattr(TextClassification, "load_model", load_model)
        record = pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, epochs=2.0), registry)
    assert training(record).halved_at == failed
    found = reproduce(record.name, registry)
    assert found.identical
    assert found.differences == []


def replaced(registry: Registry, folder: Path, **changes: Any) -> Registry:
    """A copy in which the record of `lora` says something else."""
    copy = copy_registry(registry, folder)
    copy.replace(msgspec.structs.replace(copy.get("lora"), **changes))
    return copy


def test_other_processors_plugins_and_kernels_are_named_where_the_recorded_files_are_gone(
    trained_bert: Registry, tmp_path: Path
) -> None:
    record = trained_bert.get("lora")
    copy = replaced(
        trained_bert,
        tmp_path / "copy",
        spec=msgspec.structs.replace(record.spec, seed=7),
        plugins={**record.plugins, "task": "zoo-emotion 1.0"},
        cost=msgspec.structs.replace(record.cost, hardware="An Abacus, 2 threads"),
        training=msgspec.structs.replace(training(record), kernels="AVX512", processes=2),
    )
    (copy.adapter_folder("lora") / "adapter_model.safetensors").unlink()
    heard = RecordingReport()
    found = reproduce("lora", copy, heard)
    assert (found.identical, found.largest_difference, found.tensor) == (False, None, None)
    assert [one for one in heard.warnings if " was " in one] == [f"{one}." for one in found.differences]
    told = " and ".join(found.differences)
    for part in ("task was zoo-emotion 1.0", "kernels was AVX512", "processes was 2", "was An Abacus"):
        assert part in told


def test_the_recorded_threads_are_applied(
    trained_bert: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    here, used = torch.get_num_threads(), list[int]()
    threads = msgspec.structs.replace(training(trained_bert.get("lora")), threads=here + 2)
    train_in = pipeline.train_in

    def watched(*args: Any, **settings: Any) -> AdapterRecord | None:
        used.append(torch.get_num_threads())
        return train_in(*args, **settings)

    monkeypatch.setattr(pipeline, "train_in", watched)
    assert reproduce("lora", replaced(trained_bert, tmp_path / "copy", training=threads)).differences == []
    assert used == [here + 2]
    assert torch.get_num_threads() == here


def test_changed_rows_and_a_changed_base_are_refused_by_name(trained_bert: Registry, tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "other.csv", reviews(seed=3))
    with pytest.raises(IncompatibleError, match=r"the data has other rows than path:.*reviews.csv had") as no:
        reproduce("lora", trained_bert, data=str(rows))
    assert no.value.hint == "--data FILE"
    base = shutil.copytree(trained_bert.path.parent / "base", tmp_path / "base")
    change_weights(
        base / "model.safetensors", lambda tensors: tensors["embeddings.word_embeddings.weight"].mul_(2)
    )
    with pytest.raises(
        IncompatibleError, match=r"the base has other weights \(model.safetensors\)"
    ) as refused:
        reproduce("lora", trained_bert, base=str(base))
    assert refused.value.hint == "--base FOLDER"


def test_what_has_moved_is_not_found_until_it_is_named(trained_bert: Registry, tmp_path: Path) -> None:
    record, rows = trained_bert.get("lora"), trained_bert.path.parent / "reviews.csv"
    assert record.data is not None
    moved = msgspec.structs.replace(record.data, location="path:/nowhere/reviews.csv")
    base = msgspec.structs.replace(record.base, location="path:/nowhere/base")
    copy = replaced(trained_bert, tmp_path / "copy", data=moved, base=base)
    with pytest.raises(NotFoundError, match="the data of 'lora'") as gone:
        reproduce("lora", copy)
    assert gone.value.hint == "--data FILE"
    with pytest.raises(NotFoundError, match="the base of 'lora'") as gone:
        reproduce("lora", copy, data=str(rows))
    assert gone.value.hint == "--base FOLDER"
    assert reproduce("lora", copy, data=str(rows), base=str(copy.path.parent / "base")).identical


def test_a_record_of_0_1_0_is_reproduced_and_what_it_does_not_tell_is_said(
    trained_bert: Registry, tmp_path: Path
) -> None:
    record = trained_bert.get("lora")
    old = {"steps", "loss", "precision", "base_dropout", "threads"}
    kept = {name: getattr(training(record), name) for name in old}
    copy = replaced(
        trained_bert,
        tmp_path / "copy",
        spec=msgspec.structs.replace(record.spec, threads=None),
        base=msgspec.structs.replace(record.base, tensors_sha256=None),
        training=type(training(record))(**kept),
    )
    found = reproduce("lora", copy)
    assert found.identical
    assert found.claim is None
    assert found.differences == [f"its instruction set is not on record, and is {device.kernels()} here"]


@pytest.mark.parametrize("gone", ["training", "data"])
def test_an_adapter_that_nobody_recorded_the_training_of_is_refused_in_a_line(
    gone: str, trained_bert: Registry, tmp_path: Path
) -> None:
    copy = replaced(trained_bert, tmp_path / "copy", **{gone: None})
    with pytest.raises(NotFoundError, match="nobody recorded how 'lora' was trained"):
        reproduce("lora", copy)


def test_a_run_that_was_resumed_on_other_things_is_refused(trained_bert: Registry, tmp_path: Path) -> None:
    changed = msgspec.structs.replace(training(trained_bert.get("lora")), changes=["threads was 2, and is 4"])
    with pytest.raises(IncompatibleError, match=r"no training gives 'lora' again.* threads was 2, and is 4"):
        reproduce("lora", replaced(trained_bert, tmp_path / "copy", training=changed))


def test_bf16_on_a_machine_without_it_is_refused(
    trained_bert: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.training.reproduce.has_bf16", lambda: False)
    bf16 = msgspec.structs.replace(training(trained_bert.get("lora")), precision="bf16")
    with pytest.raises(IncompatibleError, match="bf16, which this machine does not have"):
        reproduce("lora", replaced(trained_bert, tmp_path / "copy", training=bf16))


def test_a_reproduction_that_is_stopped_leaves_nothing(
    trained_bert: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.training.check_saved.check_saved", stop)
    before = trained_bert.path.read_bytes()
    with pytest.raises(Interrupted, match="'lora' is as it was") as stopped:
        reproduce("lora", trained_bert)
    assert stopped.value.hint is None
    assert trained_bert.path.read_bytes() == before


def make_inputs(**changes: Any) -> Inputs:
    settings: dict[str, Any] = {"threads": 2, "precision": "fp32", "device": "cpu", "kernels": "AVX512"}
    settings |= {"processes": 1, "versions": {}, "plugins": {}, **changes}
    return Inputs(base=make_base(), data=make_data(), **settings)


@pytest.mark.parametrize(
    ("spec", "inputs", "changes", "claimed"),
    [
        ({}, {}, [], "bit-identical on AVX512, with 2 threads"),
        ({}, {"threads": 1}, [], "bit-identical on AVX512, with 1 thread"),
        (
            {"portable": True},
            {"kernels": device.PORTABLE},
            [],
            "bit-identical on every x86-64 processor with AVX2, with 2 threads",
        ),
        ({}, {"device": "cuda"}, [], "not claimed: a GPU"),
        ({"compile": True}, {"processes": 2}, [], "not claimed: torch.compile, 2 processes"),
        ({}, {}, ["seed was 1"], "not claimed: resumed after changes"),
    ],
)
def test_a_record_claims_what_holds(
    spec: dict[str, Any], inputs: dict[str, Any], changes: list[str], claimed: str
) -> None:
    asked = AdapterSpec(method="lora", task="bert-imdb", **spec)
    assert claim(asked, make_inputs(**inputs), changes) == claimed


def test_a_portable_run_is_recorded_as_such_and_reproduced(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if torch had been imported after the kernels were chosen."""
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr("zoo.runtime.device.has_bf16", lambda: True)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    spec = tiny_spec("lora", tiny_bert, reviews_csv, portable=True, precision="auto")
    record = pipeline.train(spec, registry)
    kept = training(record)
    assert (kept.kernels, kept.threads, kept.precision) == (device.PORTABLE, 1, "fp32")
    assert kept.deterministic == "bit-identical on every x86-64 processor with AVX2, with 1 thread"
    assert " --portable" in record.command
    assert reproduce(record.name, registry).identical


PORTABLE = """
import sys
from zoo.registry.store import Registry
from zoo.registry.schema import AdapterSpec
from zoo.training import pipeline
from zoo.training.reproduce import reproduce

base, data, path = sys.argv[1:]
spec = AdapterSpec(
    method="lora", task="bert-imdb", base=base, data=data, epochs=1, batch_tokens=128, portable=True
)
record = pipeline.train(spec, Registry(path))
assert reproduce(record.name, Registry(path)).identical
"""


@pytest.mark.slow
def test_a_portable_run_uses_the_same_kernels_on_every_machine(
    tiny_bert: Path, reviews_csv: Path, tmp_path: Path, registry: Registry
) -> None:
    """In a process of its own: the kernels are chosen before torch is imported."""
    words = [sys.executable, "-c", PORTABLE, *map(str, (tiny_bert, reviews_csv, registry.path))]
    env = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = registry.get("lora-bert-imdb")
    kept = training(record)
    assert (kept.kernels, kept.threads, kept.precision) == ("AVX2, MKL_CBWR=COMPATIBLE", 1, "fp32")
    assert kept.deterministic == "bit-identical on every x86-64 processor with AVX2, with 1 thread"
    assert " --portable" in record.command
    ours = pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, threads=1), registry)
    assert ours.files["adapter_model.safetensors"] != record.files["adapter_model.safetensors"]
    with pytest.raises(IncompatibleError, match="torch has been imported") as refused:
        reproduce(record.name, registry)
    assert (refused.value.hint or "").startswith("set ATEN_CPU_CAPABILITY=avx2,")


def test_kernels_are_not_chosen_once_torch_is_imported(
    tiny_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    import torch  # noqa: F401

    with pytest.raises(UsageError, match="torch has been imported") as refused:
        pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, portable=True), registry)
    assert (refused.value.hint or "").startswith("set ATEN_CPU_CAPABILITY=avx2,")


@pytest.mark.parametrize(
    ("settings", "env", "what"),
    [
        ({"compile": True}, {}, "--compile"),
        ({"precision": "bf16"}, {}, "bf16"),
        ({}, {"WORLD_SIZE": "2"}, "several processes"),
    ],
)
def test_what_differs_between_machines_is_not_portable(
    settings: dict[str, Any],
    env: dict[str, str],
    what: str,
    tiny_bert: Path,
    reviews_csv: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    spec = msgspec.structs.replace(tiny_spec("lora", tiny_bert, reviews_csv, portable=True), **settings)
    with pytest.raises(UsageError, match=f"--portable does not go with {what}"):
        pipeline.train(spec, registry)
