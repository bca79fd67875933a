"""Knows trained adapters: loads, evaluates, probes, verifies and merges them."""
