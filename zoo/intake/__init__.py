"""Adapters that others made: what they are, what their files tell, and their way into the registry."""
