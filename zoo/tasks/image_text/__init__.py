"""Knows retrieval between pictures and captions."""
