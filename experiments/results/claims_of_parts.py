"""What is claimed of parts: of predictors, cost tables and exports."""

from __future__ import annotations

from bitfront.experiments.results.claim import MILLISECONDS, PERCENT, PLAIN, POINTS, TIMES, Claim, Shown, Unit
from bitfront.experiments.results.papers import APQ

_TESTED = "measured on test images"
_COUNTED = "counted"
_HELD_OUT = "measured on held-out pairs"
_HELD_AGAINST = "predicted, against measured"


def _by_samples(end: str, label: str, unit: Unit) -> Shown:
    return Shown(f"{{pool}}_{end}_{{n}}", f"{{pool}}, {{n}} quantized samples: {label}", unit, _HELD_OUT)


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
LUT_FIDELITY = Claim(
    "lut-fidelity",
    "Tables predict the latency of whole networks",
    "The latency that a table of measured blocks predicts for a network is that of the network within 3 %, and "
    "orders networks as the measurement orders them, as far as this repeats itself.",
    "bitfront's own claim",
    "lut-fidelity",
    seeds=2,
    shown=(
        Shown("mape_{case}", "{case}: mean error of predicted latency", PERCENT, _HELD_AGAINST),
        Shown("mape_macs_{case}", "{case}: the same, by counting MACs", PERCENT, _HELD_AGAINST),
        Shown("mape_later_{case}", "{case}: mean error minutes later", PERCENT, _HELD_AGAINST),
        Shown("truth_moved_{case}", "{case}: by how much the truth moved since", PERCENT, "measured"),
        Shown("tau_{case}", "{case}: Kendall's tau", PLAIN, _HELD_AGAINST),
        Shown("truth_tau_{case}", "{case}: the truth's tau with itself", PLAIN, "measured twice"),
        Shown("tau_over_least_{case}", "{case}: tau above what is asked", PLAIN, _HELD_AGAINST),
        Shown("tau_macs_{case}", "{case}: tau by counting MACs", PLAIN, _HELD_AGAINST),
        Shown("shortest_ms_{case}", "{case}: the fastest network", MILLISECONDS, "measured"),
        Shown("longest_ms_{case}", "{case}: the slowest network", MILLISECONDS, "measured"),
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
    shown=(
        Shown(
            "{device}_{runtime}_agreement_least", "{device}: same answers in {runtime}, least", PERCENT, _TESTED
        ),
        Shown(
            "{device}_{runtime}_top1_difference_most",
            "{device}: change of accuracy in {runtime}, most",
            POINTS,
            _TESTED,
        ),
        Shown(
            "{device}_integer_agreement_least", "{device}: same answers in integers alone, least", PERCENT, _TESTED
        ),
        Shown(
            "{device}_integer_top1_difference_most",
            "{device}: change of accuracy in integers, most",
            POINTS,
            _TESTED,
        ),
        Shown(
            "{device}_torch_differs_most", "{device}: images on which torch differs from integers", PLAIN, _TESTED
        ),
        Shown("{device}_c_differs_most", "{device}: images on which C differs from integers", PLAIN, _TESTED),
        Shown("{device}_c_bytes_differs_most", "{device}: the same, of images as bytes", PLAIN, _TESTED),
        Shown("{device}_c_times_numpy_least", "{device}: speed of C over NumPy, least", TIMES, "measured"),
        Shown(
            "{device}_{form}_size_error_most",
            "{device}: error of the size in {form}, most",
            PERCENT,
            _AGAINST_FILE,
        ),
        Shown(
            "{device}_{runtime}_onnx_size_error_most",
            "{device}: error of the size in ONNX for {runtime}, most",
            PERCENT,
            _AGAINST_FILE,
        ),
        Shown(
            "{device}_{runtime}_onnx_constants_error_most",
            "{device}: the same for {runtime}, of constants alone",
            PERCENT,
            _AGAINST_FILE,
        ),
        Shown("{device}_latency_error_median", "{device}: error of latency, median", PERCENT, _HELD_AGAINST),
        Shown("{device}_latency_error_most", "{device}: error of latency, most", PERCENT, _HELD_AGAINST),
        Shown("{device}_points", "{device}: networks that were exported", PLAIN, _COUNTED),
    ),
)
