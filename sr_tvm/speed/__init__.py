"""Latency from widths: the speed data set, the models fitted to it, and the loop back."""
