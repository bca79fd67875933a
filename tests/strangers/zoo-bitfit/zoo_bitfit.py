"""BitFit: only the biases are trained (Ben Zaken et al. 2021, arXiv:2106.10199). Not one of PEFT's types."""

from __future__ import annotations

from dataclasses import dataclass

from zoo import Method, hookimpl

zoo_api = 1
FILE = "bitfit.safetensors"


@dataclass(frozen=True)
class BitFitParams:
    only_attention: bool = False


class BitFit(Method):
    name = "strangers-bitfit"
    summary = "only the biases are trained"
    paper = "Ben Zaken et al. 2021, arXiv:2106.10199"
    Params = BitFitParams
    learning_rate = 5e-3
    format = "strangers-bitfit"

    def attach(self, model, params, task, head):
        for name, value in model.named_parameters():
            in_head = any(name.startswith(f"{module}.") for module in head)
            bias = name.endswith(".bias") and ("attention" in name or not params.only_attention)
            value.requires_grad_(in_head or bias)
        return model

    def save(self, model, folder, base):
        from safetensors.torch import save_file

        trained = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
        save_file(trained, folder / FILE)

    def restore(self, model, folder, params, task):
        from safetensors.torch import load_file

        model.load_state_dict(load_file(folder / FILE), strict=False)
        return model

    def usage(self):
        return (
            "from safetensors.torch import load_file\n\n"
            f'model.load_state_dict(load_file(f"{{folder}}/{FILE}"), strict=False)'
        )


@hookimpl
def zoo_method():
    return BitFit()


@hookimpl
def zoo_card(record):
    return "## BitFit\n\nOnly biases differ from the base."
