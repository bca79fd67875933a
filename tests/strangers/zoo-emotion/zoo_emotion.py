"""Emotions of short messages (Saravia et al. 2018, aclanthology.org/D18-1404), with an encoder."""

from zoo import TextClassification

zoo_api = 1


class Emotion(TextClassification):
    name = "emotion"
    summary = "emotions of short messages"
    bases = ("hub:google-bert/bert-base-cased", "pip:sentence-transformers/all-MiniLM-L6-v2")
    data = ("hub:dair-ai/emotion",)
    labels = ("sadness", "joy", "love", "anger", "fear", "surprise")
    language = "en"
    max_length = 128

    def clean(self, text):
        return text.replace("\n", " ")
