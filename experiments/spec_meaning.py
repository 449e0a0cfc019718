"""What fits together in a spec whose single values are all right: devices, options, genes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfront.experiments.spec_checks import registry_at
from bitfront.experiments.spec_errors import Problem, nearest, shown
from bitfront.experiments.uploaded_predictors import UploadedFacts, uploaded_facts
from bitfront.supernet.errors import BitfrontError, UnknownNameError
from bitfront.supernet.fixed_genes import narrowed
from bitfront.supernet.genes import Choice
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:
    from bitfront.experiments.spec import Spec

_STRATEGIES = "bitfront.search.strategies:STRATEGIES"
_PREDICTORS = "bitfront.predictors:PREDICTORS"
_UPLOADED = "predictor.uploaded"
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


def uploaded_problems(spec: Spec, home: Path, is_fitted: bool = False) -> Iterator[Problem]:
    """What speaks against the predictor that a spec names, if it names one that was sent.

    Where the data set decides a part of the space, the whole of it is looked at once that is known (``is_fitted``,
    after `Spec.fitted`); until then, its name.
    """
    name = spec.predictor.uploaded
    if name is None:
        return
    for field, given in (("options", spec.predictor.options), ("tune", spec.predictor.tune)):
        if given:
            rule = "is for a predictor that is fitted, and `uploaded` names one that was"
            yield Problem(f"predictor.{field}", shown(given), rule, "leave one of the two out")
    if spec.search.accuracy == "measured":
        rule = "is not asked where accuracy is measured"
        yield Problem(_UPLOADED, shown(name), rule, "leave it, or `accuracy: measured`, out")
    try:
        facts = uploaded_facts(home, name)
    except BitfrontError as error:
        yield Problem(_UPLOADED, shown(name), f"can not be used: {error}", "send it again, with replace=true")
        return
    if facts.how == "fp32":
        rule = "has learned fp32 candidates alone, and so is blind to formats"
        yield Problem(_UPLOADED, shown(name), rule, "send one that has learned quantized candidates as well")
    if words := _other_space(spec, facts, is_fitted or not spec.space.open_ends()):
        yield Problem(_UPLOADED, shown(name), words, "send one that was fitted for this space")


def _other_space(spec: Spec, facts: UploadedFacts, is_whole: bool) -> str:
    from bitfront.supernet.spaces.settings import load_space

    space = load_space(spec.space.settings())
    if facts.space != space.name:
        return f"predicts for space {facts.space!r}, not for {space.name!r}"
    if is_whole and facts.space_hash != space.hash():
        return f"predicts for a space {space.name!r} with other genes or options"
    return ""


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
