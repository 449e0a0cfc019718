"""A random generator's state as plain values, so that it can be stored and no random number is lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitfront.supernet.errors import CorruptFileError


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """The state of ``rng``: nested dicts of strings, whole numbers of any size, and arrays of them."""
    return dict(rng.bit_generator.state)


def set_generator_state(rng: np.random.Generator, state: dict[str, Any]) -> None:
    """Put ``rng`` where `generator_state` found another one of its kind.

    Raises:
        CorruptFileError: the state is that of another kind of generator, or no state at all.
    """
    try:
        rng.bit_generator.state = state
    except (TypeError, ValueError, KeyError) as error:
        kind = type(rng.bit_generator).__name__
        raise CorruptFileError(
            f"the stored random state does not fit a {kind} generator ({error}): launch the search anew"
        ) from error
