"""Data, metrics and the training loop. Needs torch, not TVM."""
