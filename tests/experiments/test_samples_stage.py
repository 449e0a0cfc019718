"""The stage that collects samples: what it measures, what it tells, and that it does the same again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from bitfront.experiments.reporter import Reporter, Reporters
from bitfront.experiments.run import Run
from bitfront.experiments.spec import spec_from
from bitfront.experiments.spec_sections import SamplesSection
from bitfront.experiments.stages import samples
from bitfront.experiments.stages.measuring import Wanted
from bitfront.experiments.stages.samples import Samples, collected_samples, draw, draw_float
from bitfront.experiments.store.home import open_store
from bitfront.predictors.acquisition import ACQUISITIONS
from bitfront.predictors.collection import RANDOM, Collected
from bitfront.predictors.dataset import InvalidPairsError, Pairs
from bitfront.predictors.learning_curve import Verdict
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.spaces.digits import digits

SPACE = digits()
WAYS = (RANDOM, *ACQUISITIONS)
Collect = Callable[..., Samples]


class Heard(Reporter):
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, title: str) -> None:
        pass

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, label: str) -> Progress:
        return silent


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def asked() -> list[Wanted]:
    return []


@pytest.fixture
def collect(
    tmp_path: Path, heard: Heard, asked: list[Wanted], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Collect]:
    """Collect as such a ``samples`` section says; what is measured is a sum over active genes."""

    def measured(
        run: Run, supernet_id: str, supernet: Supernet, wanted: Sequence[Wanted], label: str, may_fail: float
    ) -> list[NDArray[np.float64]]:
        asked.extend(wanted)
        weights = np.random.default_rng(0).uniform(0.2, 1, SPACE.n_genes)
        genomes = [one.genomes for one in wanted]
        return [0.2 + (rows * SPACE.active(rows)) @ weights / 150 for rows in genomes]

    monkeypatch.setattr(samples, "measured_accuracy", measured)
    with ExitStack() as stack:

        def made(**section: Any) -> Samples:
            values = {"space": "digits", "data": "digits", "device": "bitfusion", "samples": section}
            spec = spec_from(values, home=tmp_path)
            store = stack.enter_context(open_store(tmp_path / "home"))
            experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
            run = Run(store, tmp_path / "home", experiment.id, spec, Reporters(heard))
            supernet = type("Net", (), {"space": SPACE})()
            return collected_samples(run, "net", cast(Supernet, supernet))

        yield made


def _all(found: Samples) -> list[list[list[int]]]:
    parts = (found.fp32, found.fp32_held_out, found.quantized, found.quantized_held_out)
    return [part.genomes.tolist() for part in parts]


def test_all_are_measured_where_nothing_stops(collect: Collect, heard: Heard) -> None:
    found = collect(fp32=40, quantized=30, held_out=20, stop="none")
    assert tuple(map(len, _all(found))) == (40, 20, 30, 20)
    assert heard.lines == ["fp32 samples: 40 measured", "quantized samples: 30 measured"]


@pytest.mark.parametrize("choose", WAYS)
def test_held_out_ones_are_random_and_no_others(collect: Collect, choose: str) -> None:
    found = collect(fp32=40, quantized=30, held_out=20, stop="none", choose=choose)
    rng = spec_rng("fp32")
    expected = rng.permutation(draw_float(SPACE, 60, rng))  # never chosen
    assert found.fp32.genomes.tolist() == expected[:40].tolist()
    assert found.fp32_held_out.genomes.tolist() == expected[40:].tolist()
    factor = 1 if choose == RANDOM else samples._CHOICE
    rng = spec_rng("quantized")
    expected = rng.permutation(draw(SPACE, 30 * factor + 20, rng))[-20:]
    assert found.quantized_held_out.genomes.tolist() == expected.tolist()
    for known, held_out in ((found.fp32, found.fp32_held_out), (found.quantized, found.quantized_held_out)):
        together = np.concatenate([known.genomes, held_out.genomes])
        assert len(np.unique(together, axis=0)) == len(together)


def spec_rng(kind: str) -> np.random.Generator:
    spec = spec_from({"space": "digits", "data": "digits", "device": "bitfusion"})
    return Run(cast(Any, None), Path(), "", spec, Heard()).rng(f"{kind} samples")


@pytest.mark.parametrize("choose", WAYS)
def test_the_same_again_is_the_same(collect: Collect, choose: str) -> None:
    section = {"fp32": 60, "quantized": 30, "held_out": 10, "choose": choose}
    assert _all(collect(**section)) == _all(collect(**section))


def test_it_says_how_many_were_saved_and_why(collect: Collect, heard: Heard) -> None:
    found = collect(fp32=300, quantized=100, held_out=20, tolerance=0.05)
    n = len(found.fp32)
    assert n < 300
    assert heard.lines[0].startswith(f"fp32 samples: {n} of 300 are enough, {300 - n} saved: pairwise accuracy 0.")
    assert f"with {n}, 0." in heard.lines[0]


def test_it_says_that_all_were_needed(collect: Collect, heard: Heard) -> None:
    collect(fp32=40, quantized=30, held_out=20, tolerance=1e-9)
    assert heard.lines[0].startswith("fp32 samples: all 40 measured; before the last round pairwise accuracy 0.")
    assert heard.lines[1] == "quantized samples: 30 measured"


def test_it_says_where_the_space_has_no_more(
    collect: Collect, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "draw_float", lambda space, n, rng: draw_float(space, min(n, 70), rng))
    assert len(collect(fp32=100, quantized=30, held_out=20, tolerance=1e-9).fp32) == 50
    assert heard.lines[0].startswith("fp32 samples: all 50 measured, instead of 100: the space has no more archit")
    collect(fp32=100, quantized=30, held_out=20, tolerance=0.5)
    assert re.match(r"fp32 samples: (\d+) of 50 are enough, \d+ saved", heard.lines[2])
    with pytest.raises(InvalidPairsError, match=r"the space has 70 architectures, and samples.held_out is 80"):
        collect(fp32=100, quantized=30, held_out=80)


@pytest.mark.parametrize(("accuracy", "warned"), [(0.52, True), (0.61, False)])
def test_it_warns_where_more_samples_would_not_help(accuracy: float, warned: bool) -> None:
    pairs = Pairs(SPACE.sample(40, np.random.default_rng(0)), np.full(40, 0.5))
    verdict = Verdict(stop=True, n=40, accuracy=accuracy, goal=accuracy, before=accuracy)
    told = samples._told("fp32", Collected(pairs, (), verdict), 100, 500)
    assert told.startswith("fp32 samples: 40 of 100 are enough, 60 saved: pairwise accuracy 0.")
    assert ("This hardly tells better from worse (guessing has 0.5)" in told) is warned


def test_it_says_how_many_could_not_be_measured() -> None:
    pairs = Pairs(SPACE.sample(40, np.random.default_rng(0)), np.full(40, 0.5))
    stopped = Verdict(stop=True, n=40, accuracy=0.9, goal=0.9, before=0.9)
    told = samples._told("fp32", Collected(pairs, (), stopped, 3), 100, 500)
    assert told.startswith("fp32 samples: 40 of 100 are enough (3 could not be measured), 57 saved: pairwise")
    assert samples._told("fp32", Collected(pairs, (), None, 3), 43, 43) == (
        "fp32 samples: 40 measured, 3 could not be"
    )
    needed = Verdict(stop=False, n=30, accuracy=0.9, goal=0.9, before=0.9)
    told = samples._told("fp32", Collected(pairs, (), needed, 2), 42, 42)
    assert told.startswith("fp32 samples: 40 measured, 2 could not be; before the last round pairwise")


def test_kinds_are_filed_as_such(collect: Collect, asked: list[Wanted]) -> None:
    collect(fp32=40, quantized=30, held_out=20)
    assert {one.split for one in asked} == {"validation"}
    for one in asked:
        real = SPACE.assign(one.genomes, {"weight_format": "fp32", "activation_format": "fp32"})
        assert (one.kind == "fp32") is np.array_equal(real, one.genomes)


def test_the_spec_knows_all_ways_to_choose() -> None:
    assert get_args(SamplesSection.model_fields["choose"].annotation) == WAYS
