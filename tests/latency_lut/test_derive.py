from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.latency_lut.bundle.profile import Times
from bitfront.latency_lut.derive import derive, network_sum, repeatability
from bitfront.latency_lut.devices.host_onnxruntime import HostONNXRuntime
from bitfront.latency_lut.op_key import asked_for, border_key, handed_over, op_key
from bitfront.latency_lut.profile_plan import (
    CORRECTION_NETWORKS,
    Chain,
    call_key,
    distinct,
    input_shape,
    is_network,
    keys_of_call,
    output_shape,
    profile_plan,
)
from bitfront.latency_lut.slot_blocks import unique_blocks
from bitfront.latency_lut.table import InvalidTableError
from bitfront.supernet.layers import Block
from bitfront.supernet.spaces.mbconv import MBConvSpace


def exactly(latency: float) -> Times:
    return Times(latency, latency, latency, latency, latency, latency, 32)


def inner_ms(block: Block) -> float:
    return sum(layer.macs for layer in block.layers) * 1e-6 + 0.01


def end_ms(block: Block, formats: str) -> float:
    """What taking or giving a tensor costs a block that is timed alone; the two formats differ."""
    return {"fp32": 0.02, "int8": 0.005}[formats]


def border_ms(before: Block, after: Block) -> float:
    channels, size = output_shape(before)
    per_value = {("fp32", "int8"): 1e-6, ("int8", "fp32"): 3e-6}
    return per_value.get((handed_over(before), asked_for(after)), 0.0) * channels * size**2


def chain_ms(chain: Chain) -> float:
    first, last = chain[0], chain[-1]
    total = sum(map(inner_ms, chain))
    total += 0 if first.kind == "stem" else end_ms(first, asked_for(first))
    total += 0 if last.kind == "head" else end_ms(last, handed_over(last))
    return total + sum(border_ms(a, b) for a, b in itertools.pairwise(chain))


@pytest.fixture(scope="module")
def space(tiny_space: MBConvSpace) -> MBConvSpace:
    return HostONNXRuntime().restrict(tiny_space.restrict({"resolution": [8]}))


@pytest.fixture(scope="module")
def plan(space: MBConvSpace) -> dict[str, Chain]:
    blocks = unique_blocks(space, HostONNXRuntime())
    return profile_plan(space, blocks, np.random.default_rng(0))


class TestPlan:
    def test_it_has_every_block_alone(self, space: MBConvSpace, plan: dict[str, Chain]) -> None:
        alone = {key for key, chain in plan.items() if len(chain) == 1}
        assert alone == set(unique_blocks(space, HostONNXRuntime()))

    def test_it_has_every_meeting_of_formats_at_every_junction(
        self, space: MBConvSpace, plan: dict[str, Chain]
    ) -> None:
        there = {
            (output_shape(a), handed_over(a), asked_for(b))
            for a, b in (chain for chain in plan.values() if len(chain) == 2)
        }
        for genome in space.sample(300, np.random.default_rng(1)):
            blocks = space.blocks(genome)
            for a, b in itertools.pairwise(blocks):
                assert (output_shape(a), handed_over(a), asked_for(b)) in there
                assert output_shape(a) == input_shape(b)

    def test_it_has_whole_networks_from_the_smallest_to_the_largest(
        self, space: MBConvSpace, plan: dict[str, Chain]
    ) -> None:
        networks = [call_key(chain) for chain in plan.values() if is_network(chain)]
        assert CORRECTION_NETWORKS - 2 <= len(networks) <= CORRECTION_NETWORKS
        assert {call_key(space.blocks(genome)) for genome in space.extremes()} <= set(networks)

    def test_keys_name_what_is_run(self, plan: dict[str, Chain]) -> None:
        for key, chain in plan.items():
            assert keys_of_call(key) == tuple(map(op_key, chain))
            assert len({layer.name for block in chain for layer in block.layers}) == sum(
                len(block.layers) for block in chain
            )


