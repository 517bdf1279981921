"""Makes everything in models/ but models/speed, from pictures: the command of recipes/train.py."""

import importlib.util
import os
import runpy
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if importlib.util.find_spec("sr_tvm") is None:  # a bare checkout, with wheels of what is missing in runs/wheels
    # msgspec's has a library, which cannot be loaded from within a wheel. Wheels for several Pythons share a folder:
    # they differ in the library alone, and it has another name in each.
    _unpacked = tempfile.TemporaryDirectory(prefix="sr-tvm-wheels-")
    for _wheel in sorted(Path(os.environ.get("SR_TVM_WHEELS", ROOT / "runs" / "wheels")).glob("*.whl")):
        with zipfile.ZipFile(_wheel) as _archive:
            _archive.extractall(_unpacked.name)
    sys.path.insert(0, _unpacked.name)
sys.path.insert(0, str(ROOT))
runpy.run_module("recipes.train", run_name="__main__")
