"""Random regions, and what they compute, lie with the tests of streaming and of forming regions."""

import sys
from pathlib import Path

for folder in ("passes", "streaming"):
    sys.path.insert(0, str(Path(__file__).parents[2] / folder))
