"""What is claimed against what users would pick instead."""

from __future__ import annotations

from bitfront.experiments.results.claim import (
    MILLISECONDS,
    PERCENT,
    PLAIN,
    POINTS,
    SECONDS,
    TIMES,
    Claim,
    column_of,
)

_TESTED = "measured on test images, as exported"
_TIMED = "measured"
_COUNTED = "counted"
_EQUAL = "on the validation split"


_of_rival = column_of("method", "{rival}")
_at_latency = column_of("below a latency", "beside {rival}, latency {n}")

RIVALS = Claim(
    "rivals",
    "It beats what users would pick instead",
    "At the same latency networks of a joint search are at least as accurate as fp32 networks, as those after "
    "post-training quantization by ONNX Runtime's tool and by NNCF, and as those that other searches find in the "
    "same space; and at the same accuracy they are at least as fast. All are exported and run in OpenVINO.",
    "bitfront's own claim",
    "rivals",
    seeds=3,
    alone=True,
    shown=(
        _of_rival("{rival}_hypervolume", "share of the box that the front covers", PLAIN, _TESTED),
        _of_rival("ours_over_{rival}_gain", "accuracy that ours gain at equal latency, mean", POINTS, _TESTED),
        _of_rival("ours_over_{rival}_least_gain", "accuracy that ours gain, least", POINTS, _TESTED),
        _of_rival(
            "{rival}_latency_ms_ratio",
            f"latency at equal accuracy {_EQUAL}, over ours, mean of both directions",
            TIMES,
            _TIMED,
        ),
        _of_rival(
            "{rival}_latency_ms_equals", f"the rival's networks with an equal of ours {_EQUAL}", PLAIN, _COUNTED
        ),
        _of_rival(
            "{rival}_latency_ms_equalled",
            f"share of the rival's networks with an equal of ours {_EQUAL}",
            PERCENT,
            _COUNTED,
        ),
        _of_rival(
            "ours_equalled_by_{rival}",
            f"share of our networks with an equal of the rival's {_EQUAL}",
            PERCENT,
            _COUNTED,
        ),
        _of_rival("{rival}_evaluations", "candidates scored", PLAIN, _COUNTED),
        _of_rival("{rival}_seconds", "time for search and export", SECONDS, _TIMED),
        _of_rival("{rival}_ran", "share of seeds in which it ran", PERCENT, _COUNTED),
        _at_latency("{rival}_latency_ms_{n}", "latency", MILLISECONDS, _TIMED),
        _at_latency("ours_over_{rival}_gain_{n}", "accuracy that ours gain", POINTS, _TESTED),
    ),
)
