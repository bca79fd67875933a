"""Knows model cards: rendered from records, compared with them, with a person's prose kept."""
