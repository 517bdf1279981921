"""Phone GPUs, by OpenCL."""
