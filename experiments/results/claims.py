"""The headline claims. A new one is a value in a file beside this one, and a line here."""

from __future__ import annotations

from bitfront.experiments.results.claim import Claim
from bitfront.experiments.results.claims_of_parts import EXPORT, LUT_FIDELITY, TRANSFER
from bitfront.experiments.results.claims_of_rivals import RIVALS
from bitfront.experiments.results.claims_of_search import (
    AGAINST_FIXED,
    AGAINST_INT8,
    JOINT,
    ONE_FAMILY,
    SEARCH_COST,
)

CLAIMS: tuple[Claim, ...] = (
    JOINT,
    AGAINST_FIXED,
    AGAINST_INT8,
    ONE_FAMILY,
    SEARCH_COST,
    RIVALS,
    TRANSFER,
    LUT_FIDELITY,
    EXPORT,
)
"""In the order of the page."""
