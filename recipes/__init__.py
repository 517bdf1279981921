"""Makes what models/ holds, from pictures: its commands are those of models/README.md. Not installed with the package."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
