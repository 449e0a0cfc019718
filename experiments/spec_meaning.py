"""What fits together in a spec whose single values are all right: devices, options, genes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bitfront.experiments.spec_checks import registry_at
from bitfront.experiments.spec_errors import Problem, nearest, shown
from bitfront.supernet.errors import BitfrontError, UnknownNameError
from bitfront.supernet.fixed_genes import narrowed
from bitfront.supernet.genes import Choice
from bitfront.supernet.space import SearchSpace

_STRATEGIES = "bitfront.search.strategies:STRATEGIES"
_PREDICTORS = "bitfront.predictors:PREDICTORS"
_GIVEN_OTHERWISE = frozenset({"problem", "rng", "population"})


def strategy_problems(name: str, options: Mapping[str, Any], place: str = "search.options") -> Iterator[Problem]:
    """Options, which stand at ``place``, that a strategy does not have."""
    if not options:  # nothing is loaded
        return
    unknown = list(_unknown_options(place, name, registry_at(_STRATEGIES).get(name), options))
    yield from unknown or _refused_options(name, options, place)


def _refused_options(name: str, options: Mapping[str, Any], place: str) -> Iterator[Problem]:
    """What the strategy itself says to the values, tried one by one."""
    from bitfront.search.problem import Problem as Search
    from bitfront.search.strategies import make_strategy
    from bitfront.supernet.spaces.digits import digits

    nothing = Search(digits(), ["macs"], lambda genomes: np.zeros(len(genomes)), lambda genomes: {})
    for option, value in options.items():
        try:
            make_strategy(name, nothing, np.random.default_rng(0), {option: value})
        except BitfrontError as error:
            rule, _, fix = str(error).partition(": ")
            yield Problem(f"{place}.{option}", shown(value), rule, fix or "choose another value")
        except (TypeError, ValueError) as error:
            yield Problem(f"{place}.{option}", shown(value), f"has a wrong type ({error})", "give a number")


def predictor_problems(kind: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Options that a predictor does not have, or refuses."""
    if not options:  # nothing is loaded
        return
    known = registry_at(_PREDICTORS).get(kind)
    for option, value in options.items():
        place = f"predictor.options.{option}"
        try:
            known.read_options({option: value})
        except UnknownNameError:
            names = [field.name for field in fields(known.Options)]
            yield Problem(place, shown(value), f"{kind} has no such option", nearest(option, names))
        except BitfrontError as error:
            yield Problem(place, shown(value), str(error).rpartition(": ")[2], "choose another value")


def device_problems(
    home: Path, name: str, options: Mapping[str, Any], place: str = "device"
) -> tuple[tuple[str, ...], list[Problem]]:
    """The costs that a known device gives, and options that it does not have, lacks or refuses."""
    from bitfront.experiments.device_names import device_factory, needed_options

    factory = device_factory(home, name)
    unknown = list(_unknown_options(f"{place}.options", name, factory, options))
    if unknown:
        return (), unknown
    missing = [option for option in needed_options(factory) if option not in options]
    if missing:
        rule = f"{name} can not do without {', '.join(missing)}"
        return (), [Problem(f"{place}.options", None, rule, "give it")]
    try:
        return tuple(factory(**options).costs), []
    except BitfrontError as error:
        rule, _, fix = str(error).partition(": ")
        return (), [Problem(place, shown(name), rule, fix)]


def fix_genes(
    space: SearchSpace, fixed: Mapping[str, Sequence[Choice]], place: str = "fixed"
) -> tuple[dict[str, tuple[Choice, ...]], list[Problem]]:
    """Gene name to the choices that stay, and what is wrong with ``fixed``, which stands at ``place``."""
    allowed: dict[str, tuple[Choice, ...]] = {}
    problems: list[Problem] = []
    for pattern, values in fixed.items():
        try:
            allowed |= narrowed(space.name, space.genes, allowed, pattern, values)
        except BitfrontError as error:
            rule, _, fix = str(error).partition(": ")
            problems.append(Problem(f"{place}.{pattern}", shown(list(values)), rule, fix))
    return allowed, problems


def _unknown_options(place: str, name: str, factory: Any, options: Mapping[str, Any]) -> Iterator[Problem]:
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    given = {*_GIVEN_OTHERWISE, *(factory.keywords if isinstance(factory, partial) else ())}
    known = [parameter.name for parameter in parameters if parameter.name not in given]
    for option, value in options.items():
        if option not in known:
            yield Problem(f"{place}.{option}", shown(value), f"{name} has no such option", nearest(option, known))
