"""Machine code that Mesa's compilers make of OpenCL C for Adreno and Mali, counted without a phone.

Static counts of another compiler than the vendor's: what is slow by its instructions shows; caches, latency, clocks and
heat don't.
"""
