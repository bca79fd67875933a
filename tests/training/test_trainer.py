"""The training loop: frozen stays frozen, one seed gives one file, and stopping loses nothing."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import FAMILIES, Result, tiny_spec
from tests.records import training
from zoo.adapters import load as inference
from zoo.errors import Interrupted, NotFoundError, UsageError, ZooError
from zoo.models import precision
from zoo.plugins import manager
from zoo.registry.schema import AdapterRecord, AdapterSpec
from zoo.registry.store import Registry
from zoo.tasks.text_classification import TextClassification
from zoo.training import pipeline, progress


@pytest.mark.parametrize("family", FAMILIES)
def test_a_silenced_backbone_gives_the_same_answer_twice_in_training_mode(
    family: str, tiny_models: dict[str, Path]
) -> None:
    """Whatever name a family gives its dropout, none of it is left on."""
    import torch

    task = manager.load_task("bert-imdb")
    model, _ = task.load_model(tiny_models[family], ["a", "b"])
    backbone: Any = task.backbone(model)
    backbone.train()
    inputs = torch.arange(5, 25)[None]

    def noise() -> float:
        with torch.no_grad():
            first, second = (backbone(inputs).last_hidden_state for _ in range(2))
        return float((first - second).abs().max())

    assert noise() > 0
    precision.silence_dropout(backbone)
    assert noise() == 0


def test_the_adapters_own_dropout_stays_on(tiny_bert: Path) -> None:
    from torch import nn

    task, method = manager.load_task("bert-imdb"), manager.load_method("lora")
    model, head = task.load_model(tiny_bert, ["a", "b"])
    precision.silence_dropout(task.backbone(model))
    adapted = method.attach(model, method.Params(dropout=0.25), task, head)
    rates = {
        module.p
        for name, module in adapted.named_modules()
        if isinstance(module, nn.Dropout) and "lora" in name
    }
    assert rates == {0.25}


def test_a_method_that_trains_the_base_keeps_its_dropout(trained_bert: Registry) -> None:
    kept = [training(trained_bert.get(method)).base_dropout for method in ("full", "lora")]
    assert kept == ["keep", "off"]


TRACKIO = """
import contextvars, json, os
current = contextvars.ContextVar("space", default=None)
class context_vars:
    current_space_id = current
config = {}
def tell(**what):
    with open(os.environ["TOLD"], "a", encoding="utf-8") as file:
        file.write(json.dumps(what, default=str) + "\\n")
def init(project, name, **_):
    tell(project=project, name=name)
def log(values, **_):
    tell(values=values)
def finish():
    tell(finished=True)
