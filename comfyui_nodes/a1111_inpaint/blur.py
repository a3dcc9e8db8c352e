"""The mask blur of Stable Diffusion WebUI: a Gaussian in two passes, each rounded to whole levels.

Knows levels (0 to 255) and pixels; must not know what the mask is for.
Rule: A1111 v1.10.1, `modules/processing.py` 1621-1631: sigma = mask_blur, radius int(2.5 sigma + 0.5), reflect-101,
whole levels after each pass.
"""

import torch


def blur_radius(sigma: int) -> int:
    """How many pixels the blur reaches to each side."""
    return int(2.5 * sigma + 0.5)


def mirrored_indices(length: int, radius: int) -> torch.Tensor:
    """Indices of a row of `length` pixels carried on by `radius` to both sides, mirrored without repeating the edge.

    A radius beyond the row bounces back and forth, as often as it takes.
    """
    period = max(2 * (length - 1), 1)
    index = torch.arange(-radius, length + radius) % period
    return torch.minimum(index, (period - index) % period) if length > 1 else torch.zeros_like(index)


def _transform_length(at_least: int) -> int:
    """The next even number without a prime factor above 5; other lengths can take three times as long."""
    length = at_least + at_least % 2
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 2


def _blur_rows(levels: torch.Tensor, sigma: int) -> torch.Tensor:
    """One pass along the rows of float32 (height, width), by FFT: its cost hardly grows with sigma."""
    radius = blur_radius(sigma)
    width = levels.shape[1]
    offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(torch.float32)
    length = _transform_length(width + 2 * radius)
    around = mirrored_indices(width, radius)
    carried_on = torch.cat([levels[:, around[:radius]], levels, levels[:, around[-radius:]]], 1)
    spectrum = torch.fft.rfft(carried_on, length)
    blurred = torch.fft.irfft(spectrum.mul_(torch.fft.rfft(weights, length)), length)
    return blurred[:, 2 * radius : 2 * radius + width].round_()


def gaussian_blur(levels: torch.Tensor, sigma: int) -> torch.Tensor:
    """Blurs levels 0..255, uint8 (height, width), rows first. Sigma 0 gives the input.

    Only the box that the blur can reach is computed: all around it the mask is zero and stays so.
    """
    rows, columns = levels.any(dim=1).nonzero(), levels.any(dim=0).nonzero()
    if sigma == 0 or not len(rows):
        return levels
    reach = blur_radius(sigma) + 1
    top, bottom = max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1
    left, right = max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1
    box = _blur_rows(levels[top:bottom, left:right].to(torch.float32), sigma)
    box = _blur_rows(box.T.contiguous(), sigma).T
    blurred = torch.zeros_like(levels)
    blurred[top:bottom, left:right] = box.clamp_(0, 255)  # the transform's noise may pass 0 or 255 by a hair
    return blurred
