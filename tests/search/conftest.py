"""Searches of seconds."""

import pytest

from sr_tvm.records.architecture import Architecture
from sr_tvm.search.settings import SearchSettings


@pytest.fixture
def small():
    """Settings of a search with all phases but halving that takes a second; a supernet of 3 blocks with 6 channels."""

    def make(**changed):
        plain = dict(supernet=Architecture.uniform(2, 3, 6), budget=8.0, height=360, width=640, supernet_steps=3)
        plain |= dict(width_steps=6, race_steps=0, depth_steps=9, finetune_steps=5, batch=2, patch=16, validate_every=4)
        return SearchSettings(**plain | changed)

    return make
