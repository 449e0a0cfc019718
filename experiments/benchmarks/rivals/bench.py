"""Against what people would use instead, on the same supernet, data and runtime: measured, as deployed.

Every method puts forward the same number of networks, spread over its front. Each is exported and run: accuracies
on the validation and test splits and latencies are those of the exported file in OpenVINO, and all files are timed
in the same rounds, as the device's tables are. OpenVINO is the runtime as every method's result runs in it: it
reads the QDQ models of ONNX Runtime's tool as well as NNCF's, which nothing else reads.

* ``ours``: NSGA-II over architectures and bits together.
* ``fp32``: the same search over architectures in real numbers, as a yardstick.
* ``ort_int8``: the networks of ``fp32`` after `onnxruntime.quantization.quantize_static`, per channel.
* ``nncf``: the same after NNCF's `quantize_with_accuracy_control`.
* ``optuna_nsga2``, ``optuna_tpe``: Optuna over the same genes, with the same predictor and table, for as many
  evaluations as ours or ``_OPTUNA_SECONDS``, whichever ends first. NSGA-II takes some 5 ms for each, so that it
  mostly has them all; TPE takes some 200 ms, so that its time ends it. ``_evaluations`` tells how many it were.
* ``dynast_evolutionary``: DyNAS-T's evolutionary tactic over the same genes, with the same predictor, table and
  evaluations.
* ``dynast_linas``: its LINAS, which learns predictors of its own from candidates that are truly measured, up
  to its usual 250 of them, where our predictor has the samples of the study.

Those that take minutes (``_LONG``) run for the first seed alone, so that their figures have no interval.

A rival that can not run here is left out: its goals are missed, the cause is a note, and ``RIVAL_ran`` says in
what share of its seeds it ran. Those that are installed (``_seconds`` has no part of that) are the newest that
their bounds allow; notes tell the versions. Gains are ours minus theirs on the test split, of networks that the
validation split chose: where we lose, they are negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import onnxruntime
import optuna

from bitfront.experiments.benchmarks.intervals import over_seeds
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.rivals.compared import compared, goals
from bitfront.experiments.benchmarks.rivals.contest import Contest, Offer, Setting
from bitfront.experiments.benchmarks.rivals.deployed import Deployed
from bitfront.experiments.benchmarks.rivals.dynast_tactics import DynasT, dynast_python
from bitfront.experiments.benchmarks.rivals.names import NAMES, OURS
from bitfront.experiments.benchmarks.rivals.nncf_mixed import mixed_by_nncf, nncf_python
from bitfront.experiments.benchmarks.rivals.ort_int8 import int8_by_onnxruntime
from bitfront.experiments.benchmarks.rivals.plot import rivals_figure
from bitfront.experiments.benchmarks.rivals.searches import counted, front_of, in_real_numbers, scored_by
from bitfront.experiments.benchmarks.search_rivals import Ledger, Rival, optuna_nsga2, optuna_tpe, spend
from bitfront.experiments.benchmarks.studied import budget, searched, studied_spec
from bitfront.experiments.benchmarks.study import study
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.spec import Spec
from bitfront.search.problem import Problem

_DEVICE = "host-openvino"
_FP32, _ORT, _NNCF = "fp32", "ort_int8", "nncf"
_OPTUNA: dict[str, Rival] = {"optuna_nsga2": optuna_nsga2, "optuna_tpe": optuna_tpe}
_DYNAST = (_EVOLUTIONARY, _LINAS) = ("dynast_evolutionary", "dynast_linas")
_RIVALS = (_ORT, _NNCF, *_OPTUNA, *_DYNAST)
_INSTALLED = (_NNCF, *_DYNAST)  # in environments of their own
_ASKED_AGAIN = 2  # times as many as are different: the ledger ends it
_OPTUNA_SECONDS, _QUICK_OPTUNA_SECONDS = 120.0, 2.0
_LONG = ("optuna_tpe", *_DYNAST)
_QUICK_SPACE = {
    "family": "mbconv",
    "stem_channels": 8,
    "stem_stride": 1,
    "stages": [
        {"out_channels": 12, "stride": 2, "depths": [1, 2], "widths": [8, 16, 32], "kernels": [3]},
        {"out_channels": 20, "stride": 2, "depths": [1, 2], "widths": [16, 48], "kernels": [3]},
    ],
    "head_channels": 64,
    "resolutions": [8],
    "weight_formats": ["fp32", "int8"],
    "activation_formats": ["fp32", "int8"],
    "end_formats": ["fp32", "int8"],
}
"""So few blocks that a table of them is measured in seconds."""


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Seeds are those of the searches. Quick: a barely trained supernet on digits, and nothing is installed."""
    with study(_spec(quick), reporter) as studied:
        setting = Setting(studied, quick, reporter)
        setting.prepare([_NNCF], "nncf", nncf_python)
        setting.prepare(_DYNAST, "dynast", dynast_python)
        contests = [_contest(setting, seed) for seed in range(seeds)]
        measured = [contest.measured() for contest in contests]
    figures = over_seeds([found | one.spent() for found, one in zip(compared(measured), contests, strict=True)])
    figures |= setting.shares()
    asked = [_FP32, *(name for name in _RIVALS if not quick or name not in _INSTALLED)]
    picture = {"fronts": rivals_figure(measured[0])}
    return BenchResult.of("rivals", seeds, figures, goals(figures, asked), picture, _notes(setting))


