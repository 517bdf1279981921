"""Schedules of kernels that no tuning record covers."""