"""


def test_a_tracker_hears_of_every_step_through_transformers_own_callback(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trackio.py").write_text(TRACKIO, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TOLD", str(tmp_path / "told.jsonl"))
    spec = tiny_spec("lora", tiny_bert, reviews_csv, name="told")
    record = pipeline.train(spec, registry, tracker="trackio")
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text(encoding="utf-8").splitlines()]
    assert told[0] == {"project": "adapter-zoo", "name": "told"}
    losses = [one["values"]["train/loss"] for one in told if "train/loss" in one.get("values", {})]
    assert len(losses) == training(record).steps
    assert sum(losses) / len(losses) == pytest.approx(training(record).loss, abs=0.02)
    assert record.files == pipeline.train(spec, Registry(tmp_path / "other")).files  # it only listens


def test_an_unknown_tracker_is_refused_before_anything_is_read(registry: Registry) -> None:
    spec = AdapterSpec(method="lora", task="bert-imdb", base="nowhere", data="nothing.csv")
    with pytest.raises(NotFoundError, match=r"Did you mean 'wandb'\?"):
        pipeline.train(spec, registry, tracker="wanb")


@pytest.mark.slow
def test_tensorboard_finds_the_training_in_runs(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install tensorboard` brings what this test needs, and no other does."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    record = pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv), registry, tracker="tensorboard")
    found = events.EventAccumulator(str(tmp_path / "runs" / record.name))
    found.Reload()
    steps = [one.step for one in found.Scalars("train/loss")]
    assert steps == list(range(1, training(record).steps + 1))


def test_every_tracker_is_one_that_transformers_knows() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    from zoo.runtime.trackers import TRACKERS

    assert set(TRACKERS) <= set(INTEGRATION_TO_CALLBACK)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    tiny_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    file = "adapter_model.safetensors"
    hashes = [
        pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, seed=seed), registry).files[file].sha256
        for seed in (1, 1, 2)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_resuming_in_mid_epoch_ends_with_the_weights_of_an_unbroken_run(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"epochs": 3.0, "params": {"dropout": "0.3"}}
    whole = pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, name="whole", **settings), registry)

    step_end, calls = progress.Live.step_end, []

    def stop_at_the_fifth(live: Any, *steps: int) -> str:
        calls.append(live)
        live.stopping = len(calls) == 5
        return step_end(live, *steps)

    monkeypatch.setattr(progress.Live, "step_end", stop_at_the_fifth)
    spec = tiny_spec("lora", tiny_bert, reviews_csv, name="broken", **settings)
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(spec, registry)
    assert "broken" not in registry
    monkeypatch.setattr(progress.Live, "step_end", step_end)
    resumed = pipeline.train(spec, registry, resume=True)
    assert training(resumed).steps == training(whole).steps > 5
    assert resumed.files["adapter_model.safetensors"] == whole.files["adapter_model.safetensors"]


def test_stopping_while_measuring_keeps_what_was_trained(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.adapters import forward as evaluation

    forward, calls = evaluation.forward, []

    def stop_at_the_second(*args: Any, **settings: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:  # the first measures the untrained base
            raise KeyboardInterrupt
        return forward(*args, **settings)

    spec = tiny_spec("lora", tiny_bert, reviews_csv, name="mine")
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "forward", stop_at_the_second)
        with pytest.raises(Interrupted) as caught:
            pipeline.train(spec, registry)
    assert re.fullmatch(r"zoo resume \d{8}-\d{6}-[0-9a-f]{4}", caught.value.hint or "")
    record = pipeline.train(spec, registry)  # the same command goes on
    assert (record.name, training(record).loss > 0) == ("mine", True)


def test_resuming_with_other_settings_is_refused_by_name(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    spec = tiny_spec("lora", tiny_bert, reviews_csv, name="mine")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_save", fail)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(spec, registry)
    with pytest.raises(UsageError, match="seed was 42"):
        pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, name="mine", seed=7), registry, resume=True)
    assert pipeline.train(spec, registry, resume=True).name == "mine"


def test_a_ctrl_c_that_a_library_swallows_still_stops_the_run(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from zoo.adapters import forward as evaluation
    from zoo.runtime import signals

    forward = evaluation.forward

    def swallow(*args: Any, **settings: Any) -> Any:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
        return forward(*args, **settings)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signals.listen()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "forward", swallow)
            with pytest.raises(KeyboardInterrupt):
                pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv), registry)
    finally:
        signals.listen()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert registry.records() == {}


def test_a_loss_that_is_no_number_stops_the_run_at_once(
    tiny_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    with pytest.raises(ZooError, match=r"finite number: the learning rate 1e\+30 is too high") as caught:
        pipeline.train(tiny_spec("full", tiny_bert, reviews_csv, learning_rate=1e30, epochs=5.0), registry)
    assert caught.value.hint == f"--lr {manager.load_method('full').learning_rate:g}"
    assert registry.records() == {}


def test_progress_names_the_loss_the_metric_and_the_time_left(
    zoo: Callable[..., Result], tiny_bert: Path, reviews_csv: Path
) -> None:
    done = zoo("train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 1)
    line = next(line for line in done.err.splitlines() if line.startswith("training "))
    assert "ETA" in line
    assert "loss" in line
    assert "training accuracy" in line
    assert done.out.startswith("model\tmetric\tvalue\tlow\thigh\tn\n")


def test_plain_peft_gives_the_probabilities_of_zoo_predict(
    zoo: Callable[..., Result], trained_bert: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the snippet of the card; tests/cards/test_snippets.py runs those in a process without the zoo."""
    folder = trained_bert.adapter_folder("lora")
    snippet = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert snippet is not None
    assert "zoo" not in snippet[1].replace("adapter-zoo", "")
    monkeypatch.chdir(folder.parent)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(snippet[1], {})
    plain = [float(number) for number in re.findall(r"\d\.\d+(?:e-\d+)?", printed.getvalue())]
    text = "A film to remember."
    done = zoo("predict", "lora", text, "--registry", trained_bert.path, "--json")
    ours = done.json[0]["probabilities"]
    assert plain == pytest.approx(list(ours.values()), abs=1e-4)  # torch prints four digits
    loaded = inference.load("lora", trained_bert)
    assert ours == pytest.approx(inference.predict(loaded, [text])[0]["probabilities"], abs=1e-6)


