"""What is claimed of parts: of predictors, cost tables and exports."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from bitfront.experiments.results.claim import MILLISECONDS, PERCENT, PLAIN, POINTS, TIMES, Claim, Shown, column_of
from bitfront.experiments.results.papers import APQ

_TESTED = "measured on test images"
_COUNTED = "counted"
_HELD_OUT = "measured on held-out pairs"
_HELD_AGAINST = "predicted, against measured"


_by_samples = column_of("predictors with", "{pool}, {n} quantized samples")
_of_case = column_of("runtime and input", "{case}")
_of_device = column_of("networks for", "{device}")
_in_runtime = column_of("ONNX", "for {device}, run in {runtime}")

_OVER_TRANSFERRED = "samples_from_scratch_over_transferred"


def _never_reached(figures: Mapping[str, float], name: str) -> bool:
    """Whether not even the most samples from scratch reach what transfer does with 50."""
    pool = name.removesuffix(_OVER_TRANSFERRED)
    reached = [value for figure, value in figures.items() if re.fullmatch(rf"{pool}scratch_\d+", figure)]
    return max(reached, default=math.inf) < figures.get(f"{pool}transferred_50", -math.inf)


TRANSFER = Claim(
    "transfer",
    "A transferred predictor needs few quantized samples",
    "A predictor that has learned fp32 samples tells quantized networks apart after few quantized ones; one from "
    "scratch needs several times as many, and scikit-learn's best does no better. Accuracy is pairwise here: how "
    'often the better of two networks is told. How many times as many is told as "at least" where not even the '
    "most samples that were tried suffice from scratch.",
    f"the transfer of {APQ}; how much it saves is bitfront's own claim",
    "transfer",
    shown=(
        Shown(
            f"{{pool}}_{_OVER_TRANSFERRED}",
            "{pool}: samples from scratch for what transfer reaches with 50, over these 50",
            TIMES,
            _HELD_OUT,
            least_where=_never_reached,
        ),
        _by_samples("{pool}_transferred_{n}", "transferred", PERCENT, _HELD_OUT),
        _by_samples("{pool}_scratch_{n}", "from scratch", PERCENT, _HELD_OUT),
        _by_samples("{pool}_gain_over_scratch_{n}", "gain over from scratch", POINTS, _HELD_OUT),
        _by_samples("{pool}_gain_over_scikit_learn_{n}", "gain over scikit-learn's best", POINTS, _HELD_OUT),
        _by_samples("{pool}_coverage_{n}", "pairs that 90 % intervals hold", PERCENT, _HELD_OUT),
    ),
)


_LATER = "mean error minutes later, last seed's networks"

LUT_FIDELITY = Claim(
    "lut-fidelity",
    "Tables predict the latency of whole networks",
    "The latency that a table of measured blocks predicts for a network is that of the network within 3 %, in the "
    "mean over networks that are timed in the same rounds as the table, and orders these as the measurement does, "
    "as far as that repeats itself: Kendall's tau is asked to be at least 0.95, or the truth's tau with itself "
    "less 0.02 where that is lower. Minutes later the same networks may be slower or faster, and the error more: "
    f'see "{_LATER}", of which nothing is asked.',
    "bitfront's own claim",
    "lut-fidelity",
    seeds=2,
    alone=True,
    shown=(
        _of_case("mape_{case}", "mean error of predicted latency", PERCENT, _HELD_AGAINST),
        _of_case("mape_macs_{case}", "mean error by counting MACs", PERCENT, _HELD_AGAINST),
        _of_case("mape_later_{case}", _LATER, PERCENT, _HELD_AGAINST),
        _of_case("truth_moved_{case}", "how much slower these are when timed again, median", PERCENT, "measured"),
        _of_case("tau_{case}", "Kendall's tau", PLAIN, _HELD_AGAINST),
        _of_case("truth_tau_{case}", "the truth's tau with itself", PLAIN, "measured twice"),
        _of_case("tau_over_least_{case}", "tau above what is asked", PLAIN, _HELD_AGAINST),
        _of_case("tau_macs_{case}", "tau by counting MACs", PLAIN, _HELD_AGAINST),
        _of_case("shortest_ms_{case}", "each seed's fastest network, mean", MILLISECONDS, "measured"),
        _of_case("longest_ms_{case}", "each seed's slowest network, mean", MILLISECONDS, "measured"),
    ),
)
_AGAINST_FILE = "predicted, against the file"


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
        _in_runtime("{device}_{runtime}_agreement_least", "same answers, least", PERCENT, _TESTED),
        _in_runtime("{device}_{runtime}_top1_difference_most", "change of accuracy, most", POINTS, _TESTED),
        _in_runtime(
            "{device}_{runtime}_onnx_size_error_most", "error of the file's size, most", PERCENT, _AGAINST_FILE
        ),
        _in_runtime(
            "{device}_{runtime}_onnx_constants_error_most",
            "error of constants' size, most",
            PERCENT,
            _AGAINST_FILE,
        ),
        Shown(
            "{device}_{form}_size_error_most",
            "{device}: error of the size in {form}, most",
            PERCENT,
            _AGAINST_FILE,
        ),
        _of_device("{device}_integer_agreement_least", "same answers in integers alone, least", PERCENT, _TESTED),
        _of_device(
            "{device}_integer_top1_difference_most", "change of accuracy in integers, most", POINTS, _TESTED
        ),
        _of_device("{device}_torch_differs_most", "images on which torch differs from integers", PLAIN, _TESTED),
        _of_device("{device}_c_differs_most", "images on which C differs from integers", PLAIN, _TESTED),
        _of_device("{device}_c_bytes_differs_most", "bytes of C that are not the manifest's", PLAIN, _COUNTED),
        _of_device("{device}_c_times_numpy_least", "speed of C over NumPy, least", TIMES, "measured"),
        _of_device("{device}_latency_error_median", "error of latency, median", PERCENT, _HELD_AGAINST),
        _of_device("{device}_latency_error_most", "error of latency, most", PERCENT, _HELD_AGAINST),
        _of_device("{device}_points", "networks that were exported", PLAIN, _COUNTED),
    ),
)
