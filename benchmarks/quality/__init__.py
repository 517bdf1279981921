"""How good the pictures are, what in training is worth how much, and whether every step computes the same."""