def largest_difference(registry: Registry, *records: AdapterRecord) -> float:
    """Between the weights of two adapters."""
    from safetensors.torch import load_file

    first, second = (
        load_file(registry.adapter_folder(record.name) / "adapter_model.safetensors") for record in records
    )
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def test_accumulated_batches_weigh_every_example_alike(
    still_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    """Four small batches in a step against one that holds them all: only rounding may differ."""
    settings: dict[str, Any] = {"epochs": 3.0, "params": {"dropout": "0"}, "limit": 16}
    records = [
        pipeline.train(
            tiny_spec(
                "lora",
                still_bert,
                reviews_csv,
                batch_tokens=tokens,
                gradient_accumulation=batches,
                **settings,
            ),
            registry,
        )
        for tokens, batches in ((4096, 1), (48, 100))
    ]
    assert [training(record).steps for record in records] == [3, 3]
    assert largest_difference(registry, *records) < 1e-5


def test_gradient_checkpointing_gives_the_same_adapter(
    tiny_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    records = [
        pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv, gradient_checkpointing=on), registry)
        for on in (False, True)
    ]
    assert largest_difference(registry, *records) < 1e-5


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most_tokens: int) -> list[int]:
    """From now on a training batch of more tokens fails as it does on a full GPU. Gives the sizes."""
    import torch

    load, asked = TextClassification.load_model, []

    def load_model(self: Any, *args: Any, **options: Any) -> Any:
        model, head = load(self, *args, **options)

        def refuse(module: Any, inputs: Any, given: Any) -> None:
            tokens = given["input_ids"].numel()
            if module.training:
                asked.append(tokens)
                if tokens > most_tokens:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
        return model, head

    monkeypatch.setattr(TextClassification, "load_model", load_model)
    return asked


