"""QLoRA: LoRA on a base kept in four bits an element (Dettmers et al. 2023, arXiv:2305.14314)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from zoo import IncompatibleError, Targets, Task, param
from zoo_methods.lora import Lora

if TYPE_CHECKING:
    from torch import nn

zoo_api = 1
_KEPT = (".*pooler", ".*classifier", "score", "lm_head", "embed_out")
"""Modules that are not quantised, as regular expressions: heads, which may have no weights yet."""


class QLora(Lora):
    name = "qlora"
    summary = "LoRA on a base in 4-bit NormalFloat"
    paper = "Dettmers et al. 2023, arXiv:2305.14314"
    peft_names = {**Lora.peft_names, "double_quant": None}
    requires = {"bitsandbytes": "pip install 'adapter-zoo[qlora]'"}

    @dataclass(frozen=True)
    class Params(Lora.Params):
        targets: Targets = param(("all-linear",), "modules to adapt; as in the paper, all matrices")
        double_quant: bool = param(True, "the quantisation's own scales are quantised too")

    def recognise(self, config: Mapping[str, Any]) -> None:
        return None  # a config does not tell what its base was kept in

    def refuses(self, task: Task, params: Any) -> str | None:
        return None if find_spec("bitsandbytes") else "it needs bitsandbytes, which is not installed"

    def load_options(self, params: Any) -> dict[str, Any]:
        self.check_installed()
        import torch
        from transformers import BitsAndBytesConfig

        # on some CPUs the first evaluation would repack the weights, for good, for a product that has no
        # backward pass: training after it would reach nothing below the last layer, and say nothing
        import_module("bitsandbytes.nn.modules").has_avx512bf16 = lambda: False  # type: ignore[attr-defined]
        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=params.double_quant,
                bnb_4bit_compute_dtype=torch.bfloat16,
                llm_int8_skip_modules=list(_KEPT),
            )
        }

    def attach(self, model: nn.Module, params: Any, task: Task, head: Sequence[str]) -> nn.Module:
        from peft import prepare_model_for_kbit_training

        found = getattr(model.config, "quantization_config", None) or {}
        how = found if isinstance(found, dict) else found.to_dict()
        if how and not how.get("load_in_4bit"):
            raise IncompatibleError(
                f"qlora quantises the base itself, and this one is {how.get('quant_method')} already.",
                "lora instead of qlora",
            )
        # the run decides about checkpointing
        prepared = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        return super().attach(prepared, params, task, head)

    def optimizer(self, device_type: str) -> str:
        return "paged_adamw_32bit" if device_type == "cuda" else super().optimizer(device_type)
