"""Under which licences a bundle's content stands, as far as that is known."""

from __future__ import annotations

_UNKNOWN = "unknown to bitfront, yours to state"
_PUBLISHED = {
    "cifar10": "none was stated by its authors (Krizhevsky 2009); ask them, or your lawyer",
    "digits": "CC BY 4.0 (Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI)",
    "fashion_mnist": "MIT (Copyright 2017 Zalando SE)",
}


def licences(published: str | None, space_is_own: bool) -> dict[str, str]:
    """By what it covers.

    Args:
        published: the data set's name among those that bitfront knows; None for files of a user's own.
        space_is_own: whether the space is a user's own.
    """
    return {
        "bitfront": "Apache-2.0: the tool, and what it writes around the weights",
        "space": _UNKNOWN if space_is_own else "Apache-2.0: it comes with bitfront",
        "data": _PUBLISHED.get(published or "", _UNKNOWN),
        "weights": "yours, as far as the licence of the data lets them be",
    }
