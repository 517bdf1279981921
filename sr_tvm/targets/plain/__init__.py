"""Scalar loops, for whatever compiles TIR: the reference of all lowerings."""
