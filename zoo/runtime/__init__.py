"""Knows the machine and the terminal: devices, processes, signals, progress and caches."""