def test_out_of_memory_halves_the_batches_and_keeps_the_steps(
    tiny_bert: Path,
    reviews_csv: Path,
    zoo: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = short_of_memory(monkeypatch, 70)
    words = ["train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--epochs", 2]
    done = zoo(*words, "--batch-tokens", 256, "--precision", "fp32", "--json")
    assert done.code == 0, done.err
    assert "out of memory at step 1: from there on batches are computed in 2 parts" in done.err
    assert "out of memory at step 1: from there on batches are computed in 4 parts" in done.err
    assert done.json["spec"]["batch_tokens"] == 256
    assert done.json["training"]["halved_at"] == [1, 1]
    assert max(asked) > 70 >= max(asked[3:])
    again = zoo(*done.json["command"].split()[1:], "--json")
    assert again.json["files"]["adapter_model.safetensors"] == done.json["files"]["adapter_model.safetensors"]


def test_out_of_memory_with_the_longest_example_is_an_error_with_the_next_step(
    tiny_bert: Path, reviews_csv: Path, zoo: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, 1)
    done = zoo("train", "lora", "bert-imdb", "--base", tiny_bert, "--data", reviews_csv, "--batch-tokens", 32)
    assert done.code == 1
    assert "out of memory with" in done.error
    assert "--gradient-checkpointing" in done.err


def test_another_error_of_the_model_is_not_taken_for_want_of_memory(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(TextClassification, "loss", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        pipeline.train(tiny_spec("lora", tiny_bert, reviews_csv), registry)


@pytest.mark.parametrize("flag", ["--gradient-checkpointing", "--compile"])
def test_a_switch_is_part_of_the_command_that_makes_the_adapter_again(flag: str) -> None:
    from zoo.plugins.run import RunConfig
    from zoo.registry.schema import AdapterSpec
    from zoo.training.prepare import command

    spec = AdapterSpec(method="lora", task="bert-imdb", base="b", data="d")
    switched = msgspec.structs.replace(spec, **{flag.removeprefix("--").replace("-", "_"): True})
    method, task = manager.load_method("lora"), manager.load_task("bert-imdb")
    assert flag in command(RunConfig.of(switched, method, task))
    assert flag not in command(RunConfig.of(spec, method, task))


@pytest.mark.slow
def test_a_compiled_run_gives_the_same_adapter(
    still_bert: Path, reviews_csv: Path, registry: Registry
) -> None:
    records = [
        pipeline.train(
            tiny_spec("lora", still_bert, reviews_csv, compile=on, params={"dropout": "0"}), registry
        )
        for on in (False, True)
    ]
    assert largest_difference(registry, *records) < 1e-4


def test_out_of_memory_in_a_later_step_keeps_what_was_done_before(
    tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is computed again in halves with the same random numbers: a run that plans so is the same."""
    import torch

    from zoo.plugins.run import Run

    load = TextClassification.load_model
    sizes: list[int] = []
    failed: list[int] = []

    def load_model(self: Any, *args: Any, **options: Any) -> Any:
        model, head = load(self, *args, **options)

        def refuse(module: Any, inputs: Any, given: Any) -> None:
            if module.training:
                sizes.append(len(given["input_ids"]))
                if len(sizes) > 3 and sizes[-1] > 1 and not failed:
                    failed.append(len(sizes))
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
        return model, head

    spec = tiny_spec("lora", tiny_bert, reviews_csv, epochs=2.0, params={"dropout": "0.2"})
    with monkeypatch.context() as patch:
        patch.setattr(TextClassification, "load_model", load_model)
        record = pipeline.train(spec, registry)
    (step,) = training(record).halved_at
    assert step == failed[0] > 3
    assert sizes[step] == -(-sizes[step - 1] // 2)
    made = Run.__init__

    def planned(self: Any, *args: Any, **settings: Any) -> None:
        made(self, *args, **{**settings, "halved_at": [step]})

    with monkeypatch.context() as patch:
        patch.setattr(Run, "__init__", planned)
        again = pipeline.train(spec, registry)
    assert again.files["adapter_model.safetensors"] == record.files["adapter_model.safetensors"]
    assert training(again).halved_at == [step]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_to_blame_for_a_loss_that_is_no_number_is_named(
    precision: str, tiny_bert: Path, reviews_csv: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that gives none on good weights; in bf16 it may be the precision."""
    loss, calls = TextClassification.loss, []

    def one_row_gives_none(self: Any, outputs: Any, labels: Any, items: Any = None) -> Any:
        calls.append(labels)
        found = loss(self, outputs, labels, items)
        ids = 17.0 if len(labels) == 1 and not outputs.logits.requires_grad else 0.0
        wrong = len(calls) == 3 or (ids and len(calls) == 9)
        return found * float("nan") if wrong else found

    monkeypatch.setattr("zoo.runtime.device.has_bf16", lambda: True)
    monkeypatch.setattr(TextClassification, "loss", one_row_gives_none)
    spec = tiny_spec("lora", tiny_bert, reviews_csv, epochs=5.0, precision=precision)
    with pytest.raises(ZooError, match="at step 3 the loss is no longer a finite number") as caught:
        pipeline.train(spec, registry)
    if precision == "bf16":
        assert caught.value.hint == "--precision fp32"
    else:
        assert re.search(r"training row \d+ of \d+ gives no finite loss", str(caught.value))
        assert (caught.value.hint or "").startswith("remove or correct training row")
    assert len([one for one in calls if len(one) > 1]) <= 5  # within two steps
    assert registry.records() == {}
