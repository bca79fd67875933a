"""What an adapter_config.json may say: the honest ones as they lie about, and a hostile one for every key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import SHARED
from zoo.errors import IncompatibleError
from zoo.security.adapter_config import KNOWN, check_config, without_unknown

WILD = sorted((SHARED / "adapters_in_the_wild").glob("*/adapter_config.json"))
"""As third parties wrote them."""


def lora(**changes: Any) -> dict[str, Any]:
    honest: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "google-bert/bert-base-cased",
        "auto_mapping": None,
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "loftq_config": {},
        "target_modules": ["q_proj", "v_proj"],
        "r": 8,
    }
    return {**honest, **changes}


def refusal(config: dict[str, Any]) -> str:
    with pytest.raises(IncompatibleError) as caught:
        check_config(config, "adapter_config.json")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.skipif(not WILD, reason="the collection of third-party configs is not beside the repository")
def test_every_third_party_config_for_peft_passes() -> None:
    passed = 0
    for path in WILD:
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        check_config(config, str(path))
        passed += "peft_type" in config
    assert passed > 40


def test_the_allow_list_is_that_of_the_installed_peft() -> None:
    """A newer PEFT may act on keys that nobody here has looked at: look, then add them."""
    import dataclasses

    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    keys = {
        one.name
        for config in PEFT_TYPE_TO_CONFIG_MAPPING.values()
        for one in dataclasses.fields(config)
        if one.init
    }
    assert sorted(keys - KNOWN) == []


def test_unknown_keys_are_removed_by_name_and_the_others_stay() -> None:
    kept, dropped = without_unknown(lora(enable_lora=None, of_next_year={"a": 1}))
    assert kept == lora()
    assert dropped == ["enable_lora", "of_next_year"]


@pytest.mark.parametrize(
    "library",
    [
        "os",
        "subprocess",
        "transformers_modules.evil.modeling",
        "transformers.dynamic_module_utils",
        "transformersx",
        "..evil",
        "transformers.models;os",
        7,
    ],
)
def test_a_module_that_peft_would_import_is_refused_by_name(library: object) -> None:
    message = refusal(lora(auto_mapping={"base_model_class": "A", "parent_library": library}))
    assert f"'{library}' (auto_mapping.parent_library)" in message


def test_the_libraries_of_honest_models_are_let_in() -> None:
    for library in ("transformers.models.clip.modeling_clip", "diffusers.models.unets.unet_2d_condition"):
        check_config(lora(auto_mapping={"base_model_class": "CLIPModel", "parent_library": library}), "x")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"auto_mapping": {"base_model_class": "__import__", "parent_library": "transformers"}},
            "__import__",
        ),
        ({"megatron_core": "evil.core"}, "megatron_core"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"tokenizer_kwargs": {"trust_remote_code": True}}, "tokenizer_kwargs.trust_remote_code"),
        ({"of_next_year": [{"trust_remote_code": 1}]}, "trust_remote_code"),
        ({"tokenizer_kwargs": {"gguf_file": "/etc/passwd"}}, "tokenizer_kwargs.gguf_file"),
        ({"peft_type": "XLORA", "adapters": {"a": "evil/pickled"}}, "adapters"),
        ({"peft_type": "SHADOW", "shadow_model": "evil/model"}, "shadow_model"),
        ({"prompt_tuning_init_state_dict_path": "/tmp/x.bin"}, "prompt_tuning_init_state_dict_path"),
        ({"base_model_name_or_path": "\\\\evil.example\\share"}, "on another machine"),
        ({"tokenizer_name_or_path": "//evil.example/share"}, "on another machine"),
        ({"base_model_name_or_path": "a\x1b[2Jb"}, "base_model_name_or_path"),
        ({"base_model_name_or_path": {"a": 1}}, "base_model_name_or_path"),
        ({"peft_type": "../LORA"}, "no PEFT type"),
        ({"r": 10**9}, "r = 1,000,000,000"),
        ({"rank_pattern": {"q": 10**9}}, "rank_pattern.q"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"layer_replication": [[0, 10**6]]}, "layer_replication"),
        ({"layer_replication": 3}, "layer_replication"),
        ({"target_modules": "(a+)+$"}, "target_modules"),
        ({"alpha_pattern": {"(a+)+$": 1}}, "alpha_pattern"),
        ({"modules_to_save": ["(a|aa)+$"]}, "modules_to_save"),
        ({"target_modules": ["a" * 5000]}, "target_modules"),
        ({"target_modules": [{"a": 1}]}, "target_modules"),
        ({"loftq_config": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}}}, "nested deeper"),
    ],
)
def test_what_would_run_read_or_eat_anything_is_refused_by_its_key(
    changes: dict[str, Any], said: str
) -> None:
    assert said in refusal(lora(**changes))


def test_a_base_that_was_a_folder_of_its_author_is_let_in() -> None:
    check_config(lora(base_model_name_or_path="/root/models/llama"), "x")
    check_config(lora(base_model_name_or_path="C:\\models\\llama"), "x")
