"""Knows chat: conversations, templates, the loss on answers, and generation."""
