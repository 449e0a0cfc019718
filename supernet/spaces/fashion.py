"""A small space for 28x28 images and a CPU, such as Fashion-MNIST (Xiao et al. 2017) on two cores."""

from __future__ import annotations

from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace, StageConfig

_FORMATS = ("fp32", "int8", "int6", "int4")
# At 14 pixels and less a kernel of 7 sees little more than one of 5, and costs twice as much.
_KERNELS = (3, 5)


def fashion(*, classes: int = 10, in_channels: int = 1) -> MBConvSpace:
    """Grey images of 24 or 28 pixels; three stages of one to three blocks, 1.0 to 6.7 million MACs."""
    frame = MBConvConfig(
        in_channels=in_channels,
        classes=classes,
        stem_channels=16,
        stem_stride=2,
        stages=(
            StageConfig(out_channels=24, stride=1, depths=(1, 2), widths=(32, 48, 72), kernels=_KERNELS),
            StageConfig(out_channels=40, stride=2, depths=(1, 2, 3), widths=(64, 96, 120), kernels=_KERNELS),
            StageConfig(out_channels=80, stride=2, depths=(1, 2, 3), widths=(128, 176, 240), kernels=_KERNELS),
        ),
        head_channels=160,
        resolutions=(24, 28),
        weight_formats=_FORMATS,
        activation_formats=_FORMATS,
        end_formats=("fp32", "int8"),
    )
    return MBConvSpace("fashion", frame)
