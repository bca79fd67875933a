"""Small real models: two layers drawn at random, saved with the tokenizer or processor they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.runtime.logging import quiet_libraries
from zoo.testing.data import CAPTIONS, CONVERSATIONS, reviews

ENCODERS = ("bert", "roberta", "distilbert")
"""Bodies only, as their checkpoints are: no head is among the weights."""
_WORDS = 200
_IMAGE_SIZE = 32
_SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT = {"vocab_size": _WORDS, "max_position_embeddings": 66}
_CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {**_TEXT, **_SIZES},
    "roberta": {**_TEXT, **_SIZES, "pad_token_id": 0},
    "distilbert": {**_TEXT, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "llama": {
        **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
        "num_key_value_heads": 2,  # fewer than heads of queries, as in the models that people train
        "max_position_embeddings": 512,
    },
    "clip": {"vision_config": {**_SIZES, "image_size": _IMAGE_SIZE, "patch_size": 8}, "projection_dim": 16},
}
FAMILIES = tuple(_CONFIGS)
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class TinyModels(dict[str, Path]):
    """Family -> its folder below `parent`, made when it is first asked for."""

    def __init__(self, parent: Path):
        super().__init__()
        self._parent = parent

    def __missing__(self, family: str) -> Path:
        folder = save_tiny_model(family, self._parent / f"tiny-{family}")
        self[family] = folder
        return folder


def save_tiny_model(family: str, folder: Path) -> Path:
    """Draw the model of a family of `FAMILIES`, always the same weights, and save it as a base to train on.

    Raises:
        UsageError: no such family.
    """
    if family not in FAMILIES:
        raise UsageError(f"no tiny model is called '{family}': there are {', '.join(FAMILIES)}.")
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, set_seed

    quiet_libraries()
    sizes, kind = _CONFIGS[family], AutoModel
    if family == "llama":
        processor, kind = _chat_tokenizer(), AutoModelForCausalLM
        sizes = sizes | _vocabulary(processor)
    elif family == "clip":
        processor = _clip_processor()
        sizes = sizes | {"text_config": _SIZES | _vocabulary(processor.tokenizer)}
    else:
        processor = _word_tokenizer()
    set_seed(0)
    kind.from_config(AutoConfig.for_model(family, **sizes)).save_pretrained(str(folder))
    processor.save_pretrained(str(folder))
    return folder


def _vocabulary(tokenizer: Any) -> dict[str, int]:
    """What a config has to know of its tokenizer."""
    ids = {f"{one}_token_id": getattr(tokenizer, f"{one}_token_id") for one in ("bos", "eos", "pad")}
    return {"vocab_size": len(tokenizer), **ids}


def _word_tokenizer() -> Any:
    """A token a word of the reviews; `[CLS]` and `[SEP]` around them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(vocab_size=_WORDS, special_tokens=special)
    tokenizer.train_from_iterator([text for text, _ in reviews(200)], trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )


def _chat_tokenizer() -> Any:
    """Bytes and the commonest pairs of them: any text comes back as it was. With a ChatML template."""
    from tokenizers import ByteLevelBPETokenizer, Tokenizer
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts = [text for pair in CONVERSATIONS for text in pair]
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(texts, 400, min_frequency=0, special_tokens=special, show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(made.to_str()),
        pad_token="<|pad|>",
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        chat_template=_CHAT_TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
    )


def _clip_processor() -> Any:
    from transformers import CLIPImageProcessorPil, CLIPProcessor

    size = {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE}
    images = CLIPImageProcessorPil(size={"shortest_edge": _IMAGE_SIZE}, crop_size=size)
    return CLIPProcessor(image_processor=images, tokenizer=_caption_tokenizer())


def _caption_tokenizer() -> Any:
    """CLIP's own, its vocabulary the bytes and the captions' words."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict.fromkeys([*bytes_, *(f"{one}</w>" for one in bytes_)])
    merges: list[tuple[str, str]] = []
    for word in sorted({word for caption in CAPTIONS for word in caption.split()}):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = ["".join(parts[:2])]
            vocabulary[parts[0]] = None
    vocabulary.update(dict.fromkeys(["<|startoftext|>", "<|endoftext|>"]))
    ids = {token: index for index, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=ids, merges=list(dict.fromkeys(merges)), model_max_length=77)
