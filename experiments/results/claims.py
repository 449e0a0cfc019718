"""The headline claims. A new one is a value here and its place in `CLAIMS`."""

from __future__ import annotations

from bitfront.experiments.results.claim import (
    KILOJOULES,
    MILLISECONDS,
    PERCENT,
    PLAIN,
    POINTS,
    SECONDS,
    TIMES,
    Claim,
    Shown,
    Unit,
)

_APQ = "[APQ](https://arxiv.org/abs/2006.08509) (Wang et al., CVPR 2020)"
_SIMQ_NAS = "[SimQ-NAS](https://arxiv.org/abs/2312.13301) (Sridhar et al., 2023)"
_TESTED = "measured on test images"
_OF_TABLE = "predicted by the cost table"
_COUNTED = "counted"

JOINT = Claim(
    "joint",
    "Joint search beats one decision after the other",
    "Architecture, pruning and bits that are chosen together are more accurate at the same latency than an "
    "architecture, then its pruning, then its bits: by 2.3 points on ImageNet.",
    _APQ,
    "joint",
    shown=(
        Shown(
            "{device}_joint_gain", "{device}: gain, mean over all latencies", POINTS, _TESTED, published=">= 0.023"
        ),
        Shown("{device}_largest_joint_gain", "{device}: gain at the best latency", POINTS, _TESTED),
        Shown("{device}_joint_gain_{n}", "{device}: gain at latency {n}", POINTS, _TESTED),
        Shown("{device}_latency_ms_{n}", "{device}: latency {n}", MILLISECONDS, _OF_TABLE),
        Shown("{device}_joint_test_top1_{n}", "{device}: accuracy at latency {n}, joint", PERCENT, _TESTED),
        Shown(
            "{device}_sequential_test_top1_{n}", "{device}: accuracy at latency {n}, sequential", PERCENT, _TESTED
        ),
        Shown(
            "{device}_points_where_joint_is_better", "{device}: latencies where joint is better", PLAIN, _COUNTED
        ),
    ),
)


def _against(rival: str, words: str, published: dict[str, str]) -> tuple[Shown, ...]:
    """Ratios to a rival at equal accuracy; ``published`` by the end of a figure's name."""
    metrics = (("latency_ms", "latency"), ("energy_mj", "energy"), ("size_bytes", "size"))
    ratios = (
        Shown(
            f"{{device}}_{rival}_{metric}_{end}",
            f"{{device}}: {name}, that of {words} over joint's, {how}",
            TIMES,
            _OF_TABLE,
            published.get(f"{metric}_{end}", ""),
        )
        for metric, name in metrics
        for end, how in (("ratio", "mean"), ("largest_ratio", "largest"))
    )
    return (
        *ratios,
        Shown(
            f"{{device}}_{rival}_least_equals",
            f"{{device}}: {words} with an equal, least of a seed",
            PLAIN,
            _COUNTED,
        ),
        Shown(
            f"{{device}}_{rival}_equalled", f"{{device}}: share of {words} that has an equal", PERCENT, _COUNTED
        ),
        Shown(
            f"{{device}}_{rival}_test_top1_gain",
            f"{{device}}: accuracy gained over {words} beside that",
            POINTS,
            _TESTED,
        ),
    )


AGAINST_FIXED = Claim(
    "against-fixed",
    "Joint search beats a fixed network with searched bits",
    "At equal accuracy a network that is found together with its bits has half the latency and 1.3 times less "
    "energy than MobileNetV2 with the bits of HAQ. Here the fixed networks are the supernet's largest and its "
    "median one.",
    _APQ,
    "against-fixed",
    shown=(
        *_against("largest", "the largest network", {"latency_ms_ratio": ">= 2", "energy_mj_ratio": ">= 1.3"}),
        *_against("median", "the median network", {"latency_ms_ratio": ">= 2", "energy_mj_ratio": ">= 1.3"}),
    ),
)
AGAINST_INT8 = Claim(
    "against-int8",
    "Mixed bits beat int8 throughout",
    "At equal accuracy networks of mixed bits have up to 4.8 times less latency and are up to 3.4 times smaller "
    "than networks in int8.",
    _SIMQ_NAS,
    "against-int8",
    shown=_against(
        "int8", "int8 networks", {"latency_ms_largest_ratio": ">= 4.8", "size_bytes_largest_ratio": ">= 3.4"}
    ),
)
_TIMED = "measured"
_ENERGY = "estimated of processor time, or RAPL's where it can be read"


