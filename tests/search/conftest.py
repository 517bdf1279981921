"""Small pictures and speed models for searches of seconds."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from sr_tvm.architecture import Architecture
from sr_tvm.search.settings import Settings


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """(training folder of 3 pictures of 64x80, validation folder of one)."""
    root = tmp_path_factory.mktemp("pictures")
    train, validate = root / "train", root / "validate"
    train.mkdir(), validate.mkdir()
    astronaut, coffee = data.astronaut(), data.coffee()
    for i in range(3):
        Image.fromarray(np.ascontiguousarray(astronaut[i * 90 : i * 90 + 64, 100:180])).save(train / f"{i}.png")
    Image.fromarray(np.ascontiguousarray(coffee[100:141, 100:151])).save(validate / "colour.png")
    return train, validate


@pytest.fixture
def small():
    """Settings of a search with all four phases that takes a second; a supernet of 3 blocks with 6 channels."""

    def make(**changed):
        plain = dict(supernet=Architecture.uniform(2, 3, 6), budget=8.0, height=360, width=640, supernet_steps=3)
        plain |= dict(width_steps=6, depth_steps=9, finetune_steps=5, batch=2, patch=16, validate_every=4)
        return Settings(**plain | changed)

    return make
