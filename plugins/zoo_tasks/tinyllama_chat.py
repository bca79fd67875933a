"""Answering instructions (TinyLlama, Zhang et al. 2024, arXiv:2401.02385) with a chat model."""

from zoo import CausalLanguageModelling

zoo_api = 1


class TinyLlamaChat(CausalLanguageModelling):
    name = "tinyllama-chat"
    summary = "answering instructions with a chat model, on one's own conversations"
    bases = (
        "hub:TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        "pip:HuggingFaceTB/SmolLM2-135M-Instruct",
    )
    data = ("hub:databricks/databricks-dolly-15k",)
    language = "en"
    epochs = 2.0
