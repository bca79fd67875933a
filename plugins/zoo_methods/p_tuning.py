"""P-tuning: a prompt that a small network writes (Liu et al. 2021, arXiv:2103.10385).

The network only helps training: what is saved is the prompt that it wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo import Method, PromptMethod, Task, hookimpl, param

if TYPE_CHECKING:
    from peft import PeftConfig

zoo_api = 1


@dataclass(frozen=True)
class PTuningParams:
    num_virtual_tokens: int = param(20, "length of the prompt", least=1)
    encoder: Literal["mlp", "lstm"] = param("mlp", "the network that writes the prompt")
    encoder_hidden_size: int = param(128, "width of that network", least=1)
    encoder_dropout: float = param(0.0, "between the two layers of an lstm", least=0, below=1)


class PTuning(PromptMethod):
    name = "p-tuning"
    summary = "P-tuning: a prompt written by a small trained network"
    paper = "Liu et al. 2021, arXiv:2103.10385"
    Params = PTuningParams
    learning_rate = 1e-2
    peft_type = "P_TUNING"
    config_fields: ClassVar[dict[str, str]] = {"encoder": "encoder_reparameterization_type"}

    def config(self, params: Any, task: Task) -> PeftConfig:
        from peft import PromptEncoderConfig

        return PromptEncoderConfig(
            task_type=task.peft_type,
            num_virtual_tokens=params.num_virtual_tokens,
            encoder_reparameterization_type=params.encoder.upper(),
            encoder_hidden_size=params.encoder_hidden_size,
            encoder_dropout=params.encoder_dropout,
        )


@hookimpl
def zoo_method() -> Method:
    return PTuning()
