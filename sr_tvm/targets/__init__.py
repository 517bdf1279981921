"""What we compile for. One file per target: its TVM target, how it lowers, how it links."""
