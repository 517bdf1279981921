"""What the tensors of a QDQ graph stand for while it is read: constants, bytes, and sums that are not bytes yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

INFINITE = (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that are known: float, or the integers of a QuantizeLinear, or those less their zero point with a scale.

    Attributes:
        numbers: As they are stored, or, where there is a ``scale``, integers less their zero point.
        scale: What a unit of ``numbers`` stands for, of a shape that goes with them; None: 1.
    """

    numbers: np.ndarray
    scale: np.ndarray | None = None

    @property
    def real(self) -> np.ndarray:
        """The numbers that are meant: float64, of the shape of ``numbers``."""
        whole = np.asarray(self.numbers, np.float64)
        return whole if self.scale is None else whole * self.scale


@dataclass(frozen=True, eq=False)
class Bytes:
    """A quantised tensor: a value of the integer network, and the pixel shuffle that lies between both.

    ``constant`` (C,) is what is added to the value's real numbers: a picture's zero point that its bytes do not need.
    """

    value: str
    shuffle: int
    constant: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Line:
    """Real numbers by channel: values' real numbers times gains, added up, and a constant; then what bends them.

    Attributes:
        terms: Values and their gains (C,).
        constant: (C,).
        slope: (C,) what is below zero is multiplied by; added to no constant before, maybe to one behind.
        limits: The least and the largest number that there is, after a clip.
        shuffle: A pixel shuffle that lies between channels as they are here and the tensor.
    """

    terms: tuple[tuple[str, np.ndarray], ...]
    constant: np.ndarray
    slope: np.ndarray | None = None
    limits: tuple[float, float] = INFINITE
    shuffle: int = 1

    def times(self, gain: np.ndarray) -> Line | None:
        """Multiply all of the line by channel.

        Args:
            gain: (C,) factors.

        Returns:
            The product; None where a line can't hold it: it is clipped, or bent and multiplied by less than 0.
        """
        if self.limits != INFINITE or self.slope is not None and (gain < 0).any():
            return None
        return replace(self, terms=tuple((name, g * gain) for name, g in self.terms), constant=self.constant * gain)

    def plus(self, addend: np.ndarray) -> Line | None:
        """Add a constant by channel.

        Args:
            addend: (C,) real numbers.

        Returns:
            The sum; None where a line can't hold it: it is clipped.
        """
        return None if self.limits != INFINITE else replace(self, constant=self.constant + addend)

    def bent(self, slope: np.ndarray) -> Line | None:
        """Multiply what is below zero by a slope: a PReLU, or by 0 a ReLU.

        Args:
            slope: (C,) factors.

        Returns:
            The bent line; None where a line can't hold it: it is bent or clipped already, has several terms, or a
            constant.
        """
        if self.slope is not None or self.limits != INFINITE or len(self.terms) != 1 or self.constant.any():
            return None
        return replace(self, slope=slope)


@dataclass(frozen=True, eq=False)
class Product:
    """The sums of a convolution, before they are quantised.

    Attributes:
        name: Name of the tensor that the convolution makes.
        source: The value that it reads.
        weight: (O, I, kh, kw) int8.
        unit: (O,) what a unit of the sums stands for.
        bias: (O,) int64, in such units, with the zero points of the source folded in.
        slope: (O,) of a PReLU behind it.
        fraction: Bits below a byte before the PReLU, where the file says; None: it does not.
    """

    name: str
    source: str
    weight: np.ndarray
    unit: np.ndarray
    bias: np.ndarray
    slope: np.ndarray | None = None
    fraction: int | None = None
    limits: tuple[float, float] = INFINITE
    shuffle: int = 1


@dataclass(frozen=True, eq=False)
class Total:
    """The sum of a convolution and another, or of one and a value or halfwords."""

    first: Product
    second: Product | Line | Halfwords
    limits: tuple[float, float] = INFINITE
    shuffle: int = 1


@dataclass(frozen=True, eq=False)
class Halfwords:
    """A sum of a residual path that stays in 16 bits: it is quantised, and added to as it was before that.

    Attributes:
        value: The s16.
        quantized: The bytes that are made of it.
    """

    value: str
    quantized: str
    limits: tuple[float, float] = INFINITE
    shuffle: int = 1


Real = Line | Product | Total | Halfwords
Tensor = Constant | Bytes | Line | Product | Total | Halfwords


@dataclass(frozen=True, eq=False)
class Steps:
    """What the bytes of a QuantizeLinear stand for: ``scale`` * (byte - ``zero_point``).

    Signed bytes are kept as those 128 larger, without sign.

    Attributes:
        scale: What a step of the bytes stands for; above 0.
        zero_point: (1,) or (C,) int64, 0...255.
    """

    scale: float
    zero_point: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
