"""What is claimed of searches: what they find, for how many devices, and what that costs."""

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
)
from bitfront.experiments.results.papers import APQ, SIMQ_NAS

_TESTED = "measured on test images"
_OF_TABLE = "predicted by the cost table"
_COUNTED = "counted"

JOINT = Claim(
    "joint",
    "Joint search beats one decision after the other",
    "Architecture, pruning and bits that are chosen together are more accurate at the same latency than an "
    "architecture, then its pruning, then its bits: by 2.3 points on ImageNet, against ProxylessNAS, AMC and HAQ, "
    "which hand on one network. The sequential search here hands on eight that lie apart: a stronger rival.",
    APQ,
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
            "{device}_points_where_joint_is_better",
            "{device}: latencies with a gain beyond its interval",
            PLAIN,
            _COUNTED,
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
    beside = (
        Shown(f"{{device}}_{rival}_{metric}_{end}", f"{{device}}: {name}, {told}", unit, how)
        for metric, name in metrics
        for end, told, unit, how in (
            (
                "equalled",
                f"share of {words} that joint ones match in accuracy",
                PERCENT,
                _COUNTED,
            ),
            ("test_top1_gain", f"accuracy that these gain over {words} on test images", POINTS, _TESTED),
        )
    )
    return (*ratios, *beside)


AGAINST_FIXED = Claim(
    "against-fixed",
    "Joint search beats a fixed network with searched bits",
    "At equal accuracy a network that is found together with its bits has half the latency and 1.3 times less "
    "energy than MobileNetV2 with the bits of HAQ. Here the fixed networks are the supernet's largest and its "
    "median one.",
    APQ,
    "against-fixed",
    shown=(
        *_against("largest", "the largest network", {"latency_ms_ratio": ">= 2", "energy_mj_ratio": ">= 1.3"}),
        *_against("median", "the median network", {"latency_ms_ratio": ">= 2", "energy_mj_ratio": ">= 1.3"}),
    ),
)
AGAINST_INT8 = Claim(
    "against-int8",
    "Mixed bits beat int8 throughout",
    "At equal accuracy networks of mixed bits have up to 4.8 times less latency and are up to 3.44 times smaller "
    "than networks in int8. There those are single networks; here it is the front of a search among them.",
    SIMQ_NAS,
    "against-int8",
    shown=_against(
        "int8", "int8 networks", {"latency_ms_largest_ratio": ">= 4.8", "size_bytes_largest_ratio": ">= 3.44"}
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
    "before. That is of networks for ImageNet on a GPU; here they are for Fashion-MNIST, on a CPU.",
    APQ,
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
        Shown("devices_growth", "cost of each of many devices, over that of each of fewer", TIMES, _TIMED),
        Shown("constraints_growth", "cost of each of many limits, over that of each of fewer", TIMES, _TIMED),
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
    f"bitfront's own claim, after {APQ}",
    "one-family",
    seeds=3,
    shown=(
        Shown("mean_top1_lost", "accuracy lost with another device's networks, mean", POINTS, _TESTED),
        Shown("largest_top1_lost", "the same, at the worst pair of devices", POINTS, _TESTED),
        Shown("largest_latency_ratio", "latency at equal accuracy, worst pair", TIMES, _OF_TABLE),
        Shown("mean_top1_lost_at_least", "the mean less half of its interval", POINTS, _TESTED),
        Shown("pairs_that_gain", "pairs where another device's networks are more accurate", PLAIN, _COUNTED),
        Shown("least_equalled", "share of networks that the device's own match, least of all", PERCENT, _COUNTED),
        Shown("{device}_on_{other}_top1_lost", f"{_PAIR}: accuracy lost", POINTS, _TESTED),
        Shown("{device}_on_{other}_latency_ms_ratio", f"{_PAIR}: latency at equal accuracy", TIMES, _OF_TABLE),
        Shown(
            "{device}_on_{other}_latency_ms_equalled",
            f"{_PAIR}: share that own ones match",
            PERCENT,
            _COUNTED,
        ),
        Shown("{device}_on_{other}_changed", f"{_PAIR}: share that needs other formats", PERCENT, _COUNTED),
    ),
)
