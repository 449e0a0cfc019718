"""Devices in words."""

from __future__ import annotations

import pytest

from bitfront.experiments.device_words import formats_in_words, gains_in_words, trust_in_words

ALIKE = [["fp32", "fp32"], ["int8", "int8"]]


@pytest.mark.parametrize(
    ("formats", "words"),
    [
        ({"conv": ALIKE, "linear": ALIKE}, "all layers: fp32 or int8 for weights and activations alike"),
        (
            {"conv": [[w, a] for w in ("int4", "int8") for a in ("int4", "int8")], "linear": []},
            "conv: weights int4, int8 with activations int4, int8, in any pair",
        ),
        (
            {"conv": ALIKE, "linear": [["int4", "fp32"], ["fp32", "fp32"], ["int8", "int8"]]},
            "conv: fp32 or int8 for weights and activations alike; "
            "linear: fp32 with fp32, int4 with fp32, int8 with int8",
        ),
        ({"conv": [], "linear": []}, "nothing"),
    ],
)
def test_formats(formats: dict[str, list[list[str]]], words: str) -> None:
    assert formats_in_words(formats) == words


def test_gains() -> None:
    gains = {
        "depthwise": {("fp32", "fp32"): 1.0, ("int8", "int8"): 0.5},
        "pointwise": {("fp32", "fp32"): 1.0, ("int4", "fp32"): 2.04, ("int8", "int8"): 3.0},
        "conv": {("fp32", "fp32"): 1.0},
    }
    assert gains_in_words(gains) == (
        "pointwise(96>96,k1,28px) int4 with fp32 2.0x faster, int8 3.0x faster; "
        "depthwise(96>96,k5,28px) int8 2.0x slower"
    )


def test_trust() -> None:
    assert list(trust_in_words({"batch": 1})) == []
    known = {"correction_error": 0.0314, "correction_networks": 20, "networks_tau_with_themselves": 0.9876}
    (line,) = trust_in_words(known)
    for word in ("20 whole networks", "3.1%", "0.988"):
        assert word in line
    (line,) = trust_in_words(known | {"networks_tau_with_themselves": None})
    assert "themselves" not in line
