"""The spec of an experiment: one YAML file, checked as a whole before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bitfront.experiments.space_files import short_name
from bitfront.experiments.spec_checks import (
    Choices,
    ConstraintText,
    Metric,
    by_name,
    different,
)
from bitfront.experiments.spec_data import DataSection
from bitfront.experiments.spec_devices import (
    DEFAULT_OBJECTIVES,
    by_names,
    check_names,
    given_problems,
    metric_problems,
    policy_problems,
    with_objectives,
)
from bitfront.experiments.spec_errors import Problem, SpecError, problem_of
from bitfront.experiments.spec_islands import island_gene_problems, island_metrics, island_problems
from bitfront.experiments.spec_meaning import (
    device_problems,
    fix_genes,
    predictor_problems,
    strategy_problems,
    uploaded_problems,
)
from bitfront.experiments.spec_sections import (
    DeviceSection,
    ExecutorSection,
    ExportSection,
    FrontSection,
    PredictorSection,
    SamplesSection,
    SearchSection,
    Section,
)
from bitfront.experiments.spec_space import SpaceSection
from bitfront.experiments.spec_supernet import SupernetSection, supernet_problems
from bitfront.experiments.spec_yaml import read_mapping
from bitfront.search.constraints import METRICS, Constraint, parse_constraint
from bitfront.supernet.errors import MissingFileError
from bitfront.supernet.genes import Choice
from bitfront.supernet.progress import silent
from bitfront.supernet.space import SearchSpace

__all__ = ["Problem", "Spec", "SpecError", "load_spec", "parse_spec", "spec_from"]

_Objectives = Annotated[tuple[Metric, ...], AfterValidator(different)]


class Spec(Section):
    """Everything that decides an experiment: the same spec gives the same front on the same machine."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["device"]}, {"required": ["devices"]}]},
    )
    name: str = Field(
        default="experiment",
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="A name for people; the experiment's id begins with it. Without it, the space's name.",
        examples=["digits"],
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Seed of everything random.")
    space: Annotated[SpaceSection, BeforeValidator(by_name)]
    data: Annotated[DataSection, BeforeValidator(by_name)]
    device: Annotated[DeviceSection | None, BeforeValidator(by_name)] = Field(
        default=None, description=" ".join((DeviceSection.__doc__ or "").split()), examples=["host-onnxruntime"]
    )
    devices: Annotated[dict[str, DeviceSection], BeforeValidator(by_names), AfterValidator(check_names)] = Field(
        default_factory=dict,
        description="Several devices at once, in place of `device`: networks must suit all of them, and what is "
        "searched for is named METRIC@NAME, as latency_ms@phone. Either `[bitfusion, host-onnxruntime]`, or with "
        "names of your own and options: `{phone: my-phone, cpu: {name: host-onnxruntime, options: {batch: 1}}}`.",
    )
    objectives: _Objectives = Field(
        default=DEFAULT_OBJECTIVES,
        min_length=1,
        strict=False,
        description=f"What is to be as good as can be, out of {', '.join(METRICS)}. With several devices, "
        "latency_ms and energy_mj have a device: `[top1, latency_ms@phone, latency_ms@cpu]`.",
    )
    constraints: tuple[ConstraintText, ...] = Field(
        default=(),
        strict=False,
        description="Hard limits on metrics; top1 is a fraction from 0 to 1.",
        examples=[["latency_ms <= 2", "top1 >= 0.95"]],
    )
    fixed: dict[str, Choices] = Field(
        default_factory=dict,
        description="Genes that are not searched freely: the name, or a pattern, and the choices that stay.",
        examples=[{"*.kernel": [3, 5], "head.weight_format": "int8"}],
    )
    supernet: SupernetSection = SupernetSection()
    samples: SamplesSection = SamplesSection()
    predictor: PredictorSection = PredictorSection()
    search: SearchSection = SearchSection()
    front: FrontSection = FrontSection()
    executor: ExecutorSection = ExecutorSection()
    export: ExportSection = ExportSection()

    @model_validator(mode="before")
    @classmethod
    def _name_after_space(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "name" not in value:
            space = value.get("space")
            name = space.get("name") if isinstance(space, Mapping) else space
            return {**value, "name": short_name(name)} if isinstance(name, str) and name else value
        return value

    @model_validator(mode="before")
    @classmethod
    def _objectives_of_devices(cls, value: Any) -> Any:
        return with_objectives(value) if isinstance(value, Mapping) else value

    @property
    def named_devices(self) -> dict[str, DeviceSection]:
        """Every device by its name, as in METRIC@NAME; where there is but one, by its own."""
        return {self.device.name: self.device} if self.device else dict(self.devices)

    @property
    def has_policies_per_device(self) -> bool:
        """Whether a candidate is an architecture with a bit-width policy for each device."""
        return self.search.policies == "per_device"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON-able values, defaults included; `spec_from` reads them back as an equal spec."""
        return self.model_dump(mode="json")

    def fitted(self) -> Spec:
        """The same with the data set's classes and channels, where the space leaves them open: loads the data.

        Raises:
            DataError: the data can not be read.
        """
        if not self.space.open_ends():
            return self
        return self.model_copy(update={"space": self.space.fitted(self.data.load(silent))})

    def hash(self) -> str:
        """SHA-256 of all fields."""
        return _digest(self.as_json())

    def supernet_hash(self, space_hash: str, data_hash: str) -> str:
        """SHA-256 of all that decides a supernet's weights, so that experiments can share it."""
        identity = self.supernet.identity()
        return _digest([space_hash, self.data.trained_with(), data_hash, self.seed, identity])

    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints as the search takes them."""
        return tuple(map(parse_constraint, self.constraints))

    def fixed_choices(self, space: SearchSpace) -> dict[str, tuple[Choice, ...]]:
        """Gene name to the choices that ``fixed`` leaves of it, as `SearchSpace.restrict` takes them.

        A gene that several names and patterns speak of keeps what all of them allow.

        Raises:
            SpecError: a name matches no gene, or leaves no choice of one; every such problem is listed.
        """
        allowed, problems = fix_genes(space, self.fixed)
        if problems:
            raise SpecError("the spec", problems)
        return allowed


def load_spec(path: Path) -> Spec:
    """The spec in a YAML file.

    Raises:
        MissingFileError: there is no such file, or none of a space that it names.
        SpecError: it is not acceptable; all problems that can be seen at once are listed.
        InvalidSpaceError: the file of a space that it names makes no space.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing: `bitfront init {path}` writes a commented spec") from error
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem("the file", None, f"can not be read as text ({error})", "give a YAML file in UTF-8")
        raise SpecError(str(path), [problem]) from error
    return parse_spec(text, str(path), path.parent)


def parse_spec(text: str, source: str = "the spec", folder: Path | None = None) -> Spec:
    """The spec in a YAML text; ``source`` says in errors where it came from, paths are seen from ``folder``.

    Raises:
        SpecError: as `load_spec`.
    """
    return spec_from(read_mapping(text, source), source, folder=folder)


def spec_from(
    data: Mapping[str, Any],
    source: str = "the spec",
    home: Path | None = None,
    folder: Path | None = None,
    is_stored: bool = False,
) -> Spec:
    """The spec in plain values, as from JSON. It may name the imported devices of ``home``, or BITFRONT_HOME's.

    Relative paths in it are seen from ``folder``, or from the working folder. ``is_stored``: it is an
    experiment's, which may keep a predictor that nobody finds under its name any more.

    Raises:
        SpecError: as `load_spec`.
    """
    from bitfront.experiments.store.home import home as usual_home

    home = home or usual_home()
    try:
        spec = Spec.model_validate(data, context={"home": home, "folder": folder})
    except ValidationError as error:
        problems = [problem_of(details, data, Spec) for details in error.errors(include_url=False)]
        raise SpecError(source, problems) from error
    problems = list(_problems_together(spec, home))
    if not is_stored:
        problems += uploaded_problems(spec, home)
    if problems:
        raise SpecError(source, problems)
    return spec


def _problems_together(spec: Spec, home: Path) -> Iterator[Problem]:
    yield from _device_problems(spec, home)
    yield from strategy_problems(spec.search.strategy, spec.search.options)
    known = {*spec.objectives, *(one.metric for one in spec.parsed_constraints())}
    yield from island_problems(spec.search.islands, spec.search.strategy, known)
    yield from predictor_problems(spec.predictor.kind, spec.predictor.options)
    yield from supernet_problems(spec.supernet)
    if spec.executor.kind == "local" and ((spec.executor.workers or 1) > 1 or spec.executor.address):
        yield Problem(
            "executor",
            f"local, workers {spec.executor.workers}, address {spec.executor.address}",
            "the local executor is one worker in this process",
            "choose kind: ray, or leave workers and address out",
        )
    if spec.fixed or any(one.fixed for one in spec.search.islands.each):
        from bitfront.supernet.spaces.settings import load_space

        space = load_space(spec.space.settings())
        allowed, problems = fix_genes(space, spec.fixed)
        yield from problems
        yield from island_gene_problems(spec.search.islands, space, allowed)


def _device_problems(spec: Spec, home: Path) -> Iterator[Problem]:
    found = list(given_problems(spec.device, spec.devices))
    costs = {}
    for name, section in spec.named_devices.items():
        place = "device" if spec.device else f"devices.{name}"
        costs[name], problems = device_problems(home, section.name, section.options, place)
        found += problems
    if spec.has_policies_per_device:
        found += policy_problems(spec.named_devices, spec.search.accuracy, spec.search.strategy)
        if spec.search.islands.wanted:
            rule = "does not go with a policy per device"
            found.append(
                Problem("search.islands", str(spec.search.islands.number), rule, "leave one of the two out")
            )
    yield from found
    if not found:
        metrics = {f"objectives[{i}]": metric for i, metric in enumerate(spec.objectives)}
        metrics |= {f"constraints[{i}]": one.metric for i, one in enumerate(spec.parsed_constraints())}
        metrics |= island_metrics(spec.search.islands)
        yield from metric_problems(metrics, costs, spec.has_policies_per_device)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
