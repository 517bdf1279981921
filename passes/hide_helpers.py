"""Keep the helpers of streamed kernels private to them."""

from __future__ import annotations

import tvm

from sr_tvm.passes.streamed import is_helper


@tvm.transform.module_pass(opt_level=0, name="HideHelpers")
class HideHelpers:
    """Take back the symbol that Relax's AttachGlobalSymbol gives to every TIR function.

    With one, TVM would make a helper an entry with an entry's calling convention, and its caller would miss it.
    """

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Remove the attribute ``global_symbol`` from every helper of a streamed kernel.

        Args:
            mod: A module after AttachGlobalSymbol.

        Returns:
            A new module; functions that are no helpers stay as they are.
        """
        mod = mod.clone()
        for var, function in mod.functions_items():
            if is_helper(function):
                mod[var] = function.without_attr("global_symbol")
        return mod
