"""The OpenCL runtime that TVM's wheel lacks: C++ in ``native/``, built once on this machine, loaded with TVM."""
