"""Whole blocks as one kernel that streams rows: what a fused region computes, its decisions, and its lowerings."""
