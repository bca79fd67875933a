"""Knows a training run from the request to the registered adapter."""
