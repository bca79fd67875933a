"""Do two sentences say the same? (MRPC, Dolan & Brockett 2005, aclanthology.org/I05-5002) With an encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo import Metric, TextClassification

zoo_api = 1
_YES = 1


class BertMrpc(TextClassification):
    name = "bert-mrpc"
    summary = "do two sentences say the same (MRPC), with a BERT encoder"
    bases = ("hub:google-bert/bert-base-cased", "pip:sentence-transformers/all-MiniLM-L6-v2")
    data = ("hub:nyu-mll/glue:mrpc",)
    columns = ("sentence1", "sentence2", "label")
    text_columns = ("sentence1", "sentence2")
    labels = ("not_equivalent", "equivalent")
    language = "en"
    epochs = 5.0
    batch_tokens = 1024
    max_length = 256

    def baselines(
        self, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], labels: Sequence[str]
    ) -> dict[str, list[Metric]]:
        found = super().baselines(train, held_out, labels)
        yes = self.constant(_YES, held_out, labels)
        # F1 asks for label 1 alone, so that always saying it is hard to beat even where it is the rarer one
        return found if found["majority"] == yes else {**found, "always-yes": yes}

    def describe_baselines(self, train: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, str]:
        return {
            **super().describe_baselines(train, labels),
            "always-yes": f"always answering '{labels[_YES]}'",
        }
