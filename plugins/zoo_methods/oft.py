"""OFT: a block-diagonal rotation of each frozen weight is trained (Qiu et al. 2023, arXiv:2306.07280)."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Oft(PeftMethod):
    name = "oft"
    summary = "trained rotations of the frozen weights"
    paper = "Qiu et al. 2023, arXiv:2306.07280"
    learning_rate = 2e-3
    peft_type = "OFT"
    peft_names = {"dropout": "module_dropout", "cayley_neumann": "use_cayley_neumann"}
    block_sizes = {"oft_block_size": (32, (0,))}

    @dataclass(frozen=True)
    class Params:
        oft_block_size: int | None = param(
            None, "side of a rotated block; none: the largest divisor up to 32", least=2
        )
        dropout: float = param(0.0, "share of the blocks left out in a step", least=0, below=1)
        cayley_neumann: bool = param(True, "rotations by five terms of a series (quicker), else by inversion")
        targets: Targets = TARGETS
