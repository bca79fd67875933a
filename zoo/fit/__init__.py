"""Does an adapter fit a base: from names, shapes and configs alone, without a weight read."""
