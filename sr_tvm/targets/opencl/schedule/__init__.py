"""Schedules of kernels that are in no region and that no tuning record covers, where TVM's own are poor."""
