"""Knows the record of an adapter and the file that lists all of them."""
