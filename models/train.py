"""Makes everything in models/ but models/speed, from pictures: the command of recipes/train.py."""

import importlib.util
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if importlib.util.find_spec("sr_tvm") is None:  # a bare checkout, with wheels of what is missing in runs/wheels
    sys.path[:0] = map(str, sorted((ROOT / "runs" / "wheels").glob("*.whl")))
sys.path.insert(0, str(ROOT))
runpy.run_module("recipes.train", run_name="__main__")
