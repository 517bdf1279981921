"""Give the tensors that kernels read and write as images the memory of images."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax.op import vm

from sr_tvm.regions.value import TEXTURE


@tvm.transform.module_pass(opt_level=0, name="AllocateImages")
class AllocateImages:
    """Make images of the allocations of CallTIRRewrite that kernels take as images, each with its own storage.

    Relax would carry the scope in a tensor's virtual device, but loses it for kernels of several outputs, and gives it
    to whatever a kernel makes of an image; its memory planner knows storage by bytes alone, and an image has a shape.
    """

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Replace the allocations of images in a module's Relax functions.

        Args:
            mod: After CallTIRRewrite: kernels write into memory given to them.

        Returns:
            The module, changed in place.
        """
        for var, function in mod.functions_items():
            if isinstance(function, relax.Function):
                images = _images(mod, function)
                if images:
                    mod[var] = _Rewrite(images).visit_expr(function)
        return mod


def _images(mod: tvm.IRModule, function: relax.Function) -> set[relax.Var]:
    """Return the variables that some kernel takes as an image."""
    found: set[relax.Var] = set()

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call) and isinstance(node.op, tvm.ir.GlobalVar):
            callee = mod[node.op]
            if isinstance(callee, tirx.PrimFunc):
                for argument, parameter in zip(node.args, callee.params, strict=False):
                    if isinstance(argument, relax.Var) and _is_image(parameter):
                        found.add(argument)

    relax.analysis.post_order_visit(function, visit)
    return found


def _is_image(parameter: tirx.Var) -> bool:
    return tirx.is_buffer_var(parameter) and str(parameter.scope()) == TEXTURE


@relax.expr_functor.mutator
class _Rewrite(relax.PyExprMutator):
    def __init__(self, images: set[relax.Var]) -> None:
        super().__init__()
        self.images = images

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        value = binding.value
        if binding.var in self.images and isinstance(value, relax.Call) and value.op == _ALLOCATE:
            shape, dtype, device, _ = value.args
            storage = self.builder_.emit(vm.alloc_storage(shape, device, dtype, TEXTURE), "image")
            tensor = vm.alloc_tensor(storage, tvm.tirx.const(0, "int64"), shape, dtype)
            self.set_var_remap(binding.var, self.builder_.emit(tensor, binding.var.name))
            return
        super().visit_var_binding_(binding)


_ALLOCATE = tvm.ir.Op.get("relax.builtin.alloc_tensor")
