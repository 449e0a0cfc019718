"""Runs a tactic of DyNAS-T in whatever Python has it: ``python dynast_script.py PLAN``, a JSON document.

PLAN: ``tactic`` (evolutionary or linas), ``choices`` (choice indices of each gene), ``evaluations``,
``population``, ``inner`` (evaluations of LINAS's inner loop), ``seed``, ``results`` (a CSV file that LINAS learns
from). Of each candidate that DyNAS-T wants to know the choice indices are a line on stdout; the answer is a line
of stdin, a list of its top-1 error and its latency. This file imports nothing of bitfront.

The families of networks that DyNAS-T brings are not used. They need fairseq, which can not be imported from Python
3.11 on (its issue 5012), and gigabytes of other packages, so that empty modules stand in for them; the search is
DyNAS-T's own.
"""

from __future__ import annotations

import csv
import importlib.abc
import importlib.machinery
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

_NAME = "vit_base_imagenet"  # the place of DyNAS-T's own registry that ours is put in
_METRICS = ["latency", "accuracy_top1"]
_FAMILIES = ("image_classification", "machine_translation", "text_classification")
_STANDS_IN = ("torch", *(f"dynast.supernetwork.{family}" for family in _FAMILIES))


class _StandIn(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if any(name == one or name.startswith(f"{one}.") for one in _STANDS_IN):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


class Asked:
    """What answers for candidates: whoever reads our stdout."""

    def __init__(self) -> None:
        self._out = sys.stdout
        sys.stdout = sys.stderr  # DyNAS-T prints

    def __call__(self, genome: Sequence[int]) -> tuple[float, float]:
        """Top-1 error and latency."""
        print(json.dumps([int(choice) for choice in genome]), file=self._out, flush=True)
        error, latency = json.loads(sys.stdin.readline())
        return error, latency


class Runner:
    """What LINAS makes of its predictors; where it has none, all is truly evaluated."""

    def __init__(self, acc_predictor: Any = None, latency_predictor: Any = None, **_: Any) -> None:
        self._top1, self._latency = acc_predictor, latency_predictor

    def predicted(self, features: Any) -> tuple[float, float]:
        """Top-1 error and latency by one-hot features (1, n)."""
        return 1.0 - float(self._top1.predict(features)[0]), float(self._latency.predict(features)[0])


class Interface:
    """As DyNAS-T's `EvaluationInterface`s: asks for what is to be known truly, and `Runner` for the rest."""

    def __init__(
        self,
        asked: Asked,
        evaluator: Any,
        manager: Any,
        optimization_metrics: list[str],
        csv_path: Any,
        **rest: Any,
    ) -> None:
        self._asked, self._runner, self._encoding = asked, evaluator, manager
        self._metrics, self._csv = optimization_metrics, csv_path
        self._is_predicting = rest.get("predictor_mode", False)

    def format_csv(self, header: list[str]) -> None:
        """Begin the file that LINAS learns from."""
        Path(self._csv).write_text(",".join(header) + "\n")

    def eval_subnet(self, x: Any) -> tuple[Any, ...]:
        """What a vector of choices means, and its objectives, minimised."""
        chosen = self._encoding.translate2param(x)
        error, latency = self._scored(chosen)
        if self._csv:
            with Path(self._csv).open("a", newline="") as file:
                csv.writer(file).writerow([chosen, "", 0, latency, 0, 1.0 - error])
        found = {"latency": latency, "accuracy_top1": error - 1.0}
        return (chosen, *(found[metric] for metric in self._metrics))

    def _scored(self, chosen: Any) -> tuple[float, float]:
        if not self._is_predicting:
            return self._asked([values[0] for values in chosen.values()])
        features = self._encoding.onehot_generic(self._encoding.translate2pymoo(chosen))
        error, latency = self._runner.predicted(features.reshape(1, -1))
        return error, latency


def main(plan: dict[str, Any]) -> None:
    """Let the tactic search until its evaluations are used."""
    sys.meta_path.insert(0, _Finder())
    from dynast.search import search_tactic

    _register(search_tactic, plan, Asked())
    tactic = {"evolutionary": search_tactic.Evolutionary, "linas": search_tactic.LINAS}[plan["tactic"]]
    tactic(
        supernet=_NAME,
        optimization_metrics=list(_METRICS),
        measurements=list(_METRICS),
        num_evals=plan["evaluations"],
        results_path=plan["results"],
        population=plan["population"],
        seed=plan["seed"],
    ).search()


def _register(search_tactic: Any, plan: dict[str, Any], asked: Asked) -> None:
    """Our space in the place of a family that DyNAS-T knows."""
    from dynast.search.encoding import EncodingBase

    search_tactic.ViTRunner = Runner
    search_tactic.EVALUATION_INTERFACE[_NAME] = partial(Interface, asked)
    search_tactic.SUPERNET_ENCODING[_NAME] = EncodingBase
    search_tactic.LINAS_INNERLOOP_EVALS[_NAME] = plan["inner"]
    search_tactic.SUPERNET_PARAMETERS[_NAME] = {
        f"gene{number}": {"count": 1, "vars": choices} for number, choices in enumerate(plan["choices"])
    }


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
