"""Makes what models/ holds, from pictures; models/README.md has the commands. Not installed with the package."""

import time
from pathlib import Path

BEGUN = time.monotonic()  # for --minutes, which count what is loaded and prepared, too
ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
