"""Defines tasks that fine-tune a chat model: the loss is on the assistant's tokens only.

TRL's SFTTrainer would not save code here: its collator, packing and truncation bring their own rows and
batches, so checkpoints, token budget, progress and memory retries would be built on top of it a second time.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cards.snippets import base_arguments, literal
from zoo.data.files import Example
from zoo.errors import DataError
from zoo.models.families import kind_of
from zoo.models.loading import load_tokenizer
from zoo.tasks.base import Task
from zoo.tasks.causal_lm.chat_template import IGNORED, check_template, encode, fit, has_template, prompt_ids
from zoo.tasks.causal_lm.conversations import COLUMNS, Message, UnusableError, read_conversations
from zoo.tasks.causal_lm.generation import Sampling, answer

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame
    from torch import Tensor

    from zoo.adapters.load import LoadedAdapter
    from zoo.plugins.run import Run
    from zoo.registry.schema import AdapterRecord, Metric
    from zoo.runtime.console import Report

SAMPLES = 3
"""Held-out conversations that the model answers before and after training, for the record."""
_FOR_SAMPLES = Sampling(max_new_tokens=64)


class CausalLanguageModelling(Task):
    """A plugin sets names and defaults. An example is `{"messages": [...]}`, see conversations.py."""

    columns = COLUMNS
    peft_type = "CAUSAL_LM"
    auto_class = "AutoModelForCausalLM"
    pipeline_tag = "text-generation"
    primary_metric = "loss"
    max_length = 1024
    eval_limit = 500

    def examples(
        self, frames: Mapping[str, DataFrame], columns: Mapping[str, str], location: str, report: Report
    ) -> tuple[dict[str, list[Example]], list[str]]:
        splits: dict[str, list[Example]] = {}
        lost: Counter[str] = Counter()
        first: dict[str, str] = {}
        forms = []
        for split, frame in frames.items():
            form, rows = read_conversations(frame, columns, location)
            forms.append(form)
            splits[split] = [{"messages": row} for row in rows if not isinstance(row, UnusableError)]
            for number, row in enumerate(rows, 1):
                if isinstance(row, UnusableError):
                    lost[str(row)] += 1
                    first.setdefault(str(row), f"{split} row {number}")
        said = "; ".join(f"{count} {reason} (first: {first[reason]})" for reason, count in lost.items())
        if not any(splits.values()):
            raise DataError(f"{location} has no conversation to learn from: {said}.")
        report.say(f"{location} holds conversations in the {' and '.join(dict.fromkeys(forms))} form")
        if said:
            report.warn(f"conversations of {location} are left out: {said}.")
        return {split: rows for split, rows in splits.items() if rows}, []

    def key(self, example: Example) -> str:
        return json.dumps(example["messages"], ensure_ascii=False)

    def example(self, given: Any) -> Example:
        return {"messages": [{"role": "user", "content": given}]}

    def refuses_base(self, folder: Path, config: Mapping[str, Any]) -> str | None:
        if kind_of(config) is not None:
            return f"is a {config.get('model_type')} model, and {self.name} needs a language model that chats"
        return None if has_template(folder) else "has no chat template"

    def load_processor(self, folder: Path) -> Any:
        tokenizer = load_tokenizer(folder)
        check_template(tokenizer)
        return tokenizer

    def encode(self, examples: Sequence[Example], processor: Any, max_length: int) -> list[dict[str, Any]]:
        """Rows with one label per token; `cut` and `lost` count truncated tokens of prompt and answer."""
        rows = []
        for example in examples:
            messages: list[Message] = example["messages"]
            if messages[-1]["role"] != "assistant":  # a prompt to continue
                ids = prompt_ids(messages, processor)[-max_length:]
                rows.append({"input_ids": ids, "length": len(ids)})
                continue
            found = fit(encode(messages, processor), max_length, processor.bos_token_id)
            rows.append({**vars(found), "length": len(found.input_ids)})
        return rows

    def remarks(self, encoded: Iterable[Mapping[str, Any]], max_length: int) -> list[str]:
        rows = [(row["cut"], row["lost"]) for row in encoded]
        long, lost = sum(any(one) for one in rows), sum(lost > 0 for _, lost in rows)
        if not long:
            return []
        said = (
            f"{long:,} of {len(rows):,} conversations have more than {max_length} tokens: "
            "the front of their prompts is cut off"
        )
        return [
            f"{said}; {lost:,} of the answers do not fit either and lose their end." if lost else f"{said}."
        ]

    def collate(self, encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
        """Right-padded for training, left-padded for generation.

        `logits_to_keep` restricts the logits to positions that are learned in some row: the product with the
        vocabulary and its float32 loss are the larger part of a small model's memory.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        side = "right" if "labels" in encoded[0] else "left"
        ids = [torch.tensor(one["input_ids"]) for one in encoded]
        batch = {
            "input_ids": pad_sequence(ids, True, processor.pad_token_id, side),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], True, 0, side),
        }
        if "labels" in encoded[0]:
            labels = pad_sequence([torch.tensor(one["labels"]) for one in encoded], True, IGNORED)
            batch |= {"labels": labels, "logits_to_keep": _kept(labels)}
        return batch

    def pack(self, encoded: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, Tensor]:
        """All conversations in one row. Positions restart with each, so transformers masks the others.

        The first token of a conversation is never learned, so none is predicted from another conversation.
        It is not the default: of padded batches of 2,048 tokens only 4% is padding (800 instructions,
        truncated at 256 or 1,024), and attention over one long row costs more than that in kernels that do
        not skip masked blocks.
        """
        import torch

        def joined(name: str) -> Tensor:
            return torch.tensor([[value for one in encoded for value in one[name]]])

        labels = joined("labels")
        positions = torch.cat([torch.arange(one["length"]) for one in encoded])[None]
        return {
            "input_ids": joined("input_ids"),
            "position_ids": positions,
            "labels": labels,
            "logits_to_keep": _kept(labels),
        }

    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        from torch.nn.functional import cross_entropy

        logits, targets = _aligned(outputs.logits, labels)
        asked = targets != IGNORED
        total = cross_entropy(logits[asked].float(), targets[asked], reduction="sum")
        return total / (asked.sum() if num_items_in_batch is None else num_items_in_batch)

    def results(self, outputs: Any, labels: Tensor | None) -> Tensor:
        """(conversations, 2): the summed loss of the learned tokens, and their number."""
        import torch
        from torch.nn.functional import cross_entropy

        if labels is None:
            last: Tensor = outputs.logits[:, -1]
            return last
        logits, targets = _aligned(outputs.logits, labels)
        rows = []
        for row, target in zip(logits, targets, strict=True):
            asked = target != IGNORED  # row by row: a batch in float32 would take twice its logits again
            total = cross_entropy(row[asked].float(), target[asked], reduction="sum")
            rows.append(torch.stack([total, asked.sum().float()]))
        return torch.stack(rows)

    def measure(
        self, outputs: np.ndarray, encoded: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> list[Metric]:
        from zoo.tasks.metrics import token_loss

        return token_loss(outputs[:, 0], outputs[:, 1])

    def change(self, before: np.ndarray, after: np.ndarray) -> list[Metric]:
        from zoo.tasks.metrics import token_loss_change

        return token_loss_change(before[:, 0], after[:, 0], after[:, 1])

    def describe_baselines(self, train: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, str]:
        return {"untrained": "the untrained base"}

    def samples(self, run: Run, held_out: Sequence[Example]) -> list[tuple[str, str, str]]:
        found = []
        for example in held_out[:SAMPLES]:
            *before, last = example["messages"]
            said = answer(run.model, run.processor, before, _FOR_SAMPLES, run.precision)
            found.append((before[-1]["content"], last["content"], said))
        return found

    def predictions(self, outputs: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        raise NotImplementedError("answers are generated token by token: see predict")

    def predict(self, loaded: LoadedAdapter, inputs: Sequence[Any], report: Report) -> list[dict[str, Any]]:
        """The greedy answer to each input, each a conversation of its own, in fp32."""
        found = []
        with report.progress("answering", len(inputs)) as progress:
            for given in inputs:
                messages = self.example(given)["messages"]
                found.append({"answer": answer(loaded.model, loaded.processor, messages, Sampling(), "fp32")})
                progress.advance()
        return found

    def usage(self, record: AdapterRecord, restore: str) -> str:
        return f"""from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {literal(record.name)}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained({base_arguments(record)})
{restore}
messages = [{{"role": "user", "content": "What is an adapter?"}}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
answer = model.eval().generate(**inputs, max_new_tokens=128)[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""

    def command(self, name: str) -> str:
        return shlex.join(["zoo", "chat", name])

    def limits(self, record: AdapterRecord) -> list[str]:
        return [
            "The metrics are the likelihood of the answers in the held-out conversations. Whether what the "
            "model writes is true, useful or harmless was not measured."
        ]


def _kept(labels: Tensor) -> Tensor:
    """Positions whose next token is learned in any row, counted from the end: soft prompts come first."""
    learned = (labels[:, 1:] != IGNORED).any(0).nonzero().squeeze(1)
    return learned - labels.shape[1]


def _aligned(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the kept positions, (rows, kept, vocabulary), and their target tokens, (rows, kept)."""
    kept = _kept(labels)
    if logits.shape[1] != len(kept):  # a model that does not know `logits_to_keep`
        logits = logits[:, kept]
    return logits, labels[:, kept + 1 + labels.shape[1]]
