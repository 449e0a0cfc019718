"""What is claimed of parts: of predictors, cost tables and exports."""

from __future__ import annotations

from bitfront.experiments.results.claim import MILLISECONDS, PERCENT, PLAIN, POINTS, TIMES, Claim, Shown, Unit
from bitfront.experiments.results.papers import APQ

_TESTED = "measured on test images"
_COUNTED = "counted"
_HELD_OUT = "measured on held-out pairs"
_HELD_AGAINST = "predicted, against measured"


def _by_samples(end: str, column: str, unit: Unit) -> Shown:
    row = "{pool}, {n} quantized samples"
    return Shown(f"{{pool}}_{end}_{{n}}", row, unit, _HELD_OUT, column=column, table="predictors with")


TRANSFER = Claim(
    "transfer",
    "A transferred predictor needs few quantized samples",
    "A predictor that has learned fp32 samples tells quantized networks apart after few quantized ones; one from "
    "scratch needs several times as many, and scikit-learn's best does no better. Accuracy is pairwise here: how "
    "often the better of two networks is told.",
    f"the transfer of {APQ}; how much it saves is bitfront's own claim",
    "transfer",
    shown=(
        Shown(
            "{pool}_samples_from_scratch_over_transferred",
            "{pool}: samples from scratch for what transfer reaches with 50, over these 50",
            TIMES,
            _HELD_OUT,
        ),
        _by_samples("transferred", "transferred", PERCENT),
        _by_samples("scratch", "from scratch", PERCENT),
        _by_samples("gain_over_scratch", "gain over from scratch", POINTS),
        _by_samples("gain_over_scikit_learn", "gain over scikit-learn's best", POINTS),
        _by_samples("coverage", "pairs that 90 % intervals hold", PERCENT),
    ),
)


def _of_case(name: str, column: str, unit: Unit, known: str) -> Shown:
    return Shown(f"{name}_{{case}}", "{case}", unit, known, column=column, table="runtime and input")


LUT_FIDELITY = Claim(
    "lut-fidelity",
    "Tables predict the latency of whole networks",
    "The latency that a table of measured blocks predicts for a network is that of the network within 3 %, and "
    "orders networks as the measurement orders them, as far as this repeats itself.",
    "bitfront's own claim",
    "lut-fidelity",
    seeds=2,
    alone=True,
    shown=(
        _of_case("mape", "mean error of predicted latency", PERCENT, _HELD_AGAINST),
        _of_case("mape_macs", "mean error by counting MACs", PERCENT, _HELD_AGAINST),
        _of_case("mape_later", "mean error minutes later", PERCENT, _HELD_AGAINST),
        _of_case("truth_moved", "by how much the truth moved since", PERCENT, "measured"),
        _of_case("tau", "Kendall's tau", PLAIN, _HELD_AGAINST),
        _of_case("truth_tau", "the truth's tau with itself", PLAIN, "measured twice"),
        _of_case("tau_over_least", "tau above what is asked", PLAIN, _HELD_AGAINST),
        _of_case("tau_macs", "tau by counting MACs", PLAIN, _HELD_AGAINST),
        _of_case("shortest_ms", "the fastest network", MILLISECONDS, "measured"),
        _of_case("longest_ms", "the slowest network", MILLISECONDS, "measured"),
    ),
)
_AGAINST_FILE = "predicted, against the file"


def _of_device(end: str, column: str, unit: Unit, known: str) -> Shown:
    return Shown(f"{{device}}_{end}", "{device}", unit, known, column=column, table="networks for")


def _in_runtime(middle: str, end: str, column: str, unit: Unit, known: str) -> Shown:
    figure = f"{{device}}_{{runtime}}_{middle}{end}"
    return Shown(figure, "for {device}, run in {runtime}", unit, known, column=column, table="ONNX")


EXPORT = Claim(
    "export",
    "Exported networks keep what was promised",
    "An exported network answers as the one that was searched, in every form; its file is as large and its "
    "latency as long as the search took them to be.",
    "bitfront's own claim",
    "export",
    seeds=1,
    alone=True,
    shown=(
        _in_runtime("agreement", "_least", "same answers, least", PERCENT, _TESTED),
        _in_runtime("top1_difference", "_most", "change of accuracy, most", POINTS, _TESTED),
        _in_runtime("onnx_size_error", "_most", "error of the file's size, most", PERCENT, _AGAINST_FILE),
        _in_runtime("onnx_constants_error", "_most", "error of constants' size, most", PERCENT, _AGAINST_FILE),
        Shown(
            "{device}_{form}_size_error_most",
            "{device}: error of the size in {form}, most",
            PERCENT,
            _AGAINST_FILE,
        ),
        _of_device("integer_agreement_least", "same answers in integers alone, least", PERCENT, _TESTED),
        _of_device("integer_top1_difference_most", "change of accuracy in integers, most", POINTS, _TESTED),
        _of_device("torch_differs_most", "images on which torch differs from integers", PLAIN, _TESTED),
        _of_device("c_differs_most", "images on which C differs from integers", PLAIN, _TESTED),
        _of_device("c_bytes_differs_most", "bytes of C that are not the manifest's", PLAIN, _COUNTED),
        _of_device("c_times_numpy_least", "speed of C over NumPy, least", TIMES, "measured"),
        _of_device("latency_error_median", "error of latency, median", PERCENT, _HELD_AGAINST),
        _of_device("latency_error_most", "error of latency, most", PERCENT, _HELD_AGAINST),
        _of_device("points", "networks that were exported", PLAIN, _COUNTED),
    ),
)
