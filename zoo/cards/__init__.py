"""Model cards: made from records, held against them, and kept where somebody wrote on them."""
