"""VGG-16 (Simonyan and Zisserman 2014, configuration D), for the comparisons with published compilers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PUBLISHED_PARAMS = 138_357_544
# Output channels of the 3x3 convolutions; "M" halves the size.
LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


class VGG16(nn.Module):
    """Pictures of shape (N, 3, size, size) to (N, classes) scores.

    The published network has ``hidden`` 4096 and ``size`` 224; smaller ones make a light twin of the same layers.
    """

    def __init__(self, classes: int = 1000, hidden: int = 4096, size: int = 224) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in LAYERS:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * (size // 32) ** 2, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Score pictures.

        Args:
            x: (N, 3, size, size), float32.

        Returns:
            Scores before the softmax, (N, classes).
        """
        return self.classifier(torch.flatten(self.features(x), 1))
