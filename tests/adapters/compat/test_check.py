"""Every method on tiny real models: what `zoo check` reports is what loading the adapter does."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.records import make_record
from zoo.adapters.compat.base_shapes import read_base
from zoo.adapters.compat.check import check
from zoo.adapters.compat.target_modules import targeted
from zoo.errors import ZooError
from zoo.models.fingerprint import identify
from zoo.plugins import manager, source
from zoo.plugins import params as options
from zoo.registry.schema import AdapterRecord, BaseId
from zoo.runtime.console import Report
from zoo.runtime.logging import quiet_libraries
from zoo.testing import TinyModels

TASKS = {"bert": "bert-imdb", "llama": "tinyllama-chat", "clip": "clip-retrieval"}
METHODS = sorted(
    name for name, one in manager.find("method").items() if one.distribution.startswith("adapter-zoo ")
)
PINS_NOTHING = {"fourierft", "psoft", "unilora", "waveft"}
"""PEFT loads these onto any size: frequencies and seeds have no sides."""
WIDER: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 64},
    "llama": {"hidden_size": 128, "head_dim": 32},
    "clip": {"text_config": {"hidden_size": 64}, "vision_config": {"hidden_size": 64}},
}
OTHER_INNER: dict[str, dict[str, Any]] = {
    "bert": {"intermediate_size": 96},
    "llama": {"intermediate_size": 192},
    "clip": {"text_config": {"intermediate_size": 96}, "vision_config": {"intermediate_size": 96}},
}


class Zoo:
    """Tiny bases, variants of them and untrained adapters for them, each made once."""

    def __init__(self, models: TinyModels, folder: Path):
        self._models, self._folder = models, folder

    def base(self, family: str) -> Path:
        return self._models[family]

    def variant(self, family: str, **changes: Any) -> Path:
        """The family's model with other sizes, weights and all."""
        import torch
        from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

        folder = self._folder / f"{family}-{abs(hash(json.dumps(changes)))}"
        if folder.exists():
            return folder
        shutil.copytree(self.base(family), folder)
        config = AutoConfig.from_pretrained(folder)
        for key, value in changes.items():
            if isinstance(value, dict):
                for inner, size in value.items():
                    setattr(getattr(config, key), inner, size)
            else:
                setattr(config, key, value)
        torch.manual_seed(1)
        auto = AutoModelForCausalLM if family == "llama" else AutoModel
        auto.from_config(config).save_pretrained(folder)
        return folder

    def adapter(self, method: str, family: str, **given: Any) -> Path | None:
        """None where the method refuses the task or the model."""
        folder = self._folder / f"{method}-{family}-{'-'.join(map(str, given.values()))}"
        if folder.exists():
            return folder if any(folder.iterdir()) else None
        folder.mkdir()
        one, task, params = self._made(method, family, given)
        with contextlib.suppress(ZooError):
            if not one.refuses(task, params):
                model, head = task.load_model(self.base(family), labels(task), **one.load_options(params))
                one.save(one.attach(model, params, task, head), folder, self.identity(family))
        return folder if any(folder.iterdir()) else None

    def loads(self, method: str, family: str, folder: Path, base: Path, **given: Any) -> bool:
        """Is the adapter put on the base, and does the model then compute?"""
        import torch

        one, task, params = self._made(method, family, given)
        ids = torch.tensor([[1, 2, 3]])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if family == "clip":
            inputs["pixel_values"] = torch.zeros(1, 3, 32, 32)
        try:
            model, _ = task.load_model(base, labels(task))
            with torch.no_grad():
                one.restore(model, folder, params, task).eval()(**inputs)
        except (ZooError, RuntimeError, ValueError, KeyError, IndexError, TypeError):
            return False
        return True

    def identity(self, family: str) -> BaseId:
        return identify(source.resolve(f"path:{self.base(family)}", (), "base", Report()))

    def record(self, method: str, family: str) -> AdapterRecord:
        return make_record(method, base=self.identity(family))

    @staticmethod
    def _made(method: str, family: str, given: Any) -> tuple[Any, Any, Any]:
        quiet_libraries()
        one, task = manager.load_method(method), manager.load_task(TASKS[family])
        return one, task, options.parse(one.Params, given, method)


