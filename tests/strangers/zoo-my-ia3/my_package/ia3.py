"""IA3: learned vectors that rescale keys, values and inner activations (Liu et al. 2022, arXiv:2205.05638)."""

from dataclasses import dataclass

from zoo import PeftMethod, hookimpl, param

zoo_api = 1


@dataclass(frozen=True)
class IA3Params:
    init: bool = param(True, "the vectors start as ones")


class IA3(PeftMethod):
    name = "my-ia3"
    summary = "learned vectors that rescale keys, values and inner activations"
    Params = IA3Params
    learning_rate = 1e-2

    def config(self, params, task):
        from peft import IA3Config

        return IA3Config(task_type=task.peft_type, init_ia3_weights=params.init)


@hookimpl
def zoo_method():
    return IA3()
