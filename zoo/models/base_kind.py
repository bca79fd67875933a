"""Tells from config.json alone what kind of model a base is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEXT_ENCODER = "text encoder"
IMAGE_TEXT = "model of images and texts"
IMAGE = "image model"
_TEXT_ENCODERS = {
    "albert",
    "bert",
    "big_bird",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "funnel",
    "longformer",
    "mobilebert",
    "modernbert",
    "mpnet",
    "roberta",
    "squeezebert",
    "xlm-roberta",
    "xlm-roberta-xl",
}
_GENERATORS = ("ForConditionalGeneration", "ForCausalLM")
"""How architectures end that write text, about images too."""


def kind_of(config: Mapping[str, Any]) -> str | None:
    """None where it is none of these, or the config does not tell."""
    architectures = config.get("architectures") or ()
    if any(str(one).endswith(_GENERATORS) for one in architectures):
        return None
    if "vision_config" in config and "text_config" in config:
        return IMAGE_TEXT
    if "image_size" in config and "vocab_size" not in config:
        return IMAGE
    if config.get("model_type") in _TEXT_ENCODERS and not config.get("is_decoder"):
        return TEXT_ENCODER
    return None
