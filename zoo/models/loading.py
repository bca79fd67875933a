"""Loads models and tokenizers through transformers, and refuses with a sentence what it would let pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import IncompatibleError, NotFoundError, ZooError
from zoo.models.fingerprint import read_config

if TYPE_CHECKING:
    from torch import nn

_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)

_MOST_FRESH = 0.1
"""A model with a larger share of missing weights is not the checkpoint of this architecture."""


def load_tokenizer(folder: Path) -> Any:
    """With a pad token: that of the end, where the base has none.

    Raises:
        NotFoundError: the folder has no tokenizer.
    """
    from transformers import AutoTokenizer

    if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        # transformers makes up an empty tokenizer, and training on its tokens succeeds
        raise NotFoundError(f"{folder} has no tokenizer ({', '.join(_TOKENIZER_FILES)}).")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(folder: Path, **settings: Any) -> Any:
    """Raises IncompatibleError: transformers does not know the model type."""
    from transformers import AutoConfig

    try:
        # without a value for trust, transformers asks on the terminal whether to run a base's own code
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, **settings
        )
    except ValueError as error:
        kind = read_config(folder).get("model_type", "unnamed")
        raise IncompatibleError(f"transformers does not know the model type '{kind}' of {folder}.") from error
    if config.get_text_config().pad_token_id is None:
        config.pad_token_id = config.get_text_config().eos_token_id
    return config


def load_weights(auto: Any, folder: Path, config: Any, **options: Any) -> tuple[nn.Module, list[str]]:
    """A model of the class `auto` in float32, and the names of the tensors that the folder did not have.

    Raises:
        ZooError: the weights are damaged.
    """
    import torch
    from safetensors import SafetensorError

    try:
        model, info = auto.from_pretrained(
            str(folder),
            config=config,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **{"dtype": torch.float32, **options},
        )
    except SafetensorError as error:
        raise ZooError(f"the weights in {folder} are damaged: {error}.") from error
    mismatched = [key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]]
    return model, [*info["missing_keys"], *mismatched]


def check_missing(model: nn.Module, missing: Sequence[str]) -> None:
    """
    Raises:
        IncompatibleError: so much of the model is missing that the folder holds another architecture.
    """
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    if sum(sizes.get(name, 0) for name in missing) > _MOST_FRESH * sum(sizes.values()):
        raise IncompatibleError(
            f"the base's weights are not those of a {type(model).__name__}: "
            f"{len(missing)} tensors are missing, {missing[0]} among them."
        )
