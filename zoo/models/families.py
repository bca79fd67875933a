"""Knows the families of models that most adapters are made for: heads, layers, positions, tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shapes = dict[str, tuple[int, ...]]
CLASSIFIERS = frozenset({"classifier", "score", "classification_head"})
"""What transformers calls the last layer of a classifier."""
_LARGEST = 10_000_000
"""No size of a model is larger; the number of layers has its own limit."""
_MOST_LAYERS = 500


@dataclass(frozen=True)
class LayerNames:
    """Names inside one kind of layer."""

    layers: str
    """The list of them, as the end of its name."""
    attention: str
    """The matrix whose output is the attention part's."""
    feedforward: str
    """The module whose output is the feed-forward part's, before the residual is added."""
    last_norm: str | None
    """The norm after the residual sum; None where norms come first."""
    residual: str | None = None
    """Where no module is the whole feed-forward part: the one that adds (its result, its input)."""


@dataclass(frozen=True)
class Family:
    """What the models of one type have in common."""

    body: str = ""
    """What a model with a head calls its body, where that is the name of a family."""
    classifier: tuple[str, ...] = ()
    """The modules that classify texts, which no file of a body has; empty where they are not known."""
    layers: LayerNames | None = None
    shapes: Callable[[Mapping[str, Any]], Shapes] | None = None
    """The body's tensors by the config alone; raises KeyError where that lacks a size."""
    transposed: bool = False
    """Matrices are (in, out): transformers' Conv1D."""
    targets: tuple[str, ...] = ()
    """Modules to adapt where PEFT has no default of its own."""
    reserved_positions: int = 0
    """Positions up to the padding index, which no token of a text takes."""


def family(model_type: object) -> Family:
    """Of a config's `model_type`; one of which nothing is known where it is not in the table."""
    return FAMILIES.get(str(model_type), Family())


def draw(config: Mapping[str, Any]) -> Shapes | None:
    """Name -> shape of the body's weights; None where the family is not known or the config lacks a size."""
    shapes = family(config.get("model_type")).shapes
    if shapes is None or any(isinstance(value, int) and value > _LARGEST for value in config.values()):
        return None
    try:
        layers = max(config.get(name) or 0 for name in ("num_hidden_layers", "n_layers", "n_layer"))
        found = shapes(config) if layers <= _MOST_LAYERS else {}
    except (KeyError, TypeError, ZeroDivisionError):
        return None
    sides = (side for shape in found.values() for side in shape)
    return found if all(type(side) is int and side > 0 for side in sides) else None


def _llama(config: Mapping[str, Any]) -> Shapes:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    width = config.get("head_dim") or hidden // heads
    queries, keys = heads * width, (config.get("num_key_value_heads") or heads) * width
    found: Shapes = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        found[f"{at}.self_attn.q_proj.weight"] = (queries, hidden)
        found[f"{at}.self_attn.k_proj.weight"] = (keys, hidden)
        found[f"{at}.self_attn.v_proj.weight"] = (keys, hidden)
        found[f"{at}.self_attn.o_proj.weight"] = (hidden, queries)
        for name in ("gate_proj", "up_proj"):
            found[f"{at}.mlp.{name}.weight"] = (config["intermediate_size"], hidden)
        found[f"{at}.mlp.down_proj.weight"] = (hidden, config["intermediate_size"])
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{at}.{name}.weight"] = (hidden,)
    return found


