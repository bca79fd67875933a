"""Knows rows: files, columns, the held-out rule, their tokens and batches."""
