"""Resize and Upsample in one form: output sizes as a constant input, all attributes written out."""

from __future__ import annotations

REWRITES: dict = {}
