from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.supernet.errors import InvalidGenomeError
from bitfront.supernet.spaces.digits import digits


def pairs(n: int = 20) -> Pairs:
    rng = np.random.default_rng(0)
    return Pairs(digits().sample(n, rng), rng.uniform(0.5, 0.9, n))


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.5, 97.0, np.inf])
def test_an_impossible_accuracy_names_its_row(value: float) -> None:
    good = pairs()
    accuracy = good.accuracy.copy()
    accuracy[7] = value
    with pytest.raises(InvalidPairsError, match="row 7"):
        Pairs(good.genomes, accuracy)


def test_shapes_must_fit() -> None:
    with pytest.raises(InvalidPairsError, match="do not fit"):
        Pairs(pairs().genomes, np.zeros(3))


def test_a_genome_of_another_space_is_refused() -> None:
    genomes = pairs().genomes.copy()
    genomes[3, 0] = 200
    with pytest.raises(InvalidGenomeError, match="genome 3"):
        Pairs(genomes, pairs().accuracy).checked(digits())


def test_repeated_genomes_are_averaged_in_order_of_appearance() -> None:
    base = pairs(4)
    twice = Pairs(base.genomes[[2, 0, 2, 1]], np.array([0.2, 0.5, 0.4, 0.9]))
    merged = twice.checked(digits())
    assert (merged.genomes == base.genomes[[2, 0, 1]]).all()
    assert merged.accuracy == pytest.approx([0.3, 0.5, 0.9])


def test_too_few_different_genomes_are_refused() -> None:
    base = pairs(4)
    with pytest.raises(InvalidPairsError, match="too few"):
        Pairs(base.genomes[[0, 0, 0]], base.accuracy[:3]).checked(digits())


def test_a_split_leaks_no_genome_and_loses_no_pair() -> None:
    base = pairs(30)
    doubled = Pairs(np.concatenate([base.genomes, base.genomes]), np.concatenate([base.accuracy, base.accuracy]))
    train, held_out = doubled.split(0.3, np.random.default_rng(1))
    assert len(train) + len(held_out) == 60
    assert len(held_out) == 18
    assert not {g.tobytes() for g in train.genomes} & {g.tobytes() for g in held_out.genomes}


def test_one_genome_can_not_be_split() -> None:
    with pytest.raises(InvalidPairsError, match="split"):
        pairs(1).split(0.5, np.random.default_rng(0))


def test_the_hash_tells_data_apart() -> None:
    base = pairs()
    other = Pairs(base.genomes, base.accuracy[::-1].copy())
    assert base.hash() == Pairs(base.genomes.copy(), base.accuracy.copy()).hash()
    assert base.hash() != other.hash()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10)), min_size=1, max_size=25))
def test_averaging_equals_doing_it_by_hand(rows: list[tuple[int, int]]) -> None:
    known = digits().sample(4, np.random.default_rng(3))
    given_pairs = Pairs(known[[which for which, _ in rows]], np.array([value / 10 for _, value in rows]))
    values: dict[int, list[float]] = defaultdict(list)
    for which, value in rows:
        values[which].append(value / 10)
    merged, repeats = given_pairs.averaged()
    assert (merged.genomes == known[list(values)]).all()
    assert merged.accuracy == pytest.approx([sum(some) / len(some) for some in values.values()])
    assert repeats.merged == len(rows) - len(values)
    assert repeats.differing == sum(len(set(some)) > 1 for some in values.values())
    assert repeats.largest == pytest.approx(max(max(some) - min(some) for some in values.values()))


def test_what_became_of_repeats_is_told() -> None:
    base = pairs(4)
    accuracy = np.array([0.2, 0.5, 0.45, 0.2, 0.2])
    assert str(Pairs(base.genomes, base.accuracy).averaged()[1]) == ""
    alike = Pairs(base.genomes[[0, 1, 0]], accuracy[[0, 1, 3]])
    assert str(alike.averaged()[1]) == "1 row repeats a genome with the same value: each genome counts once"
    differing = Pairs(base.genomes[[0, 1, 1, 0, 0]], accuracy)
    words = "3 rows repeat genomes, and 1 genome has different values (by up to 0.0500): averaged"
    assert str(differing.averaged()[1]) == words


def test_equal_values_stay_what_they_are_to_the_last_bit() -> None:
    base = pairs(1)
    merged, repeats = Pairs(base.genomes[[0] * 10], np.full(10, 0.1)).averaged()
    assert merged.accuracy[0] == 0.1
    assert repeats.differing == 0
