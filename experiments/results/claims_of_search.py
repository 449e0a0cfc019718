"""What is claimed of searches: what they find, for how many devices, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator

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
    column_of,
)
from bitfront.experiments.results.papers import APQ, SIMQ_NAS

_TESTED = "measured on test images"
_OF_TABLE = "predicted by the cost table"
_COUNTED = "counted"
_EQUAL = "on the validation split"


_at_latency = column_of("below a latency", "{pool}, {device}, latency {n}")
_crossed = column_of("networks", "found for {device}, run on {other}")

JOINT = Claim(
    "joint",
    "Joint search beats one decision after the other",
    "Architecture, pruning and bits that are chosen together are more accurate at the same latency than an "
    "architecture, then its pruning, then its bits: by 2.3 points on ImageNet, against ProxylessNAS, AMC and HAQ, "
    "each of which hands on one network.",
    APQ,
    "joint",
    shown=(
        Shown(
            "{pool}_{device}_joint_gain",
            "{pool}, {device}: gain, mean over all latencies",
            POINTS,
            _TESTED,
            published=">= 0.023",
        ),
        Shown("{pool}_{device}_largest_joint_gain", "{pool}, {device}: gain at the best latency", POINTS, _TESTED),
        Shown(
            "{pool}_{device}_points_where_joint_is_better",
            "{pool}, {device}: latencies with a gain beyond its interval",
            PLAIN,
            _COUNTED,
        ),
        _at_latency("{pool}_{device}_latency_ms_{n}", "latency", MILLISECONDS, _OF_TABLE),
        _at_latency("{pool}_{device}_joint_test_top1_{n}", "accuracy, joint", PERCENT, _TESTED),
        _at_latency("{pool}_{device}_sequential_test_top1_{n}", "accuracy, sequential", PERCENT, _TESTED),
        _at_latency("{pool}_{device}_joint_gain_{n}", "gain", POINTS, _TESTED),
    ),
)


def _against(rival: str, words: str, published: dict[str, str]) -> Iterator[Shown]:
    """What a rival costs at equal accuracy; ``published`` by the end of a figure's name."""
    columns = (
        ("ratio", "rival's over joint's, mean of both directions", TIMES, _OF_TABLE),
        ("largest_ratio", "rival's over joint's, largest of the rival's networks", TIMES, _OF_TABLE),
        ("equals", f"the rival's networks with a joint equal {_EQUAL}", PLAIN, _COUNTED),
        ("equalled", f"share of the rival's networks with a joint equal {_EQUAL}", PERCENT, _COUNTED),
        ("test_top1_gain", "accuracy that these equals gain, mean", POINTS, _TESTED),
        ("of_ilp", "share of the rival's networks that integer programs found", PERCENT, _COUNTED),
    )
    for metric, name in (("latency_ms", "latency"), ("energy_mj", "energy"), ("size_bytes", "size")):
        for end, column, unit, known in columns:
            yield Shown(
                f"{{device}}_{rival}_{metric}_{end}",
                f"{{device}}, {words}, {name}",
                unit,
                known,
                published.get(f"{metric}_{end}", ""),
                column,
                f"at equal accuracy {_EQUAL}",
            )


AGAINST_FIXED = Claim(
    "against-fixed",
    "Joint search beats a fixed network with searched bits",
    "At equal accuracy a network that is found together with its bits has half the latency and 1.3 times less "
    "energy than MobileNetV2 with the bits of HAQ. Here the fixed networks are the supernet's largest and its "
    "median one, each with the bits of two searches, NSGA-II and integer programs; the joint front is of one.",
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
    shown=tuple(
        _against("int8", "int8", {"latency_ms_largest_ratio": ">= 4.8", "size_bytes_largest_ratio": ">= 3.44"})
    ),
)
_TIMED = "measured"
_ENERGY = "estimated of processor time, or RAPL's where it can be read"


def _paid(name: str, seconds: str, joules: str = "", published: str = "") -> Iterator[Shown]:
    """What something costs; the names of its figures."""
    yield Shown(seconds, name, SECONDS, _TIMED, published, "time", "cost of")
    if joules:
        yield Shown(joules, name, KILOJOULES, _ENERGY, column="energy", table="cost of")


SEARCH_COST = Claim(
    "search-cost",
    "A further device costs no training",
    "Once there is a supernet with its predictor, a further device costs half a GPU hour, however many there were "
    "before. That is of networks for ImageNet on a GPU; here they are for Fashion-MNIST, on a CPU.",
    APQ,
    "search-cost",
    seeds=1,
    alone=True,
    shown=(
        *_paid("a further modelled device", "seconds_per_further_device", "joules_per_further_device", "<= 1800"),
        *_paid("a further limit", "seconds_per_further_constraint", "joules_per_further_constraint"),
        *_paid("a measured device", "measured_device_seconds", "measured_device_joules"),
        *_paid("a measured device's table alone", "measured_device_table_seconds"),
        *_paid("the first modelled device", "devices_1_seconds", "devices_1_joules"),
        *_paid("the first {n} modelled devices together", "devices_{n}_seconds", "devices_{n}_joules"),
        *_paid("the first limit", "constraints_1_seconds", "constraints_1_joules"),
        *_paid("the first {n} limits together", "constraints_{n}_seconds", "constraints_{n}_joules"),
        *_paid("the samples, once", "once_samples_seconds", "once_samples_joules"),
        *_paid("the predictor, once", "once_predictor_seconds", "once_predictor_joules"),
        Shown("devices_growth", "how the cost of one device grows from few devices to many", TIMES, _TIMED),
        Shown("constraints_growth", "how the cost of one limit grows from few limits to many", TIMES, _TIMED),
        Shown(
            "once_training_recorded_seconds", "time for training the supernet, once", SECONDS, "by its own record"
        ),
        Shown(
            "apq_joules_per_further_device",
            "energy of APQ's half a GPU hour at 250 W",
            KILOJOULES,
            "of a V100's board power",
        ),
        Shown("measured_members", "members of a front that are measured", PLAIN, _COUNTED),
    ),
)


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
        Shown("largest_top1_lost", "accuracy lost at the worst pair of devices", POINTS, _TESTED),
        Shown(
            "largest_latency_ratio", f"latency at equal accuracy {_EQUAL}, worst pair of devices", TIMES, _OF_TABLE
        ),
        Shown("mean_top1_lost_at_least", "mean accuracy lost, less half of its interval", POINTS, _TESTED),
        Shown("pairs_that_gain", "pairs where another device's networks are more accurate", PLAIN, _COUNTED),
        Shown(
            "least_equalled",
            f"share of networks with an equal of the device's own {_EQUAL}, least of all pairs and seeds",
            PERCENT,
            _COUNTED,
        ),
        _crossed("{device}_on_{other}_top1_lost", "accuracy lost", POINTS, _TESTED),
        _crossed(
            "{device}_on_{other}_latency_ms_ratio",
            f"latency at equal accuracy {_EQUAL}, over own ones', mean of both directions",
            TIMES,
            _OF_TABLE,
        ),
        _crossed("{device}_on_{other}_latency_ms_equals", f"those with an own equal {_EQUAL}", PLAIN, _COUNTED),
        _crossed(
            "{device}_on_{other}_latency_ms_equalled", f"share with an own equal {_EQUAL}", PERCENT, _COUNTED
        ),
        _crossed("{device}_on_{other}_changed", "those that need other formats", PERCENT, _COUNTED),
    ),
)
