"""An Optuna study in memory that can be taken out as plain values and put back exactly."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from bitfront.search.constraints import Floats

_NAME = "bitfront"
_CONSTRAINTS = "constraints"
_SUGGESTED = "tpe:relative_params:"  # all of a trial's parameters once more, for other processes


@contextmanager
def quiet() -> Iterator[None]:
    """No words of Optuna's on parts of it that are experimental or will go, nor on studies that it creates."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


class OptunaStudy:
    """Trials over ``distributions`` with ``m`` minimised values; parameters are whole numbers.

    Its methods that ask or tell are to be called within `quiet`.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], m: int) -> None:
        self._distributions = dict(distributions)
        self._m = m
        self._excess: dict[int, Sequence[float]] = {}
        self._open()

    def use(self, sampler: BaseSampler) -> None:
        """Let this one suggest from now on."""
        self._study.sampler = sampler

    def constraints(self, trial: FrozenTrial) -> Sequence[float]:
        """The ``constraints_func`` of samplers: excess over each constraint, known once a trial is told."""
        return self._excess[trial.number]

    def suggest(self) -> tuple[int, dict[str, int]]:
        """Number and parameters of a new trial."""
        trial = self._study.ask(self._distributions)
        return trial.number, dict(trial.params)

    def tell(self, number: int, F: Floats, G: Floats) -> None:
        """Values (m,) and excess (c,) of a trial; infinite values: it failed."""
        self._excess[number] = tuple(G.tolist())
        if np.isfinite(F).all():
            self._study.tell(number, F.tolist())
        else:
            self._study.tell(number, state=TrialState.FAIL)

    def add(self, params: Mapping[str, int], F: Floats, G: Floats) -> None:
        """A finished trial that nobody suggested."""
        failed = not np.isfinite(F).all()
        state, attributes = TrialState.FAIL if failed else TrialState.COMPLETE, {}
        if len(G) and not failed:
            attributes = {_CONSTRAINTS: tuple(G.tolist())}
        self._add(state, params, None if failed else F.tolist(), attributes)

    def dump(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "trials": [self._plain(trial) for trial in self._study.get_trials(deepcopy=False)],
            "attributes": dict(self._storage.get_study_system_attrs(self._id)),
        }

    def load(self, values: Mapping[str, Any]) -> None:
        """Take `dump` back, in place of what is here."""
        with quiet():
            self._open()
            for state, params, told, attributes in values["trials"]:
                named = dict(zip(self._distributions, params, strict=True))
                self._add(TrialState[state], named, told, attributes)
            for key, value in values["attributes"].items():
                self._storage.set_study_system_attr(self._id, key, value)

    def _open(self) -> None:
        with quiet():
            self._storage = InMemoryStorage()
            self._study = optuna.create_study(
                storage=self._storage, study_name=_NAME, directions=["minimize"] * self._m
            )
            self._id = self._storage.get_study_id_from_name(_NAME)

    def _plain(self, trial: FrozenTrial) -> list[Any]:
        params = [trial.params[name] for name in self._distributions]
        notes = {key: value for key, value in trial.system_attrs.items() if not key.startswith(_SUGGESTED)}
        return [trial.state.name, params, trial.values, notes]

    def _add(
        self,
        state: TrialState,
        params: Mapping[str, int],
        values: Sequence[float] | None,
        attributes: Mapping[str, Any],
    ) -> None:
        trial = create_trial(
            state=state,
            params=dict(params),
            distributions=self._distributions,
            values=values,
            system_attrs=dict(attributes),
        )
        self._study.add_trial(trial)
