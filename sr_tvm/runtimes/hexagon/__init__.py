"""Native code for Hexagon: the program that runs a network in the simulator, and the runtime of packaged networks."""

from __future__ import annotations

from pathlib import Path

NATIVE = Path(__file__).with_name("native")
