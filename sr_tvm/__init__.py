"""sr-tvm: search, train, compile, tune and measure super-resolution networks for phones, on Apache TVM.

Importing this package is instant; TVM, torch and the rest load inside the functions that need them.
"""

__version__ = "0.1.0"
