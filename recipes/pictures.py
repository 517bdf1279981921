"""The folder of pictures that everything is trained and scored on: what is in it, and that the two do not mix."""

from __future__ import annotations

import os
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.pictures import SUFFIXES
from sr_tvm.training.data import Pairs
from sr_tvm.training.session import refuse_leak


def train_folders(data: Path) -> list[Path]:
    """List the folders of training pictures, each a set of its own.

    Args:
        data: Holds train/SET and eval/SET, among them eval/Set5.

    Returns:
        The folders in data/train, in order of name.

    Raises:
        SrTvmError: There is none, or Set5 is missing.
    """
    found = sorted(p for p in (data / "train").glob("*") if p.is_dir())
    if not found:
        raise SrTvmError(f"{data / 'train'}: no folder of training pictures in it, such as train/BSDS400")
    if not (data / "eval" / "Set5").is_dir():
        raise SrTvmError(f"{data / 'eval' / 'Set5'}: no such folder; it holds the pictures to score on while training")
    return found


def eval_folders(data: Path) -> list[Path]:
    """List the folders in eval/ that hold pictures, at any depth: test sets are often packed a folder for each scale.

    Args:
        data: Holds eval/SET.

    Returns:
        All that have a picture in themselves.
    """
    tops = sorted(p for p in (data / "eval").glob("*") if p.is_dir())
    walked = (walk for top in tops for walk in os.walk(top))  # a top may be a link
    return [Path(place) for place, _, names in walked
            if any(Path(n).suffix.lower() in SUFFIXES and not n.startswith(".") for n in names)]  # fmt: skip


def refuse_leaks(pairs: Pairs, data: Path) -> None:
    """Raise an error when a training picture is also one of eval/, in whichever set.

    Pictures are compared as they are cut for the scale of ``pairs``. A test set that was cut beforehand, to a multiple
    of 4 say, is recognised at that scale and perhaps at no other, so each scale that is trained is worth a look.

    Args:
        pairs: The training pictures, at one scale.
        data: Holds eval/SET.

    Raises:
        SrTvmError: A picture is in both; the message names both files.
    """
    for folder in eval_folders(data):
        refuse_leak(pairs, folder)
