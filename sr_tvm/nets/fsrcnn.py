"""FSRCNN (Dong, Loy, Tang 2016, "Accelerating the Super-Resolution Convolutional Neural Network")."""

from __future__ import annotations

from torch import Tensor, nn

# The paper's count of FSRCNN(56, 12, 4): the weights of its convolutions at any scale, the 9x9 deconvolution included,
# but neither the 173 biases nor the 172 PReLU slopes. With these torch counts 12,809.
PUBLISHED_WEIGHTS = 12_464


def _conv(cin: int, cout: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(cin, cout, kernel, padding=kernel // 2), nn.PReLU(cout))


class FSRCNN(nn.Module):
    """Luma in 0..1, shape (N, 1, H, W), to (N, 1, scale H, scale W).

    Feature extraction 5x5 (d filters), shrinking 1x1 (to s), m mappings 3x3, expanding 1x1 (back to d), each with a
    PReLU per channel, and a 9x9 transposed convolution of stride ``scale``. The transposed convolution pads by 4 and
    adds ``scale - 1`` rows and columns at the end, so that the output is exactly ``scale`` times as large.
    """

    def __init__(self, scale: int = 2, d: int = 56, s: int = 12, m: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(_conv(1, d, 5), _conv(d, s, 1), *(_conv(s, s, 3) for _ in range(m)), _conv(s, d, 1))
        self.up = nn.ConvTranspose2d(d, 1, 9, stride=scale, padding=4, output_padding=scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge pictures.

        Args:
            x: Luma in 0..1, (N, 1, H, W), float32.

        Returns:
            Luma, (N, 1, scale H, scale W), not clipped to 0..1.
        """
        return self.up(self.body(x))
