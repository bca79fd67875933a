"""P-tuning: a prompt that a small network writes (Liu et al. 2021, arXiv:2103.10385).

The network only helps training: what is saved is the prompt that it wrote.
"""

from dataclasses import dataclass
from typing import Any, Literal

from zoo import PromptMethod, Task, param

zoo_api = 1


class PTuning(PromptMethod):
    name = "p-tuning"
    summary = "P-tuning: a prompt written by a small trained network"
    paper = "Liu et al. 2021, arXiv:2103.10385"
    learning_rate = 1e-2
    peft_type = "P_TUNING"
    peft_names = {"encoder": "encoder_reparameterization_type"}

    @dataclass(frozen=True)
    class Params:
        num_virtual_tokens: int = param(20, "length of the prompt", least=1)
        encoder: Literal["mlp", "lstm"] = param("mlp", "the network that writes the prompt")
        encoder_hidden_size: int = param(128, "width of that network", least=1)
        encoder_dropout: float = param(0.0, "between the two layers of an lstm", least=0, below=1)

    def peft_fields(self, params: Any, task: Task) -> dict[str, Any]:
        encoder = params.encoder.upper()
        return super().peft_fields(params, task) | {"encoder_reparameterization_type": encoder}
