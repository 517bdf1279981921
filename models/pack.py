"""Packs the training pictures into one file that is small enough to travel: the command of recipes/pack.py."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
runpy.run_module("recipes.pack", run_name="__main__")
