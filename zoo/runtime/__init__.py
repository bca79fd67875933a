"""Knows the machine and the terminal: devices, processes, signals, messages and caches."""
