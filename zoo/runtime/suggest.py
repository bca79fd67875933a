"""Says which known word a person meant: in other case, by the name that another tool has for it, or misspelt.

The tables hold names of transformers, peft, LLaMA-Factory, axolotl and torchtune, in lower case with hyphens.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping

COMMANDS = {
    "finetune": "train",
    "fine-tune": "train",
    "fit": "train",
    "sft": "train",
    "tune": "train",
    "eval": "evaluate",
    "test": "evaluate",
    "benchmark": "evaluate",
    "infer": "predict",
    "classify": "predict",
    "inference": "predict",
    "generate": "predict",
    "run": "predict",
    "ls": "list",
    "adapters": "list",
    "models": "list",
    "info": "show",
    "inspect": "show",
    "view": "show",
    "describe": "show",
    "push": "publish",
    "upload": "publish",
    "share": "publish",
    "push-to-hub": "publish",
    "download": "pull",
    "get": "pull",
    "fetch": "pull",
    "install": "pull",
    "add": "import",
    "convert": "import",
    "delete": "rm",
    "del": "rm",
    "remove": "rm",
    "uninstall": "rm",
    "export": "merge",
    "fuse": "merge",
    "merge-and-unload": "merge",
    "find": "search",
    "env": "doctor",
    "status": "doctor",
    "diagnose": "doctor",
    "compatible": "check",
    "fits": "check",
    "datasets": "data",
    "create": "new",
    "init": "new",
    "validate": "check",
    "recipes": "tasks",
}
METHODS = {
    "4bit": "qlora",
    "lora-4bit": "qlora",
    "load-in-4bit": "qlora",
    "low-rank": "lora",
    "ptuning": "p-tuning",
    "ptuning-v2": "prefix",
    "prefix-tuning": "prefix",
    "prompt-tuning": "prompt",
    "soft-prompt": "prompt",
    "adapter": "bottleneck",
    "adapters": "bottleneck",
    "houlsby": "bottleneck",
    "pfeiffer": "bottleneck",
    "full-finetune": "full",
    "full-finetuning": "full",
    "full-fine-tuning": "full",
    "finetune": "full",
    "fft": "full",
    "freeze": "head",
    "linear-probe": "head",
    "linear-probing": "head",
    "probe": "head",
    "(ia)3": "ia3",
    "bias": "bitfit",
    "layernorm": "ln-tuning",
    "layernorm-tuning": "ln-tuning",
    "bone": "miss",
    "boft": "oft",
    "use-dora": "dora",
    "use-rslora": "rslora",
    "pissa-init": "pissa",
}
TASKS = {
    "sentiment": "bert-imdb",
    "reviews": "bert-imdb",
    "sst-2": "distilbert-sst2",
    "glue-sst2": "distilbert-sst2",
    "paraphrase": "bert-mrpc",
    "glue-mrpc": "bert-mrpc",
    "retrieval": "clip-retrieval",
    "image-text": "clip-retrieval",
    "sft": "tinyllama-chat",
    "instruct": "tinyllama-chat",
}
PARAMETERS = {
    "rank": "r",
    "lora-r": "r",
    "lora-rank": "r",
    "lora-alpha": "alpha",
    "lora-dropout": "dropout",
    "target-modules": "targets",
    "lora-target": "targets",
    "lora-target-modules": "targets",
    "lora-attn-modules": "targets",
    "target-linear": "targets",
    "modules": "targets",
    "num-tokens": "num_virtual_tokens",
    "virtual-tokens": "num_virtual_tokens",
    "prompt-length": "num_virtual_tokens",
    "pre-seq-len": "num_virtual_tokens",
    "prefix-length": "num_virtual_tokens",
    "reduction-factor": "reduction",
    "non-linearity": "activation",
    "prompt-tuning-init": "init",
    "prompt-tuning-init-text": "init_text",
    "prefix-projection": "projection",
    "encoder-reparameterization-type": "encoder",
    "double-quantization": "double_quant",
    "bnb-4bit-use-double-quant": "double_quant",
    "vera-dropout": "dropout",
    "hidden-size": "encoder_hidden_size",
}
"""Of a method: given with -s, or as an option of its own."""
OPTIONS = {
    "--model": "--base",
    "--model-name": "--base",
    "--model-id": "--base",
    "--model-name-or-path": "--base",
    "--pretrained-model-name-or-path": "--base",
    "--base-model": "--base",
    "-m": "--base",
    "--dataset": "--data",
    "--datasets": "--data",
    "--dataset-name": "--data",
    "--dataset-dir": "--data",
    "--train-file": "--data",
    "--train-data": "--data",
    "-d": "--data",
    "--validation-file": "--eval-data",
    "--eval-dataset": "--eval-data",
    "--val-data": "--eval-data",
    "--test-datasets": "--eval-data",
    "--test-file": "--eval-data",
    "--learning-rate": "--lr",
    "--dataset-split": "--split",
    "--train-split": "--split",
    "--num-train-epochs": "--epochs",
    "--num-epochs": "--epochs",
    "--epoch": "--epochs",
    "-e": "--epochs",
    "--max-samples": "--limit",
    "--max-train-samples": "--limit",
    "--max-eval-samples": "--eval-limit",
    "-n": "--limit",
    "--cutoff-len": "--max-length",
    "--sequence-len": "--max-length",
    "--max-seq-length": "--max-length",
    "--max-seq-len": "--max-length",
    "--gradient-accumulation-steps": "--gradient-accumulation",
    "--grad-accum": "--gradient-accumulation",
    "--sample-packing": "--packing",
    "--enable-activation-checkpointing": "--gradient-checkpointing",
    "--torch-compile": "--compile",
    "--activation-checkpointing": "--gradient-checkpointing",
    "--resume-from-checkpoint": "--resume",
    "--auto-resume-from-checkpoints": "--resume",
    "--random-seed": "--seed",
    "--output": "--registry",
    "--output-dir": "--registry",
    "--save-dir": "--registry",
    "-o": "--registry",
    "--run-name": "--name",
    "--adapter-name": "--name",
    "--fp16": "--precision auto",
    "--bf16": "--precision bf16",
    "--fp32": "--precision fp32",
    "--dtype": "--precision",
    "--torch-dtype": "--precision",
    "--mixed-precision": "--precision",
    "--report-to": "--tracker",
    "--commit-message": "--message",
    "--max-tokens": "--max-new-tokens",
    "--input": "--file",
    "-y": "--yes",
    "--force": "--yes",
}
"""An option of another tool -> ours, with its value where theirs has none."""
_DEVICE = "Torch chooses the device: set CUDA_VISIBLE_DEVICES."
_BATCHES = "Batches are filled by tokens: --batch-tokens N."
METHOD_FIRST = "The method comes first: zoo train METHOD TASK."
_RECIPE = "It is fixed: AdamW, a short warm-up, a linear decay; --lr and --epochs can be set."
_ONCE = "An adapter is evaluated and saved at the end of its run."
_PUBLISH = "That is a command of its own: zoo publish NAME."
_TRACKER = "A tracker is named: --tracker wandb."
ADVICE = {
    **dict.fromkeys(("--device", "--devices", "--use-cpu", "--cpu", "--gpu", "--gpus", "--cuda"), _DEVICE),
    **dict.fromkeys(("--batch-size", "--micro-batch-size", "--bs", "-b"), _BATCHES),
    **dict.fromkeys(("--per-device-train-batch-size", "--per-device-eval-batch-size"), _BATCHES),
    **dict.fromkeys(("--peft-type", "--method", "--finetuning-type", "--adapter"), METHOD_FIRST),
    "--task": "The task comes second: zoo train METHOD TASK.",
    "--quantization-bit": "A 4-bit base is a method: zoo train qlora TASK.",
    "--init-lora-weights": "Another start is a method: zoo train pissa TASK, or olora.",
    "--bias": "Bias terms are trained by a method: zoo train bitfit TASK.",
    "--max-steps": "A run is counted in passes over the rows: --epochs X.",
    "--eval-split": "Rows are held out by themselves; others are --eval-data FILE.",
    "--val-size": "Rows are held out by themselves; others are --eval-data FILE.",
    **dict.fromkeys(("--weight-decay", "--optim", "--optimizer"), _RECIPE),
    **dict.fromkeys(("--warmup-steps", "--warmup-ratio", "--lr-scheduler", "--lr-scheduler-type"), _RECIPE),
    **dict.fromkeys(("--eval-steps", "--eval-strategy", "--save-steps", "--save-strategy"), _ONCE),
    **dict.fromkeys(("--push-to-hub", "--hub-model-id"), _PUBLISH),
    **dict.fromkeys(("--wandb", "--wandb-project"), _TRACKER),
}
"""An option of another tool that is not an option here -> what is done instead."""


def fold(word: str) -> str:
    """`BERT_IMDB` -> `bert-imdb`."""
    return word.strip().casefold().replace("_", "-")


def closest(
    word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None, *, least: float = 0.6
) -> str | None:
    """The known word that was meant, or None where none is near.

    Args:
        least: how like it is, from 0 to 1, as difflib measures it; the same letters in other order always do.
    """
    words = {fold(one): one for one in known}
    folded = fold(word)
    meant = (synonyms or {}).get(folded)
    if folded in words or meant in words.values():
        return words.get(folded, meant)
    parts = [one for one in words if folded in one.split("-")]
    if parts:  # of several, none is likelier
        return words[parts[0]] if len(parts) == 1 else None
    near = difflib.get_close_matches(folded, words, n=3, cutoff=0.6)
    best = max(near, key=lambda one: _likeness(folded, one), default=None)
    return words[best] if best is not None and _likeness(folded, best) >= (False, least) else None


def _likeness(word: str, other: str) -> tuple[bool, float]:
    """Two letters swapped are likelier than one that was typed for another."""
    return sorted(word) == sorted(other), difflib.SequenceMatcher(None, word, other).ratio()


def did_you_mean(word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """`" Did you mean 'lora'?"`, or nothing when no known word is near."""
    near = closest(word, known, synonyms)
    return f" Did you mean '{near}'?" if near else ""


def instead(new: str, old: str) -> str:
    """The hint that asks for the same command with another word."""
    return f"{shlex.quote(new)} instead of {shlex.quote(old)}"


def unknown(
    word: str, known: Iterable[str], otherwise: str, synonyms: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """For an error about a word that is not known: `" Did you mean 'lora'?"`, and the hint.

    Where no known word is near, the first is empty and the hint is `otherwise`.
    """
    near = closest(word, known, synonyms)
    return meant(near, word) if near else ("", otherwise)


def meant(new: str, old: str) -> tuple[str, str]:
    """The same, where the known word is found already."""
    return f" Did you mean '{new}'?", instead(new, old)
