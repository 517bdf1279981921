"""What is compiled for phones that are not at hand: OpenCL and Hexagon kernels, counted, and C libraries."""
