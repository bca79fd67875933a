"""Completes words of `zoo` in a shell: each has a script, which asks `answer`, which asks `values`."""
