"""Bilinear resizing, the one way in which images are brought to a network's resolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(images: Tensor, resolution: int) -> Tensor:
    """Bilinear resize to (n, c, resolution, resolution); part of every network's pre-processing."""
    if images.shape[-1] == resolution:
        return images
    return F.interpolate(images, (resolution, resolution), mode="bilinear", align_corners=False, antialias=False)
