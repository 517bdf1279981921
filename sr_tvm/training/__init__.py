"""Data, the training loop, and the protocol that networks are scored by. Needs torch, not TVM."""
