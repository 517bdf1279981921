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
    """A call of conv2d or conv2d_transpose in NCHW whose weights are constant.

    Attributes:
        call: The call itself, from which data and attributes are read.
        weight: float64, OIHW (output channels, input channels of a group, rows, columns), or IOHW where ``transposed``.
        transposed: Whether it is a conv2d_transpose.
        groups: Into how many groups channels are divided; each is convolved on its own.
    """

    call: relax.Call
    weight: np.ndarray
    transposed: bool
    groups: int

    @classmethod
    def of(cls, value: relax.Expr) -> Convolution | None:
        """Read an expression as a convolution.

        Args:
            value: What a variable is bound to.

        Returns:
            The convolution; None for other operators, other layouts, and weights that are no constant.
        """
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
        """The tensor that is convolved, (N, ``channels_in``, H, W)."""
        return self.call.args[0]

    @property
    def channels_in(self) -> int:
        """How many channels the input has, those of all groups."""
        return self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups

    @property
    def channels_out(self) -> int:
        """How many channels the output has, those of all groups."""
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
        """Multiply output channel o by ``scale[o]``.

        Args:
            scale: (``channels_out``,), float64.

        Returns:
            The convolution with the scale in its weights. A bias after it has to be scaled by the caller.
        """
        if not self.transposed:
            return self._with(self.weight * scale[:, None, None, None])
        grouped = self._by_group(self.weight) * scale.reshape(self.groups, 1, -1, 1, 1)
        return self._with(grouped.reshape(self.weight.shape))

    def scale_input(self, scale: np.ndarray) -> Convolution:
        """Take in a multiplication of input channel i by ``scale[i]``. This is always exact: zero padding stays zero.

        Args:
            scale: (``channels_in``,), float64.

        Returns:
            The convolution that gives on x what this one gives on x times ``scale``.
        """
        if self.transposed:
            return self._with(self.weight * scale[:, None, None, None])
        grouped = self._by_group(self.weight) * scale.reshape(self.groups, 1, -1, 1, 1)
        return self._with(grouped.reshape(self.weight.shape))

    def shifted_by(self, shift: np.ndarray) -> np.ndarray:
        """Compute what an addition of ``shift[i]`` to input channel i adds to each output channel.

        It is one number a channel only where :attr:`adds_borders` is false, which the caller checks.

        Args:
            shift: (``channels_in``,), float64.

        Returns:
            (``channels_out``,), float64.
        """
        assert not self.adds_borders
        taps = self._by_group(self.weight.sum(axis=(2, 3)))
        by_group = shift.reshape(self.groups, -1)
        order = "gio,gi->go" if self.transposed else "goi,gi->go"
        return np.einsum(order, taps, by_group).reshape(-1)

    def on(self, data: relax.Expr) -> relax.Call:
        """Call this convolution on another tensor.

        Args:
            data: (N, ``channels_in``, H, W).

        Returns:
            The call, with the attributes of the old one and ``weight`` in the old one's element type.
        """
        return relax.Call(self.call.op, [data, constant(self.weight, self.call.args[1])], self.call.attrs)

    def _by_group(self, weight: np.ndarray) -> np.ndarray:
        """Return the weight with its first axis, which runs over groups in both layouts, split in two."""
        return weight.reshape(self.groups, -1, *weight.shape[1:])

    def _with(self, weight: np.ndarray) -> Convolution:
        return Convolution(self.call, weight, self.transposed, self.groups)
