"""TVM's pass that makes a view of each plain reshape, for modules with streamed kernels."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.s_tir.stmt import SBlock, SBlockRealize

from sr_tvm.passes.streamed import is_streamed


@tvm.transform.module_pass(opt_level=0, name="ReshapeViews")
class ReshapeViews:
    """TVM's RewriteDataflowReshape for modules with streamed kernels.

    It expects TIR functions of blocks, so it is shown stubs in place of the streamed ones.
    """

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Make a view of each plain reshape.

        Args:
            mod: A module of TIR kernels.

        Returns:
            A new module, its streamed functions untouched.
        """
        streamed = {var: function for var, function in mod.functions_items() if is_streamed(function)}
        mod = mod.clone()
        nothing = SBlockRealize([], True, SBlock([], [], [], "root", tvm.tirx.Evaluate(0)))
        for var, function in streamed.items():
            mod[var] = tvm.tirx.PrimFunc(function.params, nothing)
        mod = relax.transform.RewriteDataflowReshape()(mod)
        for var, function in streamed.items():
            mod[var] = function
        return mod
