"""DoRA: LoRA of a weight's directions, their lengths trained apart (Liu et al. 2024, arXiv:2402.09353)."""

from zoo_methods.lora import Lora

zoo_api = 1


class Dora(Lora):
    name = "dora"
    summary = "LoRA of the directions, and the lengths by themselves"
    paper = "Liu et al. 2024, arXiv:2402.09353"
    peft_fixed = {"use_dora": True}
