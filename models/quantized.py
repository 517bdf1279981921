"""Makes models/int8 from the float networks beside it: the command of recipes/quantized.py."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
runpy.run_module("recipes.quantized", run_name="__main__")
