"""Single images of many kinds to pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bitfront.supernet.data.decode import BrokenImageError, Form, decoded

AS_FOUND = Form(None, None)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def colour() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["png", "bmp", "ppm", "tiff"])
def test_lossless_kinds_keep_every_pixel(colour: Image.Image, kind: str) -> None:
    np.testing.assert_array_equal(decoded(_saved(colour, kind), AS_FOUND), np.asarray(colour).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "YCbCr"])
def test_modes_that_become_colour(colour: Image.Image, mode: str) -> None:
    kind = "png" if mode in ("RGBA", "P") else "tiff"
    converted = colour.convert(mode)
    pixels = decoded(_saved(converted, kind), AS_FOUND)
    np.testing.assert_array_equal(pixels, np.asarray(converted.convert("RGB")).transpose(2, 0, 1))


def test_modes_that_become_grey(colour: Image.Image) -> None:
    grey = colour.convert("L")
    for image in (grey, grey.convert("LA")):
        np.testing.assert_array_equal(decoded(_saved(image, "png"), AS_FOUND)[0], np.asarray(grey))
    bits = grey.point(lambda value: 255 * (value > 127)).convert("1")
    assert set(np.unique(decoded(_saved(bits, "png"), AS_FOUND))) <= {0, 255}


def test_sixteen_bits_keep_the_upper_ones() -> None:
    values = np.arange(36, dtype=np.uint16).reshape(6, 6) * 1_800
    pixels = decoded(_saved(Image.fromarray(values), "png"), AS_FOUND)
    np.testing.assert_array_equal(pixels[0], values >> 8)


def test_a_camera_that_was_held_upright(colour: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees
    pixels = decoded(_saved(colour, "png", exif=exif), AS_FOUND)
    np.testing.assert_array_equal(pixels, np.rot90(np.asarray(colour), -1).transpose(2, 0, 1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_camera_mark_is_no_damaged_image(colour: Image.Image) -> None:
    whole = _saved(colour, "jpeg", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\xff\xff")
    np.testing.assert_array_equal(decoded(whole, AS_FOUND), decoded(_saved(colour, "jpeg"), AS_FOUND))


def test_a_transparent_palette_warns_nobody(colour: Image.Image) -> None:
    image = colour.convert("P")
    assert decoded(_saved(image, "png", transparency=b"\x00\x80" * 20), AS_FOUND).shape == (3, 6, 6)


def test_the_middle_is_cut_out() -> None:
    wide = np.zeros((4, 12), dtype=np.uint8)
    wide[:, 4:8] = 200
    assert (decoded(wide, Form(4, None)) == 200).all()
    assert (decoded(np.ascontiguousarray(wide.T), Form(4, None)) == 200).all()
    assert decoded(wide, Form(2, 3)).shape == (3, 2, 2)


def test_conversion_follows_luma(colour: Image.Image) -> None:
    pixels = np.asarray(colour).astype(float)
    luma = pixels @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(decoded(np.asarray(colour), Form(None, 1))[0], luma, atol=1)
    grey = np.asarray(colour.convert("L"))
    np.testing.assert_array_equal(decoded(grey, Form(None, 3)), np.stack([grey] * 3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can not be opened"),
        (b"", "cannot identify"),
        (b"\x89PNG\r\n\x1a\n", "."),
        (b"GIF89a" + bytes(20), "."),
        (np.zeros((5, 5, 4), dtype=np.uint8), "neither 1 nor 3 channels"),
    ],
)
def test_broken_content(content: object, words: str) -> None:
    with pytest.raises(BrokenImageError, match=words):
        decoded(content, AS_FOUND)  # type: ignore[arg-type]


def test_pixels_of_no_bytes() -> None:
    image = Image.fromarray(np.ones((4, 4), dtype=np.float32))
    with pytest.raises(BrokenImageError, match="mode F, not of 8 bits"):
        decoded(_saved(image, "tiff"), AS_FOUND)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "tiff"])
def test_files_cut_off_anywhere(colour: Image.Image, kind: str) -> None:
    """Whatever a decoder raises is the same error, and what it does not mind has the right shape."""
    whole = _saved(colour.resize((40, 40)), kind)
    broken = 0
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        try:
            assert decoded(whole[:end], AS_FOUND).shape == (3, 40, 40)
        except BrokenImageError:
            broken += 1
    assert broken > 40
