"""Sentiment of film reviews (IMDB, Maas et al. 2011, aclanthology.org/P11-1015) with a BERT encoder."""

import re

from zoo import TextClassification

zoo_api = 1
_BREAK = re.compile(r"\s*<br\s*/?>\s*", re.IGNORECASE)


class BertImdb(TextClassification):
    name = "bert-imdb"
    summary = "sentiment of film reviews (IMDB) with a BERT encoder"
    bases = ("hub:google-bert/bert-base-cased", "pip:sentence-transformers/all-MiniLM-L6-v2")
    data = ("hub:stanfordnlp/imdb", "pip:stanfordnlp/imdb")
    language = "en"
    epochs = 2.0

    def clean(self, text: str) -> str:
        # the reviews come with their line breaks as HTML, which a tokenizer reads as five words
        return _BREAK.sub("\n", text)
