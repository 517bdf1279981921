"""The reference lies with the tests of forming regions; both folders use it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "passes"))
