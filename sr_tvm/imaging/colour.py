"""The luma of ITU-R BT.601, once: what :mod:`~sr_tvm.imaging.planes` and :mod:`~sr_tvm.imaging.metrics` weigh by."""

from __future__ import annotations

# Of red, green and blue, each 0..255, to Y 16..235 less its 16: studio range, MATLAB's rgb2ycbcr.
STUDIO_SUMS = (65.481, 128.553, 24.966)
STUDIO_FOOT = 16
# To grey of the full range: of three equal channels, that channel.
FULL_RANGE = (0.299, 0.587, 0.114)
