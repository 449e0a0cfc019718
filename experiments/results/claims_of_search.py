"""What is claimed of searches: what they find, for how many devices, and what that costs."""

from __future__ import annotations

from bitfront.experiments.results.claim import (
    HOURS,
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
_HAQ = "[HAQ](https://arxiv.org/abs/1811.08886) (Wang et al., CVPR 2019)"
_SIMQ_NAS = "[SimQ-NAS](https://arxiv.org/abs/2312.13301) (Sridhar et al., 2023)"
_TESTED = "measured on test images"
_OF_TABLE = "predicted by the cost table"
_COUNTED = "counted"
_MEASURED = "measured"

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
_ON = "for {source}, run on {target}"
_WHOLE_POINTS = Unit("points")
ONE_FAMILY = Claim(
    "one-family",
    "One family of networks serves several devices, each with its own",
    "Devices that execute other formats want other networks: one that was found for another device loses accuracy "
    "at the same latency. So each device is searched for by itself, all from one supernet, its samples and its "
    "predictor.",
    f"bitfront's own claim, after {_HAQ}, whose best bits differ from device to device",
    "one-family",
    shown=(
        Shown("mean_points_lost", "lost on other devices, mean", _WHOLE_POINTS, _TESTED),
        Shown("largest_points_lost", "lost on other devices, most", _WHOLE_POINTS, _TESTED),
        Shown("largest_latency_ratio", "latency over that of the device's own, most", TIMES, _OF_TABLE),
        Shown("least_equals", "members with an equal, least of a pair and seed", PLAIN, _COUNTED),
        Shown("{source}_on_{target}_points_lost", f"{_ON}: lost at the same latency", _WHOLE_POINTS, _TESTED),
        Shown("{source}_on_{target}_latency_ms_ratio", f"{_ON}: latency over its own's, mean", TIMES, _OF_TABLE),
        Shown("{source}_on_{target}_changed", f"{_ON}: networks whose formats had to change", PERCENT, _COUNTED),
        Shown("{source}_on_{target}_equalled", f"{_ON}: members with an equal", PERCENT, _COUNTED),
        Shown("{device}_latency_ms_{n}", "{device}: latency {n}", MILLISECONDS, _OF_TABLE),
    ),
)
_KNOWN_ENERGY = "measured, or estimated by processor time"
SEARCH_COST = Claim(
    "search-cost",
    "A further device costs little",
    "Once there is a supernet with its predictor, a further device or constraint costs at most half an hour, and "
    "as much as the one before; APQ reports half a GPU hour, whose energy is taken at 250 W.",
    _APQ,
    "search-cost",
    seeds=1,
    shown=(
        Shown("seconds_per_further_{kind}", "a further {kind}", SECONDS, _MEASURED, "<= 1800"),
        Shown("joules_per_further_{kind}", "a further {kind}", KILOJOULES, _KNOWN_ENERGY, "<= 450000"),
        Shown("cpu_seconds_per_further_{kind}", "a further {kind}, of processor", SECONDS, _MEASURED),
        Shown("{kind}s_growth", "cost of each {kind} of many, over that of each of few", TIMES, _MEASURED),
        Shown("{piece}_seconds_per_{kind}", "each {kind}: {piece}", SECONDS, _MEASURED),
        Shown("{kind}s_{n}_seconds", "{n} of kind {kind}", HOURS, _MEASURED),
        Shown("times_less_energy_than_apq", "APQ's energy over that of a further device", TIMES, _KNOWN_ENERGY),
        Shown("measured_device_seconds", "a further device that is measured", SECONDS, _MEASURED),
        Shown("measured_device_table_seconds", "its table", SECONDS, _MEASURED),
        Shown("once_training_recorded_seconds", "once: training the supernet, by its record", HOURS, _MEASURED),
        Shown("once_training_in_this_run", "once: trained in this run (1 is yes)", PLAIN, _COUNTED),
        Shown("once_samples_seconds", "once: samples", SECONDS, _MEASURED),
        Shown("once_predictor_seconds", "once: the predictor", SECONDS, _MEASURED),
        Shown("energy_is_measured", "energy is measured (1) or estimated (0)", PLAIN, _COUNTED),
    ),
)
