"""Whether a space and a data set go together."""

from __future__ import annotations

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.space import SearchSpace


def refuse_misfit(space: SearchSpace, dataset: Dataset) -> None:
    """Refuse a space whose networks take or give something else than the data set has.

    Raises:
        UnsupportedError: classes or channels differ.
    """
    first, last = space.largest_blocks[0].layers[0], space.largest_blocks[-1].layers[-1]
    for option, what, mine, given in (
        ("classes", "classes", last.out_channels, dataset.classes),
        ("in_channels", "channels", first.in_channels, dataset.channels),
    ):
        if mine != given:
            raise UnsupportedError(
                f"space {space.name!r} is for {mine} {what}, but data set {dataset.name!r} has {given}: "
                f"set space.options.{option} to {given} or leave it out, or choose other data"
            )