class TestDerive:
    def test_known_costs_are_found(self, plan: dict[str, Chain]) -> None:
        found = derive({key: exactly(chain_ms(chain)) for key, chain in plan.items()}, plan)
        for key, chain in plan.items():
            if is_network(chain):
                raw = network_sum(chain, found.entries, found.borders)
                corrected = found.correction.offset + found.correction.scale * raw
                assert corrected == pytest.approx(chain_ms(chain), rel=2e-3)
            elif len(chain) == 1 and chain[0].residual:
                # Its input and output have one shape, so that nothing is left open.
                assert found.entries[key] == pytest.approx(inner_ms(chain[0]), rel=0.02)
        assert found.facts["correction_error"] == pytest.approx(0, abs=1e-3)

    def test_borders_are_found_where_formats_change(self, plan: dict[str, Chain]) -> None:
        found = derive({key: exactly(chain_ms(chain)) for key, chain in plan.items()}, plan)
        both = {
            output_shape(chain[0])
            for chain in plan.values()
            if len(chain) == 2 and handed_over(chain[0]) != asked_for(chain[1])
        }
        for channels, size in both:
            there, back = (
                found.borders.get(border_key(channels, size, *pair), 0.0)
                for pair in (("fp32", "int8"), ("int8", "fp32"))
            )
            assert there + back == pytest.approx(4e-6 * channels * size**2, rel=0.02)

    @given(st.integers(0, 1000))
    def test_noise_gives_no_negative_cost(self, plan: dict[str, Chain], seed: int) -> None:
        rng = np.random.default_rng(seed)
        times = {key: exactly(chain_ms(chain) * rng.uniform(0.6, 1.6)) for key, chain in plan.items()}
        found = derive(times, plan)
        assert min(found.entries.values()) >= 0
        assert min(found.borders.values(), default=0) >= 0

    def test_a_call_without_a_time_is_named(self, plan: dict[str, Chain]) -> None:
        times = {key: exactly(chain_ms(chain)) for key, chain in list(plan.items())[3:]}
        with pytest.raises(InvalidTableError, match=r"for 3 reasons, the first: no time of stem:"):
            derive(times, plan)

    @pytest.mark.parametrize("kind", ["mbconv", "head"])
    def test_a_block_that_was_not_timed_alone_is_named(self, plan: dict[str, Chain], kind: str) -> None:
        pairs = [chain for chain in plan.values() if len(chain) == 2]
        gone = next(op_key(block) for pair in pairs for block in pair if block.kind == kind)
        left = {key: chain for key, chain in plan.items() if key != gone}
        with pytest.raises(InvalidTableError, match=f"no time of this block alone: {re.escape(gone)}"):
            derive({key: exactly(chain_ms(chain)) for key, chain in left.items()}, left)

    def test_networks_that_take_no_time_are_refused(self, plan: dict[str, Chain]) -> None:
        with pytest.raises(InvalidTableError, match=r"a network takes 0\.0 ms"):
            derive({key: exactly(0.0) for key in plan}, plan)

    def test_chains_of_another_length_are_refused(self, plan: dict[str, Chain]) -> None:
        block = next(chain[0] for chain in plan.values() if len(chain) == 1 and chain[0].residual)
        three = distinct([block] * 3)
        calls = {**plan, call_key(three): three}
        with pytest.raises(InvalidTableError, match="3 blocks that are no whole network"):
            derive({key: exactly(chain_ms(chain)) for key, chain in calls.items()}, calls)

    def test_without_networks_nothing_can_be_corrected(self, plan: dict[str, Chain]) -> None:
        parts = {key: chain for key, chain in plan.items() if not is_network(chain)}
        with pytest.raises(InvalidTableError, match="0 whole networks were timed"):
            derive({key: exactly(chain_ms(chain)) for key, chain in parts.items()}, parts)


def times_of(even: float, odd: float) -> Times:
    return replace_halves(exactly(even), even, odd)


def replace_halves(times: Times, even: float, odd: float) -> Times:
    return times._replace(even_ms=even, odd_ms=odd)


class TestRepeatability:
    def test_calls_that_repeat_themselves(self) -> None:
        assert repeatability([times_of(i, i + 0.1) for i in range(1, 31)]) == pytest.approx(1.0)

    def test_calls_in_the_noise(self) -> None:
        rng = np.random.default_rng(0)
        noise = repeatability([times_of(*rng.uniform(1, 2, 2)) for _ in range(40)])
        assert noise is not None
        assert abs(noise) < 0.5

    @pytest.mark.parametrize("n", [0, 1, 5])
    def test_calls_without_differences_have_no_order(self, n: int) -> None:
        assert repeatability([exactly(1.0)] * n) is None
