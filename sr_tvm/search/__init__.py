"""The search: widths and depth of a network under a latency budget, by masks that are learned."""
