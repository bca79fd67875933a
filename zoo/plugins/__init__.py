"""Knows what a plugin is: the hooks, the base classes for authors, and the packages that are installed."""
