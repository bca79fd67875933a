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
    "eval": "evaluate",
    "test": "evaluate",
    "benchmark": "evaluate",
    "infer": "predict",
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
    "recipes": "tasks",
}
METHODS = {
    "4bit": "qlora",
    "lora-4bit": "qlora",
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
    "--checkpointer": "--base",
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
    "--test-datasets": "--eval-data",
    "--test-file": "--eval-data",
    "--learning-rate": "--lr",
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
    "--resume-from-checkpoint": "--resume",
    "--auto-resume-from-checkpoints": "--resume",
    "--random-seed": "--seed",
    "--output": "--registry",
    "--output-dir": "--registry",
    "--save-dir": "--registry",
    "-o": "--registry",
    "--run-name": "--name",
    "--adapter-name": "--name",
    "--fp16": "--precision bf16",
    "--bf16": "--precision bf16",
    "--fp32": "--precision fp32",
    "--no-fp16": "--precision fp32",
    "--dtype": "--precision",
    "--torch-dtype": "--precision",
    "--mixed-precision": "--precision",
    "--commit-message": "--message",
    "--max-tokens": "--max-new-tokens",
    "--input": "--file",
    "-y": "--yes",
    "--force": "--yes",
}
"""An option of another tool -> ours, with its value where theirs has none."""
ADVICE = {
    "--device": "Torch chooses the device: set CUDA_VISIBLE_DEVICES.",
    "--use-cpu": "Torch chooses the device: set CUDA_VISIBLE_DEVICES.",
    "--batch-size": "Batches are filled by tokens: --batch-tokens N.",
    "--per-device-train-batch-size": "Batches are filled by tokens: --batch-tokens N.",
    "--micro-batch-size": "Batches are filled by tokens: --batch-tokens N.",
    "--load-in-4bit": "A 4-bit base is a method: zoo train qlora TASK.",
    "--quantization-bit": "A 4-bit base is a method: zoo train qlora TASK.",
    "--peft-type": "The method comes first: zoo train METHOD TASK.",
    "--method": "The method comes first: zoo train METHOD TASK.",
    "--finetuning-type": "The method comes first: zoo train METHOD TASK.",
    "--task": "The task comes second: zoo train METHOD TASK.",
}
"""An option of another tool that is not an option here -> what is done instead."""


def fold(word: str) -> str:
    """`BERT_IMDB` -> `bert-imdb`."""
    return word.strip().casefold().replace("_", "-")


def closest(word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str | None:
    """The known word that was meant, or None where none is near."""
    words = {fold(one): one for one in known}
    folded = fold(word)
    meant = (synonyms or {}).get(folded)
    if folded in words or meant in words.values():
        return words.get(folded, meant)
    parts = [one for one in words if folded in one.split("-")]
    if len(parts) == 1:
        return words[parts[0]]
    near = difflib.get_close_matches(folded, words, n=3, cutoff=0.6)
    return words[max(near, key=lambda one: _likeness(folded, one))] if near else None


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
    return (f" Did you mean '{near}'?", instead(near, word)) if near else ("", otherwise)
