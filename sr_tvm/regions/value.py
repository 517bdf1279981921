"""What a value of a region is in memory. Free of TVM."""

from __future__ import annotations

FLOAT32 = "float32"