def _bert(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    found: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        **_norm("embeddings.LayerNorm", hidden),
        **_linear("pooler.dense", hidden, hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            found |= _linear(f"{at}.attention.{name}", hidden, hidden)
        found |= _linear(f"{at}.intermediate.dense", inner, hidden)
        found |= _linear(f"{at}.output.dense", hidden, inner)
        found |= _norm(f"{at}.attention.output.LayerNorm", hidden) | _norm(f"{at}.output.LayerNorm", hidden)
    return found


def _distilbert(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["dim"], config["hidden_dim"]
    found: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        **_norm("embeddings.LayerNorm", hidden),
    }
    for layer in range(config["n_layers"]):
        at = f"transformer.layer.{layer}"
        for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
            found |= _linear(f"{at}.attention.{name}", hidden, hidden)
        found |= _linear(f"{at}.ffn.lin1", inner, hidden) | _linear(f"{at}.ffn.lin2", hidden, inner)
        found |= _norm(f"{at}.sa_layer_norm", hidden) | _norm(f"{at}.output_layer_norm", hidden)
    return found


def _gpt2(config: Mapping[str, Any]) -> Shapes:
    hidden = config["n_embd"]
    inner = config.get("n_inner") or 4 * hidden
    found: Shapes = {
        "wte.weight": (config["vocab_size"], hidden),
        "wpe.weight": (config["n_positions"], hidden),
        **_norm("ln_f", hidden),
    }
    for layer in range(config["n_layer"]):
        at = f"h.{layer}"
        sides = {"attn.c_attn": (hidden, 3 * hidden), "attn.c_proj": (hidden, hidden)}
        sides |= {"mlp.c_fc": (hidden, inner), "mlp.c_proj": (inner, hidden)}
        for name, (inward, outward) in sides.items():  # the other way round than everywhere else
            found[f"{at}.{name}.weight"], found[f"{at}.{name}.bias"] = (inward, outward), (outward,)
        found |= _norm(f"{at}.ln_1", hidden) | _norm(f"{at}.ln_2", hidden)
    return found


def _linear(name: str, outward: int, inward: int) -> Shapes:
    return {f"{name}.weight": (outward, inward), f"{name}.bias": (outward,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


_IN_BERT = LayerNames("encoder.layer", "attention.output.dense", "output.dense", "output.LayerNorm", "output")
_IN_DISTILBERT = LayerNames("transformer.layer", "attention.out_lin", "ffn", "output_layer_norm")
_IN_CLIP = LayerNames("encoder.layers", "self_attn.out_proj", "mlp", None)
_IN_LLAMA = LayerNames("layers", "self_attn.o_proj", "mlp", None)
_ROBERTA = Family(
    "roberta", ("classifier.dense", "classifier.out_proj"), _IN_BERT, _bert, reserved_positions=2
)
_DECODER = Family("", ("score",), _IN_LLAMA, _llama)

FAMILIES = {
    "bert": Family("bert", ("classifier",), _IN_BERT, _bert),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), _ROBERTA),
    "electra": Family("electra", layers=_IN_BERT),
    "distilbert": Family(
        "distilbert",
        ("classifier", "pre_classifier"),
        _IN_DISTILBERT,
        _distilbert,
        targets=("q_lin", "v_lin"),
    ),
    **{name: Family(name) for name in ("albert", "deberta", "mpnet", "xlnet")},
    "deberta-v2": Family("deberta"),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _DECODER),
    **dict.fromkeys(("gemma", "gemma2"), Family("", ("score",), None, _llama)),
    "smollm3": Family("", shapes=_llama),
    "phi3": Family("", ("score",)),
    "gpt2": Family("", ("score",), None, _gpt2, transposed=True),
    **dict.fromkeys(("openai-gpt", "imagegpt", "decision_transformer"), Family(transposed=True)),
    "clip": Family(layers=_IN_CLIP, targets=("q_proj", "k_proj", "v_proj", "out_proj")),
}
"""By model type, never by guesswork."""
BODIES = tuple(dict.fromkeys(one.body for one in FAMILIES.values() if one.body))
TARGETS_THAT_PEFT_LACKS = {name: list(one.targets) for name, one in FAMILIES.items() if one.targets}

TEXT_ENCODER = "text encoder"
IMAGES = "model of images"
"""And perhaps of texts, but none that writes any."""
_TEXT_ENCODERS = {
    *(name for name, one in FAMILIES.items() if one.body and name != "xlnet"),  # that one may write
    "big_bird",
    "ernie",
    "funnel",
    "longformer",
    "mobilebert",
    "modernbert",
    "squeezebert",
    "xlm-roberta-xl",
}
_GENERATORS = ("ForConditionalGeneration", "ForCausalLM")
"""How architectures end that write text, about images too."""


def kind_of(config: Mapping[str, Any]) -> str | None:
    """The kind of model that a config is of; None where it is none of these, or the config does not tell."""
    architectures = config.get("architectures") or ()
    if any(str(one).endswith(_GENERATORS) for one in architectures):
        return None
    has_towers = "vision_config" in config and "text_config" in config
    if has_towers or ("image_size" in config and "vocab_size" not in config):
        return IMAGES
    if config.get("model_type") in _TEXT_ENCODERS and not config.get("is_decoder"):
        return TEXT_ENCODER
    return None
