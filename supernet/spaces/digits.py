"""The space for scikit-learn's handwritten digits: small enough to train on two CPU cores in minutes."""

from __future__ import annotations

from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

_FORMATS = ("fp32", "int8", "int6", "int4")


def digits(*, classes: int = 10, in_channels: int = 1) -> MBConvSpace:
    """Small, for 8x8 grey images at 6, 8 or 12 pixels: three stages of one to three blocks."""
    frame = MBConvConfig(
        in_channels=in_channels,
        classes=classes,
        stem_channels=8,
        stem_stride=1,
        stages=(
            StageConfig(out_channels=12, stride=2, depths=(1, 2, 3), widths=(4, 8, 16, 24, 32)),
            StageConfig(out_channels=20, stride=2, depths=(1, 2, 3), widths=(8, 16, 32, 48, 64)),
            StageConfig(out_channels=32, stride=1, depths=(1, 2), widths=(8, 24, 48, 80)),
        ),
        head_channels=64,
        resolutions=(6, 8, 12),
        weight_formats=_FORMATS,
        activation_formats=_FORMATS,
        end_formats=("fp32", "int8"),
    )
    return MBConvSpace("digits", frame)
