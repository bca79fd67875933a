"""Sentiment of film phrases (SST-2, Socher et al. 2013, aclanthology.org/D13-1170) with DistilBERT."""

from zoo import TextClassification

zoo_api = 1


class DistilbertSst2(TextClassification):
    name = "distilbert-sst2"
    summary = "sentiment of film phrases (SST-2) with DistilBERT"
    bases = ("hub:distilbert/distilbert-base-uncased", "pip:sentence-transformers/all-MiniLM-L6-v2")
    data = ("hub:nyu-mll/glue:sst2",)
    language = "en"
    epochs = 3.0
    max_length = 128
