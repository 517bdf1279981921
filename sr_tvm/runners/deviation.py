"""How far an output may be from the reference's: the one place where candidates are judged right or wrong."""

from __future__ import annotations

import numpy as np

# Reordered sums of float32 differ by about 1e-6 of the largest output; a wrong schedule by far more.
TOLERANCE = {"float16": 2e-2, "bfloat16": 5e-2}
DEFAULT_TOLERANCE = 1e-4


def difference(what: str, actual: np.ndarray, expected: np.ndarray) -> str | None:
    """Say how a result is wrong, within the tolerance of its type.

    Floating-point values may be off by that part of the largest expected magnitude (of 1 where all are smaller); all
    others must be equal.

    Args:
        what: The name of the result, for the message.
        actual: What was computed.
        expected: What is right, of the same shape.

    Returns:
        One line that says how it is wrong; None where it is not.
    """
    if expected.dtype.kind not in "fV":
        return None if np.array_equal(actual, expected) else f"wrong result: {what} differs"
    peak = max(1.0, float(np.abs(expected).max(initial=0)))
    tolerance = TOLERANCE.get(str(expected.dtype), DEFAULT_TOLERANCE) * peak
    error = float(np.abs(actual.astype("float64") - expected).max(initial=0))
    if not error <= tolerance:  # NaN is wrong too
        return f"wrong result: {what} is off by {error:.3g}, allowed {tolerance:.3g}"
    return None
