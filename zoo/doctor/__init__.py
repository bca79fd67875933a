"""What is wrong with a zoo, its bases and its machine, and the command that mends each."""
