"""Knows which adapters fit which bases, from configs and safetensors headers."""
