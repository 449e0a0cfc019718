import numpy as np
import pytest

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
