"""Random variation of training images: whole batches at once, on the device where the images are.

Everything is drawn at the images' own size and before they are brought to a resolution, so that with equally
seeded generators networks of unlike resolutions see the same variation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bitfront.supernet.data.resize import resize
from bitfront.supernet.errors import BitfrontError

_LIMITS = {"rotate": 180.0, "scale": 0.9, "shift": 1.0}


class AugmentationError(BitfrontError):
    """Settings of an augmentation that can not be met."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How training images are varied; the default is not at all. Lengths are pixels of the images' own size.

    Attributes:
        rotate: largest rotation in degrees, 0 to 180.
        scale: largest change of scale as a fraction, 0 to 0.9.
        shift: largest shift as a share of the side, 0 to 1.
        crop: the image is padded by so many pixels of its border, and as large a part as it was is cut out.
        flip: whether half of the images are mirrored from left to right.
        cutout: side of a square that is set to the mean, around any pixel (DeVries and Taylor 2017).
        mixup: alpha of the Beta distribution of `mixup`, which whoever has the labels calls; `augment` ignores it.

    Raises:
        AugmentationError: a value is out of range.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    crop: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rotate", "scale", "shift", "crop", "cutout", "mixup"):
            value, limit = getattr(self, name), _LIMITS.get(name, math.inf)
            if not (0 <= value <= limit and math.isfinite(value)):
                most = "" if math.isinf(limit) else f" to {limit:g}"
                raise AugmentationError(
                    f"augmentation.{name} = {value} is out of range: give a number from 0{most}"
                )

    @property
    def is_affine(self) -> bool:
        """Whether images are rotated, scaled or shifted by parts of pixels."""
        return bool(self.rotate or self.scale or self.shift)


NONE = Augmentation()
"""Images as they are."""

DRAWN = Augmentation(rotate=12, scale=0.1, shift=0.12)
"""For handwriting and drawings, where mirrored is another sign."""


def augment(images: Tensor, resolution: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Crop, flip, cut out, then rotate, scale and shift, at random and each image by itself.

    Args:
        images: (n, channels, size, size), normalised, so that 0 is the mean; left as they are.
        resolution: side of the result.
        settings: what is varied, and how far; ``mixup`` is not looked at.
        generator: on any device; it decides the result, so keep to one device for the same result.

    Returns:
        (n, channels, resolution, resolution) of the images' type and on their device.

    Raises:
        AugmentationError: ``crop`` is not smaller than the image.
    """
    theta = _affine(len(images), settings, generator) if settings.is_affine else None
    if settings.crop or settings.flip:
        images = crop_flip(images, settings.crop, settings.flip, generator)
    if settings.cutout:
        images = cutout(images, settings.cutout, generator)
    if theta is None:
        return resize(images, resolution)
    shape = [len(images), images.shape[1], resolution, resolution]
    grid = F.affine_grid(theta.to(images.device, images.dtype), shape, align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _affine(n: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Maps (n, 2, 3) from places in the result to places in the image, both from -1 to 1."""
    draw = torch.rand(4, n, generator=generator, device=generator.device) * 2 - 1
    angle, scale = draw[0] * (settings.rotate * torch.pi / 180), 1 + settings.scale * draw[1]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    reach = 2 * settings.shift
    rows = [torch.stack([cos, -sin, reach * draw[2]], 1), torch.stack([sin, cos, reach * draw[3]], 1)]
    return torch.stack(rows, 1)


def crop_flip(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """A random part of the padded image, as large as the image, and mirrored with a chance of one half.

    Padding repeats the border: mirrored pixels would show things twice, and the background is not always the mean.

    Args:
        images: (n, channels, size, size) of any type.
        padding: pixels on each side, 0 to size - 1.
        flip: whether to mirror at all.
        generator: as in `augment`.

    Raises:
        AugmentationError: ``padding`` is not smaller than the image.
    """
    n, _, _, size = images.shape
    if padding >= size:
        raise AugmentationError(
            f"augmentation.crop = {padding} is too much for images of {size} pixels: "
            f"give a number from 0 to {size - 1}"
        )
    place = generator.device
    offsets = torch.randint(-padding, padding + 1, (2, n, 1), generator=generator, device=place)
    mirrored = torch.randint(2, (n, 1), generator=generator, device=place).bool() if flip else None
    axis = torch.arange(size, device=place)
    rows, columns = ((axis + offset).clamp(0, size - 1) for offset in offsets)
    if mirrored is not None:
        columns = torch.where(mirrored, columns.flip(1), columns)
    return _picked(images, rows.to(images.device), columns.to(images.device))


def _picked(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``out[i, :, y, x] = images[i, :, rows[i, y], columns[i, x]]``, in the memory format of ``images``."""
    n, channels, size, _ = images.shape
    places = (rows[:, :, None] * size + columns[:, None, :]).reshape(n, -1)
    if channels > 1 and images.is_contiguous(memory_format=torch.channels_last):
        pixels = images.permute(0, 2, 3, 1).reshape(n * size * size, channels)
        first = torch.arange(n, device=images.device)[:, None] * (size * size)
        found = pixels.index_select(0, (places + first).reshape(-1))
        return found.reshape(n, size, size, channels).permute(0, 3, 1, 2)
    flat = images.reshape(n, channels, size * size)
    return flat.gather(2, places[:, None].expand(n, channels, -1)).reshape(images.shape)


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a square of ``side`` pixels around a uniformly drawn pixel to 0, as far as it lies in the image.

    Args:
        images: (n, channels, size, size), normalised.
        side: of the square; an even one reaches one pixel less to the right and down.
        generator: as in `augment`.
    """
    n, _, height, width = images.shape
    masks = []
    for length in (height, width):
        centres = torch.randint(length, (n, 1), generator=generator, device=generator.device)
        places = torch.arange(length, device=generator.device) - (centres - side // 2)
        masks.append((places >= 0) & (places < side))
    mask = (masks[0][:, None, :, None] & masks[1][:, None, None, :]).to(images.device)
    return images.clone().masked_fill_(mask, 0)  # in place, as only that keeps the memory format


def mixup(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with another of the batch (Zhang et al. 2018, equation 1).

    One share for the batch, drawn from Beta(alpha, alpha), as in the authors' program.

    Args:
        images: (n, ...) of a float type.
        targets: (n, classes) float, a probability per class.
        alpha: 0 leaves all as it is; the larger, the more even the blend.
        generator: as in `augment`.
    """
    if not alpha:
        return images, targets
    # torch's Beta takes no generator.
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    others = torch.randperm(len(images), generator=generator, device=generator.device).to(images.device)
    return images.lerp(images[others], 1 - share), targets.lerp(targets[others], 1 - share)
