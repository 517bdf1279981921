"""The runtime of packaged networks: C11 and pthreads, in headers that one generated file includes."""

from __future__ import annotations

from pathlib import Path

NATIVE = Path(__file__).with_name("native")
