"""How channels are rounded and how maps shrink, alike in every family of spaces."""

from __future__ import annotations

from bitfront.supernet.genes import FormatPair, Gene

_STEP = 8
_MOST_LOST = 0.1


def divisible(channels: float, step: int = _STEP) -> int:
    """The nearest multiple of ``step``, at least one step, that loses at most a tenth of ``channels``.

    The rule of the MobileNets (Sandler et al. 2018), by which Once-for-All scales channels.
    """
    rounded = max(step, int(channels + step / 2) // step * step)
    return rounded + step if rounded < (1 - _MOST_LOST) * channels else rounded


def size_after(size: int, strides: tuple[int, ...]) -> int:
    """Side of a map after layers of odd kernels and 'same' padding with these strides."""
    for stride in strides:
        size = (size - 1) // stride + 1
    return size


def format_genes(
    prefix: str,
    weight_formats: tuple[str, ...],
    activation_formats: tuple[str, ...],
    active_if: tuple[str, int] | None = None,
) -> tuple[Gene, Gene]:
    """The two genes that choose the formats of ``prefix``."""
    return (
        Gene(f"{prefix}.weight_format", "weight_format", weight_formats, active_if),
        Gene(f"{prefix}.activation_format", "activation_format", activation_formats, active_if),
    )


def format_names(prefix: str) -> tuple[str, str]:
    """Names of the two genes of `format_genes`."""
    return f"{prefix}.weight_format", f"{prefix}.activation_format"


def format_pair(op: str, prefix: str) -> FormatPair:
    """What ties the two genes of `format_genes` to the operator that must execute them."""
    return FormatPair(op, *format_names(prefix))


def depth_condition(gene: str, depths: tuple[int, ...], index: int) -> tuple[str, int] | None:
    """When the block number ``index`` exists, as in `Gene.active_if`; ``depths`` ascend."""
    choice = next(i for i, depth in enumerate(depths) if depth > index)
    return (gene, choice) if choice else None
