"""The Hugging Face Hub: adapters go there, are found there and come from there."""
