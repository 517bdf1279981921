"""How far the outputs of two artifacts are apart, on pictures."""