def _paid(name: str, seconds: str, joules: str = "") -> tuple[Shown, ...]:
    """Rows of what something costs; the names of its figures."""
    rows = (Shown(seconds, f"{name}: seconds", SECONDS, _TIMED),)
    return (*rows, Shown(joules, f"{name}: energy", KILOJOULES, _ENERGY)) if joules else rows


SEARCH_COST = Claim(
    "search-cost",
    "A further device costs no training",
    "Once there is a supernet with its predictor, a further device costs half a GPU hour, however many there were "
    "before.",
    _APQ,
    "search-cost",
    seeds=1,
    shown=(
        Shown(
            "seconds_per_further_device",
            "a further modelled device: seconds",
            SECONDS,
            _TIMED,
            published="<= 1800",
        ),
        Shown("joules_per_further_device", "a further modelled device: energy", KILOJOULES, _ENERGY),
        Shown(
            "apq_joules_per_further_device",
            "APQ's half a GPU hour: energy at 250 W",
            KILOJOULES,
            "of a V100's board power",
        ),
        *_paid("a further limit", "seconds_per_further_constraint", "joules_per_further_constraint"),
        *_paid("a measured device", "measured_device_seconds", "measured_device_joules"),
        *_paid("of that its table", "measured_device_table_seconds"),
        Shown("devices_{n}_seconds", "{n} modelled devices together: seconds", SECONDS, _TIMED),
        Shown("constraints_{n}_seconds", "{n} limits together: seconds", SECONDS, _TIMED),
        *_paid("once, samples", "once_samples_seconds", "once_samples_joules"),
        *_paid("once, predictor", "once_predictor_seconds", "once_predictor_joules"),
        Shown(
            "once_training_recorded_seconds",
            "once, training of the supernet: seconds",
            SECONDS,
            "by its own record",
        ),
        Shown("measured_members", "members of a front that are measured", PLAIN, _COUNTED),
    ),
)
_PAIR = "found for {device}, run on {other}"
ONE_FAMILY = Claim(
    "one-family",
    "Each device deserves a search of its own",
    "From one supernet each device gets networks of its own, which are more accurate there at the same latency "
    "than those that were found for another device.",
    f"bitfront's own claim, after {_APQ}",
    "one-family",
    seeds=3,
    shown=(
        Shown("mean_top1_lost", "accuracy lost with another device's networks, mean", POINTS, _TESTED),
        Shown("largest_top1_lost", "the same, at the worst pair of devices", POINTS, _TESTED),
        Shown("largest_latency_ratio", "latency at equal accuracy, worst pair", TIMES, _OF_TABLE),
        Shown("{device}_on_{other}_top1_lost", f"{_PAIR}: accuracy lost", POINTS, _TESTED),
        Shown("{device}_on_{other}_latency_ms_ratio", f"{_PAIR}: latency at equal accuracy", TIMES, _OF_TABLE),
        Shown("{device}_on_{other}_equalled", f"{_PAIR}: share that has an equal", PERCENT, _COUNTED),
        Shown("{device}_on_{other}_changed", f"{_PAIR}: share that needs other formats", PERCENT, _COUNTED),
    ),
)
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
    f"the transfer of {_APQ}; how much it saves is bitfront's own claim",
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
            "predicted, against the file",
        ),
        Shown("{device}_latency_error_median", "{device}: error of latency, median", PERCENT, _HELD_AGAINST),
        Shown("{device}_latency_error_most", "{device}: error of latency, most", PERCENT, _HELD_AGAINST),
        Shown("{device}_points", "{device}: networks that were exported", PLAIN, _COUNTED),
    ),
)

CLAIMS: tuple[Claim, ...] = (
    JOINT,
    AGAINST_FIXED,
    AGAINST_INT8,
    TRANSFER,
    LUT_FIDELITY,
    EXPORT,
    ONE_FAMILY,
    SEARCH_COST,
)
"""In the order of the page. Benchmarks are run in this order, and each finds what those before it measured."""
