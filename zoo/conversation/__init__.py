"""Chat models: conversations as they are written, tokenised, learned from and held."""