def _notes(setting: Setting) -> list[str]:
    (evaluations, population), linas = budget(setting.quick), _linas(setting)
    versions = {"onnxruntime": onnxruntime.__version__, "optuna": optuna.__version__, **setting.versions}
    return [
        f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        f"Searches score up to {evaluations:,} candidates by one predictor, in populations of {population}.",
        f"Optuna's searches end after {_optuna_seconds(setting):g} s, if not all are scored by then.",
        f"LINAS measures up to {linas.evaluations} candidates and learns from these alone; its inner loops have "
        f"{evaluations:,} evaluations.",
        f"Of each front, up to {setting.models} networks are exported and measured.",
        "Times have no part of installing rivals, nor of samples and predictor, which all but LINAS find ready.",
        f"The first seed alone: {', '.join(NAMES[name] for name in _LONG)}.",
        *(f"{NAMES[name]}: left out, as {why}" for name, why in setting.left_out.items()),
    ]


def _spec(quick: bool) -> Spec:
    own = {"space": {"name": "few-blocks", "content": _QUICK_SPACE}} if quick else {}
    return studied_spec(_DEVICE, quick, **own)


def _contest(setting: Setting, seed: int) -> Contest:
    """What every method puts forward."""
    contest, studied = Contest(setting), setting.study

    def ours(problem: Problem) -> Offer:
        problem, scored = counted(problem)
        front = searched(problem, "nsga2", setting.quick, seed)
        return setting.offer(front, scored())

    contest.enter(OURS, partial(ours, studied.predicting()))
    fp32 = contest.enter(_FP32, partial(ours, studied.predicting(space=in_real_numbers(studied.space))))
    contest.try_to_enter(_ORT, partial(_by_onnxruntime, setting, fp32.offer.models), fp32.seconds)
    contest.try_to_enter(_NNCF, partial(_by_nncf, setting, fp32.offer.models), fp32.seconds)
    searches: dict[str, Callable[[], Offer]] = {
        **{name: partial(_by_optuna, setting, rival, seed) for name, rival in _OPTUNA.items()},
        _EVOLUTIONARY: partial(_by_evolution, setting, seed),
        _LINAS: partial(_by_linas, setting, seed),
    }
    for name, make in searches.items():
        if seed == 0 or name not in _LONG:
            contest.try_to_enter(name, make)
    return contest


def _by_onnxruntime(setting: Setting, networks: list[Deployed]) -> Offer:
    images = setting.evaluator.calibration_images
    return Offer([int8_by_onnxruntime(each, images(each.resolution).numpy()) for each in networks])


def _by_nncf(setting: Setting, networks: list[Deployed]) -> Offer:
    return Offer(mixed_by_nncf(networks, setting.evaluator, setting.pythons[_NNCF], setting.reporter))


def _by_optuna(setting: Setting, rival: Rival, seed: int) -> Offer:
    return _scored(setting, rival, seed, _optuna_seconds(setting))


def _by_evolution(setting: Setting, seed: int) -> Offer:
    evaluations, _ = budget(setting.quick)
    rival = DynasT(setting.pythons[_EVOLUTIONARY], "evolutionary", _ASKED_AGAIN * evaluations, 0)
    return _scored(setting, rival, seed)


def _scored(setting: Setting, rival: Rival, seed: int, seconds: float = math.inf) -> Offer:
    problem = setting.study.predicting()
    ledger = scored_by(rival, problem, setting.quick, seed, seconds)
    return setting.offer(front_of(problem, ledger), len(ledger))


def _by_linas(setting: Setting, seed: int) -> Offer:
    (inner, _), own = budget(setting.quick), _linas(setting)
    problem = setting.measuring("measuring what LINAS asks for", own.evaluations)
    ledger = Ledger(problem, own.evaluations)
    rival = DynasT(setting.pythons[_LINAS], "linas", own.evaluations, inner)
    spend(rival, problem, ledger, own.population, seed)
    return setting.offer(front_of(problem, ledger), len(ledger))


def _optuna_seconds(setting: Setting) -> float:
    return _QUICK_OPTUNA_SECONDS if setting.quick else _OPTUNA_SECONDS


class _Linas(NamedTuple):
    evaluations: int
    population: int


def _linas(setting: Setting) -> _Linas:
    return _Linas(40, 20) if setting.quick else _Linas(250, 50)