def labels(task: Any) -> list[str]:
    return list(task.labels or ("0", "1"))


@pytest.fixture(scope="module")
def made(tiny_models: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tiny_models, tmp_path_factory.mktemp("adapters"))


@pytest.mark.parametrize("family", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_fits_its_own_base_and_no_other_size_or_architecture(
    method: str, family: str, made: Zoo
) -> None:
    folder = made.adapter(method, family)
    if folder is None:
        pytest.skip("the method refuses this task, as the grid tests")
    own, record = made.base(family), made.record(method, family)
    assert check(folder, own).state == "fits"
    assert check(folder, own, record).state == "exact"
    wider = check(folder, made.variant(family, **WIDER[family]), record, own)
    assert wider.state == "does not fit"
    assert any(re.search(r"\d+ != \d+", reason) for reason in wider.reasons)
    other = check(folder, made.base("llama" if family == "bert" else "bert"), record, own)
    assert other.state == "does not fit"
    assert any(re.search(r"no module|made for a|\d+ != \d+", reason) for reason in other.reasons)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_loaded_is_refused_and_what_loads_fits(method: str, made: Zoo) -> None:
    family = "bert" if method in ("head", "bitfit") else "llama"
    folder = made.adapter(method, family)
    assert folder is not None
    if method == "full":
        pytest.skip("a whole model is put on no base")
    changes = {"same": {}, "wider": WIDER[family], "inner": OTHER_INNER[family]}
    changes["more words"] = {"vocab_size": 500}
    changes["deeper"] = {"num_hidden_layers": 3}
    for name, change in changes.items():
        base = made.variant(family, **change)
        fits = check(folder, base).state == "fits"
        assert fits == made.loads(method, family, folder, base), name


@pytest.mark.parametrize("method", sorted(PINS_NOTHING))
def test_what_pins_no_size_is_compared_by_the_base_that_it_was_made_on(method: str, made: Zoo) -> None:
    folder = made.adapter(method, "llama")
    assert folder is not None
    wider = made.variant("llama", **WIDER["llama"])
    assert check(folder, wider).state == "fits"
    assert "hidden 64 != 128" in check(folder, wider, own=made.base("llama")).reasons[0]


def test_another_vocabulary_is_refused_where_the_embedding_is_trained(made: Zoo) -> None:
    folder = made.adapter("lora", "llama", targets="embed_tokens,q_proj")
    assert folder is not None
    assert check(folder, made.base("llama")).state == "fits"
    words = read_base(made.base("llama")).sizes["vocab"]
    other = made.variant("llama", vocab_size=500)
    found = check(folder, other)
    assert found.state == "does not fit"
    assert found.reasons[0].startswith(f"vocab {words} != 500 (")
    assert not made.loads("lora", "llama", folder, other, targets="embed_tokens,q_proj")


def test_a_whole_model_is_compared_tensor_by_tensor(made: Zoo) -> None:
    folder = made.adapter("full", "llama")
    assert folder is not None
    words = read_base(made.base("llama")).sizes["vocab"]
    found = check(folder, made.variant("llama", vocab_size=500))
    assert any(reason.startswith(f"vocab {words} != 500 (") for reason in found.reasons)
    assert check(folder, made.variant("llama", num_hidden_layers=3)).reasons == ["layers 2 != 3"]
    assert check(folder, made.variant("llama", num_hidden_layers=1)).reasons == ["layers 2 != 1"]


def test_layers_that_the_base_lacks_or_the_adapter_does_not_reach_are_counted(made: Zoo) -> None:
    folder = made.adapter("lora", "bert")
    assert folder is not None
    assert check(folder, made.variant("bert", num_hidden_layers=1)).reasons == ["layers 2 != 1"]
    assert check(folder, made.variant("bert", num_hidden_layers=3)).reasons == ["layers 2 != 3"]


def test_layers_that_were_left_out_on_purpose_are_not_missed(made: Zoo, tmp_path: Path) -> None:
    folder = copied(made.adapter("lora", "bert"), tmp_path)
    kept = {name: one for name, one in load_file(folder / WEIGHTS).items() if ".layer.1." not in name}
    save_file(kept, folder / WEIGHTS)
    assert "nothing for 2 of its target modules" in check(folder, made.base("bert")).reasons[0] or (
        check(folder, made.base("bert")).reasons == ["layers 1 != 2"]
    )
    change_config(folder, layers_to_transform=[0])
    assert check(folder, made.base("bert")).state == "fits"


def test_the_prefix_of_a_body_may_be_there_or_not(made: Zoo, tmp_path: Path) -> None:
    folder = made.adapter("lora", "bert")
    assert folder is not None
    base = shutil.copytree(made.base("bert"), tmp_path / "prefixed")
    tensors = load_file(base / "model.safetensors")
    save_file({f"bert.{name}": one for name, one in tensors.items()}, base / "model.safetensors")
    assert check(folder, base).state == "fits"


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize("method", METHODS)
def test_a_config_alone_tells_the_same_for_families_that_are_known(
    method: str, family: str, made: Zoo, tmp_path: Path
) -> None:
    folder = made.adapter(method, family)
    if folder is None or method == "full":
        pytest.skip("nothing to compare")
    for change, state in (({}, "fits"), (WIDER[family], "does not fit")):
        base = tmp_path / f"config-{state}"
        base.mkdir()
        shutil.copy(made.variant(family, **change) / "config.json", base)
        if state == "does not fit" and method in PINS_NOTHING and family == "llama":
            continue
        found = check(folder, base)
        assert found.state == state, found.reasons
        if state == "fits":
            assert found.reasons[-1] == "by the base's config alone: its weights are not here"


def test_the_config_of_an_unknown_family_can_only_refuse(made: Zoo, tmp_path: Path) -> None:
    folder = made.adapter("lora", "llama")
    assert folder is not None
    for hidden, state in ((64, "unknown"), (96, "does not fit")):
        base = tmp_path / str(hidden)
        base.mkdir()
        config = {"model_type": "martian", "hidden_size": hidden}
        (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
        found = check(folder, base)
        assert found.state == state
    assert found.reasons[0].startswith("hidden 64 != 96 (")


@pytest.mark.parametrize(
    ("method", "family"), [("gptq", "llama"), ("awq", "llama"), ("bitsandbytes", "llama")]
)
def test_a_quantised_base_is_compared_by_the_shapes_before_quantisation(
    method: str, family: str, made: Zoo, tmp_path: Path
) -> None:
    folder = made.adapter("lora", family, targets="all-linear")
    assert folder is not None
    for change, state in (({}, "fits"), (WIDER[family], "does not fit")):
        base = shutil.copytree(made.variant(family, **change), tmp_path / state)
        tensors = {}
        for name, one in load_file(base / "model.safetensors").items():
            if "_proj.weight" not in name:
                tensors[name] = one
            elif method == "bitsandbytes":
                tensors[name] = np.zeros((one.size // 2, 1), np.uint8)
                tensors[f"{name}.absmax"] = np.zeros(4, np.float32)
            else:
                outward, inward = one.shape
                sides = (inward // 8, outward) if method == "gptq" else (inward, outward // 8)
                tensors[name.replace("weight", "qweight")] = np.zeros(sides, np.int32)
        save_file(tensors, base / "model.safetensors")
        change_config(base, "config.json", quantization_config={"quant_method": method, "bits": 4})
        found = check(folder, base)
        assert found.state == state or method == "bitsandbytes", found.reasons


def test_matrices_of_gpt2_lie_the_other_way_round(made: Zoo, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    quiet_libraries()
    bases = {}
    for width in (32, 64):
        config = GPT2Config(n_embd=width, n_layer=2, n_head=2, vocab_size=100, n_positions=32)
        model = GPT2LMHeadModel(config)
        bases[width] = tmp_path / f"gpt2-{width}"
        model.save_pretrained(bases[width])
        if width == 32:
            asked = LoraConfig(
                target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM", use_dora=True
            )
            get_peft_model(model, asked).save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    adapter = tmp_path / "adapter"
    assert check(adapter, bases[32]).state == "fits"
    assert any("hidden 32 != 64 (" in reason for reason in check(adapter, bases[64]).reasons)
    found = check(adapter, made.base("bert"))
    assert any(
        reason.startswith("no module c_attn, c_fc; has ") and "query" in reason for reason in found.reasons
    )


def test_an_adapter_without_weights_is_compared_by_the_modules_it_names(made: Zoo, tmp_path: Path) -> None:
    folder = copied(made.adapter("lora", "llama"), tmp_path)
    (folder / WEIGHTS).unlink()
    here = check(folder, made.base("llama"))
    assert here.state == "unknown"
    assert here.reasons == ["it has no adapter_model.safetensors, so no shape can be compared"]
    there = check(folder, made.base("bert"))
    assert there.state == "does not fit"
    assert "no module q_proj, v_proj; has " in there.reasons[0]


def test_targets_are_read_as_peft_reads_them(made: Zoo) -> None:
    modules = read_base(made.base("llama")).modules

    def names(**config: Any) -> int | None:
        found = targeted(config, modules)
        return None if found is None else len(found)

    assert names(target_modules=["q_proj", "v_proj"]) == 4
    assert names(target_modules=["q_proj"], layers_to_transform=[1]) == 1
    assert names(target_modules=["q_proj"], layers_to_transform=1) == 1
    assert names(target_modules=["q_proj", "k_proj"], exclude_modules=["k_proj"]) == 2
    assert names(target_modules=r".*\.self_attn\.(q|k)_proj") == 4
    assert names(target_modules=["layers.0.self_attn.q_proj"]) == 1
    assert names(target_modules=r"(.*.*)*.*x") is None
    assert names(target_modules="(") is None
    assert names() is None


def test_an_unknown_kind_of_parameter_is_reported_as_not_checked(made: Zoo, tmp_path: Path) -> None:
    folder = copied(made.adapter("lora", "llama"), tmp_path)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_novel"
    save_file({**load_file(folder / WEIGHTS), name: np.zeros(3, np.float32)}, folder / WEIGHTS)
    found = check(folder, made.base("llama"))
    assert found.state == "fits"
    assert found.reasons == ["the shape of lora_novel was not checked"]


WEIGHTS = "adapter_model.safetensors"


@pytest.mark.parametrize("value", [None, True, -1, 1.5, "x", "(", [], [[0]], ["q", 3, None], {"a": [1]}])
def test_a_config_of_any_content_is_checked_without_an_error(value: Any, made: Zoo, tmp_path: Path) -> None:
    folder = copied(made.adapter("lora", "llama"), tmp_path)
    keys = ("target_modules", "exclude_modules", "layers_to_transform", "modules_to_save", "r")
    change_config(folder, **dict.fromkeys(keys, value))
    assert check(folder, made.base("llama")).state in ("fits", "does not fit")
    (tmp_path / "base").mkdir()
    shutil.copy(made.base("llama") / "config.json", tmp_path / "base")
    sizes = ("hidden_size", "num_hidden_layers", "head_dim", "num_attention_heads", "quantization_config")
    for key in sizes:
        change_config(tmp_path / "base", "config.json", **{key: value})
        assert check(folder, tmp_path / "base").state in ("fits", "does not fit", "unknown")
        read_base.cache_clear()


def copied(folder: Path | None, parent: Path) -> Path:
    assert folder is not None
    return shutil.copytree(folder, parent / "copy")


def change_config(folder: Path, name: str = "adapter_config.json", **changes: Any) -> None:
    path = folder / name
    config = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps(config), encoding="utf-8")
