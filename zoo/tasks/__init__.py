"""Knows what can be learned: the kinds of task, their targets, losses and metrics."""
