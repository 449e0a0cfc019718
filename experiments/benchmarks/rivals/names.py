"""What methods are called, in figures' names and for people."""

from __future__ import annotations

from collections.abc import Mapping

OURS = "ours"
NAMES: Mapping[str, str] = {
    OURS: "joint search (ours)",
    "fp32": "the same search in fp32",
    "ort_int8": "ONNX Runtime's int8",
    "nncf": "NNCF with accuracy control",
    "optuna_nsga2": "Optuna's NSGA-II",
    "optuna_tpe": "Optuna's TPE",
    "dynast_evolutionary": "DyNAS-T's evolutionary tactic",
    "dynast_linas": "DyNAS-T's LINAS",
}
