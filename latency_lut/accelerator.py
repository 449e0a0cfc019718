"""An accelerator as a roofline (Williams et al., CACM 2009) knows it, and the YAML that describes it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import yaml

from bitfront.supernet.errors import BitfrontError, UnknownNameError
from bitfront.supernet.files import read_bytes
from bitfront.supernet.layers import Op
from bitfront.supernet.quantization.formats import FORMATS

PACKAGED = Path(__file__).with_name("devices") / "roofline.yaml"

_OPS = get_args(Op)
_ENERGIES = ("mac_pj", "dram_pj_per_byte")
_PER_PAIR = ("peak_gmacs_per_s", "mac_pj")

_EXAMPLES = {"peak_gmacs_per_s": "int8: 256", "mac_pj": "int8: 0.3", "utilisation": "depthwise: 0.1"}
_RULES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "peak_gmacs_per_s": ("above 0", lambda x: x > 0),
    "bandwidth_gb_per_s": ("above 0", lambda x: x > 0),
    "overhead_us": ("of at least 0", lambda x: x >= 0),
    "mac_pj": ("of at least 0", lambda x: x >= 0),
    "dram_pj_per_byte": ("of at least 0", lambda x: x >= 0),
    "utilisation": ("above 0 and at most 1", lambda x: 0 < x <= 1),
}


class InvalidAcceleratorError(BitfrontError):
    """The description of an accelerator has wrong, unknown or missing fields; all of them are named."""


@dataclass(frozen=True)
class Accelerator:
    """Peaks and prices of an accelerator, by (weight format, activation format) or operator.

    Attributes:
        name: for people.
        peak_gmacs_per_s: 10^9 multiply-accumulates per second of each pair of formats that it executes, > 0.
        bandwidth_gb_per_s: 10^9 bytes per second to and from DRAM, > 0.
        overhead_us: microseconds that every layer takes beside, >= 0.
        mac_pj: energy of one multiply-accumulate in pJ for at least the pairs that have a peak, >= 0.
        dram_pj_per_byte: energy of a byte moved to or from DRAM in pJ, >= 0.
        utilisation: share of the peak that an operator reaches, in (0, 1]; 1 where it is not given.
    """

    name: str
    peak_gmacs_per_s: Mapping[tuple[str, str], float]
    bandwidth_gb_per_s: float
    overhead_us: float
    mac_pj: Mapping[tuple[str, str], float]
    dram_pj_per_byte: float
    utilisation: Mapping[str, float] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """The description in the form of the YAML, JSON-able."""
        per_pair = {name: {"/".join(pair): x for pair, x in getattr(self, name).items()} for name in _PER_PAIR}
        return {**asdict(self), **per_pair, "utilisation": dict(self.utilisation)}


def read_accelerator(path: Path = PACKAGED) -> Accelerator:
    """The accelerator that a YAML file describes; energies that it leaves out are those of the packaged one.

    Raises:
        MissingFileError, CorruptFileError: there is no such file, or it can not be read.
        InvalidAcceleratorError: it is no YAML, or fields are wrong, unknown or missing.
    """
    value = _mapping(path)
    if path != PACKAGED:
        defaults = _mapping(PACKAGED)
        value = {**{name: defaults[name] for name in _ENERGIES}, **value}
    problems, found = _checked(value)
    if problems:
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise InvalidAcceleratorError(f"{path} does not describe an accelerator:{listed}")
    return Accelerator(**found)


class _Loader(yaml.SafeLoader):
    """Plain values; a repeated key is an error instead of a silent change of mind."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _mapping(path: Path) -> dict[Any, Any]:
    try:
        value = yaml.load(read_bytes(path), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidAcceleratorError(f"{path} is no valid YAML: {error}. Mend it there") from error
    if not isinstance(value, dict):
        raise InvalidAcceleratorError(
            f"{path} holds {value!r}: write `field: value` lines, as in the packaged {PACKAGED}"
        )
    return value


def _checked(value: Mapping[Any, Any]) -> tuple[list[str], dict[str, Any]]:
    """What is wrong, and the fields as `Accelerator` takes them."""
    known = [one.name for one in fields(Accelerator)]
    problems = [
        f"{name!r} is no field: {_nearest(name, known)}the fields are {', '.join(known)}"
        for name in value
        if name not in known
    ]
    needed = [one.name for one in fields(Accelerator) if one.default_factory is MISSING]
    problems += [f"{name} is missing: give it, see {PACKAGED}" for name in needed if name not in value]
    found: dict[str, Any] = {}
    for name in known:
        if name in value:
            found[name] = _field(name, value[name], problems)
    if not problems:
        problems += _without_energy(found)
    return problems, found


def _field(name: str, value: Any, problems: list[str]) -> Any:
    if name == "name":
        if not isinstance(value, str) or not value.strip():
            problems.append(f"name is {value!r}: give it as text")
        return value
    if name in _PER_PAIR:
        return _numbers(name, value, problems, _pair)
    if name == "utilisation":
        return _numbers(name, value, problems, _op)
    _check_number(name, name, value, problems)
    return value


def _numbers(name: str, value: Any, problems: list[str], parsed: Callable[[Any], Any]) -> dict[Any, float]:
    if not isinstance(value, dict) or (not value and name != "utilisation"):
        problems.append(f"{name} is {value!r}: give a number for each name, such as {{{_EXAMPLES[name]}}}")
        return {}
    found: dict[Any, float] = {}
    for key, number in value.items():
        _check_number(name, f"{name}.{key}", number, problems)
        try:
            if parsed(key) in found:
                problems.append(f"{name}.{key} says again what another name says: keep one")
            found[parsed(key)] = number
        except UnknownNameError as error:
            problems.append(f"{name}.{key}: {error}")
    return found


def _check_number(name: str, place: str, value: Any, problems: list[str]) -> None:
    rule, holds = _RULES[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not holds(value):
        problems.append(f"{place} is {value!r}: give a number {rule}")


def _pair(key: Any) -> tuple[str, str]:
    """``int8`` or ``int4/int8``: weight format and activation format."""
    weight, slash, activation = str(key).partition("/")
    pair = weight.strip(), (activation if slash else weight).strip()
    for name in pair:
        FORMATS.get(name)
    return pair


def _op(key: Any) -> str:
    if key not in _OPS:
        raise UnknownNameError("operator", key, _OPS)
    return str(key)


def _without_energy(found: Mapping[str, Any]) -> list[str]:
    missing = [pair for pair in found["peak_gmacs_per_s"] if pair not in found["mac_pj"]]
    return [f"mac_pj lacks {'/'.join(pair)}, which has a peak: give its energy" for pair in missing]


def _nearest(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}? " if near else ""
