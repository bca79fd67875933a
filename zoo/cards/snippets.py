"""Writes the Python of a card that loads an adapter; untrusted text appears in it only as string literals."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from zoo.plugins.method import Method
    from zoo.registry.schema import AdapterRecord
    from zoo.tasks.base import Task

AUTO_CLASSES = {
    "SEQ_CLS": "AutoPeftModelForSequenceClassification",
    "TOKEN_CLS": "AutoPeftModelForTokenClassification",
    "QUESTION_ANS": "AutoPeftModelForQuestionAnswering",
    "CAUSAL_LM": "AutoPeftModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoPeftModelForSeq2SeqLM",
    "FEATURE_EXTRACTION": "AutoPeftModelForFeatureExtraction",
}
"""PEFT's task type -> its class that loads adapter and base at once."""


_IMPORT = re.compile(r"(import|from) [^(]+")


def literal(text: str) -> str:
    """A Python string, whatever is in it."""
    return json.dumps(text, ensure_ascii=False) if text.isprintable() else ascii(text)


def base_arguments(record: AdapterRecord) -> str:
    """What `from_pretrained` takes of the base, at the commit that it was trained on."""
    if record.format == "transformers":
        return "folder"
    base = record.base
    at = base.revision and not base.id.startswith("local:")
    return literal(base.reference) + (f", revision={literal(base.revision or '')}" if at else "")


def usage(record: AdapterRecord, task: Task | None, method: Method | None, repo: str | None = None) -> str:
    """The code that loads the adapter from its folder, or from `repo` on the Hub, and runs it."""
    record = msgspec.structs.replace(record, name=repo or record.name)
    if task is None or method is None:
        return _unknown(record)
    restore = method.usage()
    if repo and record.format == "zoo":  # such methods read a folder
        fetch = "from huggingface_hub import snapshot_download\n\nfolder = snapshot_download(folder)\n"
        restore = fetch + restore
    return _imports_first(task.usage(record, restore))


def _imports_first(code: str) -> str:
    """A task's lines and a method's, each of which bring their imports."""
    imports: set[str] = set()
    rest, after_import = [], False
    for line in code.strip().splitlines():
        if _IMPORT.fullmatch(line):
            imports.add(line)
            after_import = True
        elif line or not after_import:
            rest.append(line)
            after_import = False
    return "\n".join([*sorted(imports, key=lambda line: (line.startswith("from"), line)), "", *rest, ""])


def at_once(record: AdapterRecord, task: Task | None, repo: str | None = None) -> str | None:
    """The same by PEFT's class that finds the base by itself, where there is one."""
    if record.format != "peft" or task is None or task.peft_type not in AUTO_CLASSES:
        return None
    name = AUTO_CLASSES[task.peft_type]
    labels = f", num_labels={len(record.labels)}" if record.labels else ""
    folder = literal(repo or record.name)
    return f"from peft import {name}\n\nmodel = {name}.from_pretrained({folder}{labels})"


def _unknown(record: AdapterRecord) -> str:
    """For an adapter of which nobody recorded what it does: its config tells PEFT."""
    name = literal(record.name)
    if record.format == "transformers":
        return f"from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained({name})"
    labels = f", num_labels={len(record.labels)}" if record.labels else ""
    return f"""import peft

folder = {name}
config = peft.PeftConfig.from_pretrained(folder)
names = {json.dumps(AUTO_CLASSES, indent=4)}
model = getattr(peft, names.get(config.task_type, "AutoPeftModel")).from_pretrained(folder{labels})
"""
