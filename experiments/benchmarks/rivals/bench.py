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
  evaluations as ours or ``_OPTUNA_SECONDS``, whichever ends first: it takes some milliseconds for each candidate.

A rival that can not run here is left out, and the cause is told; ``RIVAL_ran`` says which did. Gains are ours
minus theirs on the test split, of networks that the validation split chose: where we lose, they are negative.
"""

from __future__ import annotations

from functools import partial

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.rivals.compared import OURS, compared, goals, over_seeds
from bitfront.experiments.benchmarks.rivals.contest import Contest, Setting
from bitfront.experiments.benchmarks.rivals.deployed import Deployed
from bitfront.experiments.benchmarks.rivals.nncf_mixed import mixed_by_nncf
from bitfront.experiments.benchmarks.rivals.ort_int8 import int8_by_onnxruntime
from bitfront.experiments.benchmarks.rivals.plot import rivals_figure
from bitfront.experiments.benchmarks.rivals.searches import found_by, in_real_numbers
from bitfront.experiments.benchmarks.search_rivals import Rival, optuna_nsga2, optuna_tpe
from bitfront.experiments.benchmarks.studied import searched, studied_spec
from bitfront.experiments.benchmarks.study import study
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.spec import Spec, spec_from
from bitfront.search.problem import Problem

_DEVICE = "host-openvino"
_FP32, _ORT, _NNCF = "fp32", "ort_int8", "nncf"
_OPTUNA: dict[str, Rival] = {"optuna_nsga2": optuna_nsga2, "optuna_tpe": optuna_tpe}
_OPTUNA_SECONDS, _QUICK_OPTUNA_SECONDS = 60.0, 2.0
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
        contests = [_contest(setting, seed) for seed in range(seeds)]
        measured = [contest.measured() for contest in contests]
    rows = [compared(methods) | contest.seconds() for methods, contest in zip(measured, contests, strict=True)]
    figures = over_seeds(rows)
    figures |= {f"{name}_ran": float(name not in setting.left_out) for name in (_ORT, _NNCF, *_OPTUNA)}
    rivals = [name for name in measured[0] if name != OURS]
    picture = rivals_figure(measured[0])
    return BenchResult.of("rivals", seeds, figures, goals(figures, rivals), {"fronts": picture})


def _spec(quick: bool) -> Spec:
    spec = studied_spec(_DEVICE, quick)
    if not quick:
        return spec
    return spec_from({**spec.as_json(), "space": {"name": "few-blocks", "content": _QUICK_SPACE}})


def _contest(setting: Setting, seed: int) -> Contest:
    """What every method puts forward."""
    contest, studied = Contest(setting), setting.study

    def ours(problem: Problem) -> list[Deployed]:
        return setting.deployed(searched(problem, "nsga2", setting.quick, seed))

    def by_optuna(rival: Rival) -> list[Deployed]:
        seconds = _QUICK_OPTUNA_SECONDS if setting.quick else _OPTUNA_SECONDS
        return setting.deployed(found_by(rival, studied, setting.quick, seed, seconds))

    contest.enter(OURS, partial(ours, studied.predicting()))
    fp32 = contest.enter(_FP32, partial(ours, studied.predicting(space=in_real_numbers(studied.space))))
    contest.try_to_enter(_ORT, partial(_by_onnxruntime, setting, fp32.models), fp32.seconds)
    contest.try_to_enter(_NNCF, partial(_by_nncf, setting, fp32.models), fp32.seconds)
    for name, rival in _OPTUNA.items():
        contest.try_to_enter(name, partial(by_optuna, rival))
    return contest


def _by_onnxruntime(setting: Setting, networks: list[Deployed]) -> list[Deployed]:
    images = setting.evaluator.calibration_images
    return [int8_by_onnxruntime(each, images(each.resolution).numpy()) for each in networks]


def _by_nncf(setting: Setting, networks: list[Deployed]) -> list[Deployed]:
    return mixed_by_nncf(networks, setting.evaluator, not setting.quick, setting.reporter)
