"""Checks untrusted files before anything loads them, and our own before they are published."""
