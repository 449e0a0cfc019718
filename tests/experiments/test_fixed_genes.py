from __future__ import annotations

import numpy as np
import pytest

from bitfront.experiments.spec import Spec, SpecError, spec_from
from bitfront.supernet.spaces.proxyless import proxyless


def spec(**fields: object) -> Spec:
    return spec_from({"space": "proxyless", "data": "digits", "device": "bitfusion", **fields})


def test_the_two_of_the_docs_hold_in_every_candidate() -> None:
    space = proxyless()
    fixed = spec(fixed={"stem.*_format": "int8", "*.kernel": [3, 5]}).fixed_choices(space)
    genomes = space.restrict(fixed).sample(200, np.random.default_rng(0))
    seen = [space.decode(genome) for genome in genomes]
    assert {one[f"stem.{part}_format"] for one in seen for part in ("weight", "activation")} == {"int8"}
    assert {value for one in seen for name, value in one.items() if name.endswith(".kernel")} == {3, 5}


@pytest.mark.parametrize(
    "fields", [{"objectives": ["top1", "latency_ms@a"]}, {"constraints": ["latency_ms@a <= 2"]}]
)
def test_one_device_has_plain_metrics(fields: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="one device, and plain metrics") as caught:
        spec(**fields)
    assert "write latency_ms" in str(caught.value)
