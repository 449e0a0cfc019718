"""One stored image made to pixels of the wanted size and channels."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bitfront.supernet.data.readers.base import Content
from bitfront.supernet.errors import BitfrontError

Pixels = NDArray[np.uint8]
_MODES = {1: "L", 3: "RGB"}


class BrokenImageError(BitfrontError):
    """An image that can not be made to pixels."""


@dataclass(frozen=True, slots=True)
class Form:
    """What images are made to; None: as they are."""

    size: int | None
    channels: int | None


def decoded(content: Content, form: Form) -> Pixels:
    """Pixels (channels, height, width) with 1 or 3 channels.

    Grey is made of colour by ITU-R 601 luma, as Pillow does. A wanted ``size`` is met by scaling the shorter side
    (bilinear, antialiased) and cutting at the middle.

    Raises:
        BrokenImageError: the content lacks, is damaged, or is nothing that images are made of.
    """
    if content is None:
        raise BrokenImageError("it is empty or can not be opened")
    if isinstance(content, np.ndarray):
        pixels = _channels_last(content)
        height, width, channels = pixels.shape
        if form.channels in (None, channels) and (form.size is None or form.size == height == width):
            return np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return _formed(Image.fromarray(pixels[..., 0] if channels == 1 else pixels), form)
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _formed(_oriented(image), form)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can make a decoder raise anything
        raise BrokenImageError(str(error).replace("\n", " ")[:200] or type(error).__name__) from error


def _channels_last(pixels: Pixels) -> Pixels:
    """(h, w, 1 or 3) of (h, w), (h, w, 1 or 3) or (1 or 3, h, w)."""
    if pixels.ndim == 2:
        return pixels[..., None]
    if pixels.shape[2] in _MODES:
        return pixels
    if pixels.shape[0] in _MODES:
        return pixels.transpose(1, 2, 0)
    raise BrokenImageError(f"its shape {pixels.shape} has neither 1 nor 3 channels, at the end or at the front")


def _oriented(image: Image.Image) -> Image.Image:
    """Grey or colour of 8 bits, as a camera's orientation mark says."""
    with contextlib.suppress(Exception):  # of a damaged mark: what else is damaged is seen below
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow would cut values off at 255.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("1", "L", "LA"):
        return image.convert("L")
    if image.mode in ("I", "F"):
        raise BrokenImageError(f"its pixels are of mode {image.mode}, not of 8 bits")
    # By way of RGBA, as Pillow warns of palettes that are partly transparent.
    return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")


def _formed(image: Image.Image, form: Form) -> Pixels:
    if form.channels is not None and image.mode != _MODES[form.channels]:
        image = image.convert(_MODES[form.channels])
    if form.size is not None and image.size != (form.size, form.size):
        image = ImageOps.fit(image, (form.size, form.size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))
