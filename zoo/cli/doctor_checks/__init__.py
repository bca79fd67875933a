"""Knows what `zoo doctor` looks at."""
