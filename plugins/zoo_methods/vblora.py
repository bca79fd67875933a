"""VB-LoRA: low-rank updates are composed of vectors from one bank that all layers share."""

from dataclasses import dataclass

from zoo import TARGETS, PeftMethod, Targets, param

zoo_api = 1


class Vblora(PeftMethod):
    name = "vblora"
    summary = "low-rank updates from one shared bank of vectors"
    paper = "Li et al. 2024, arXiv:2405.15179"
    learning_rate = 1e-2
    peft_type = "VBLORA"
    peft_names = {"dropout": "vblora_dropout"}
    block_sizes = {"vector_length": (256, (0, 1))}

    @dataclass(frozen=True)
    class Params:
        r: int = param(4, "rank of the update", least=1)
        num_vectors: int = param(256, "vectors in the bank", least=2)
        vector_length: int | None = param(None, "divides both sides; none: the largest up to 256", least=1)
        topk: int = param(2, "vectors mixed into one piece of the update", least=1)
        dropout: float = param(0.0, "on the adapter's own input", least=0, below=1)
        targets: Targets = TARGETS

        def __post_init__(self) -> None:
            if self.topk > self.num_vectors:
                raise ValueError(f"topk {self.topk} is more than the {self.num_vectors} vectors of the bank")
