"""Knows pretrained models on disk: which weights they hold, how they are read and in which precision."""
