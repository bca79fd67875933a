"""Publishes adapters to the Hugging Face Hub, searches for them there, and pulls and imports them."""
