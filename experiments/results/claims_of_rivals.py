"""What is claimed against what users would pick instead."""

from __future__ import annotations

from bitfront.experiments.results.claim import MILLISECONDS, PERCENT, PLAIN, POINTS, SECONDS, TIMES, Claim, Shown

_TESTED = "measured on test images, as exported"
_TIMED = "measured"
_COUNTED = "counted"

RIVALS = Claim(
    "rivals",
    "It beats what users would pick instead",
    "At the same latency networks of a joint search are at least as accurate as fp32 networks, as those after "
    "post-training quantization by ONNX Runtime's tool and by NNCF, and as those that other searches find in the "
    "same space; and at the same accuracy they are at least as fast. All are exported and run in OpenVINO.",
    "bitfront's own claim",
    "rivals",
    seeds=3,
    shown=(
        Shown("ours_over_{rival}_gain", "over {rival}: accuracy gained, mean over latencies", POINTS, _TESTED),
        Shown("ours_over_{rival}_least_gain", "over {rival}: accuracy gained, least", POINTS, _TESTED),
        Shown("ours_over_{rival}_gain_{n}", "over {rival}: accuracy gained at latency {n}", POINTS, _TESTED),
        Shown("{rival}_latency_ms_{n}", "beside {rival}: latency {n}", MILLISECONDS, _TIMED),
        Shown("{rival}_latency_ms_ratio", "latency of {rival} at equal accuracy, over ours", TIMES, _TIMED),
        Shown("{rival}_latency_ms_equalled", "{rival}: networks that ours match in accuracy", PERCENT, _COUNTED),
        Shown("ours_equalled_by_{rival}", "ours: networks that {rival} matches in accuracy", PERCENT, _COUNTED),
        Shown("ours_hypervolume", "ours: share of the box that the front covers", PLAIN, _TESTED),
        Shown("{rival}_hypervolume", "{rival}: share of the box that the front covers", PLAIN, _TESTED),
        Shown("ours_seconds", "ours: time for search and export, the predictor at hand", SECONDS, _TIMED),
        Shown("{rival}_seconds", "{rival}: time for search and export", SECONDS, _TIMED),
        Shown("ours_evaluations", "ours: candidates that were scored", PLAIN, _COUNTED),
        Shown("{rival}_evaluations", "{rival}: candidates that were scored", PLAIN, _COUNTED),
        Shown("{rival}_ran", "{rival}: could run here (1 is yes)", PLAIN, _COUNTED),
    ),
)
