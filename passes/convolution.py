"""A convolution of constant weights, standard or transposed, of any groups: a linear map that can take in a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from sr_tvm.passes.constants import array, constant

# Layouts of data and weights that we read: ONNX has no others.
_LAYOUTS = {"relax.nn.conv2d": ("NCHW", "OIHW"), "relax.nn.conv2d_transpose": ("NCHW", "IOHW")}


@dataclass(frozen=True)
class Convolution:
    """``weight`` in float64, OIHW, or IOHW where ``transposed``; per-channel arrays below have one axis."""

    call: relax.Call
    weight: np.ndarray
    transposed: bool
    groups: int

    @classmethod
    def of(cls, value: relax.Expr) -> Convolution | None:
        """The convolution that ``value`` is. None for other operators, layouts, and weights that are no constant."""
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op) or value.op.name not in _LAYOUTS:
            return None
        attrs = value.attrs
        weight = array(value.args[1])
        layouts = (attrs.data_layout, attrs.kernel_layout)
        if weight is None or layouts != _LAYOUTS[value.op.name] or attrs.out_layout not in ("", "NCHW"):
            return None
        return cls(value, weight, value.op.name.endswith("transpose"), int(attrs.groups))

    @property
    def data(self) -> relax.Expr:
        return self.call.args[0]

    @property
    def channels_in(self) -> int:
        return self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups

    @property
    def channels_out(self) -> int:
        return self.weight.shape[1] * self.groups if self.transposed else self.weight.shape[0]

    @property
    def adds_borders(self) -> bool:
        """Whether some output pixels see fewer input pixels than others, so that a shift before is no constant after.

        Zero padding does it. So does any transposed convolution but the 1x1 of stride 1: outputs overlap unevenly.
        """
        attrs = self.call.attrs
        if self.transposed:
            plain = tuple(self.weight.shape[2:]) == (1, 1) and all(int(s) == 1 for s in attrs.strides)
            return not plain or any(int(p) for p in (*attrs.padding, *attrs.output_padding))
        return any(int(p) for p in attrs.padding)

    def scale_output(self, scale: np.ndarray) -> Convolution:
        """Multiply output channel o by ``scale[o]``."""
        if not self.transposed:
            return self._with(self.weight * scale[:, None, None, None])
        grouped = self._by_group(self.weight) * scale.reshape(self.groups, 1, -1, 1, 1)
        return self._with(grouped.reshape(self.weight.shape))

    def scale_input(self, scale: np.ndarray) -> Convolution:
        """Take in a multiplication of input channel i by ``scale[i]``. Always exact: zero padding stays zero."""
        if self.transposed:
            return self._with(self.weight * scale[:, None, None, None])
        grouped = self._by_group(self.weight) * scale.reshape(self.groups, 1, -1, 1, 1)
        return self._with(grouped.reshape(self.weight.shape))

    def shifted_by(self, shift: np.ndarray) -> np.ndarray:
        """What adding ``shift[i]`` to input channel i adds to each output. Only without :attr:`adds_borders`."""
        assert not self.adds_borders
        taps = self._by_group(self.weight.sum(axis=(2, 3)))
        by_group = shift.reshape(self.groups, -1)
        order = "gio,gi->go" if self.transposed else "goi,gi->go"
        return np.einsum(order, taps, by_group).reshape(-1)

    def on(self, data: relax.Expr) -> relax.Call:
        """The call of this convolution on ``data``."""
        return relax.Call(self.call.op, [data, constant(self.weight, self.call.args[1])], self.call.attrs)

    def _by_group(self, weight: np.ndarray) -> np.ndarray:
        """Split the first axis, which runs over groups in both layouts."""
        return weight.reshape(self.groups, -1, *weight.shape[1:])

    def _with(self, weight: np.ndarray) -> Convolution:
        return Convolution(self.call, weight, self.transposed, self.groups)
