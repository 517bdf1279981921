"""A compiled network as a small C library: what an app links, with nothing of TVM beside it."""
