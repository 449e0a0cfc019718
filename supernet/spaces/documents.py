"""A space as a document of plain values: how a user's own space is read, kept, and sent to workers.

``family`` is ``mbconv`` or ``bottleneck``; the other keys are the fields of `MBConvConfig` or `BottleneckConfig`,
and ``rules``: a list of ``{genes: [name, ...], allowed: [[choice, ...], ...]}``, as in `Rule`; one of a single
gene, which may be a depth, restricts its choices. ``classes`` and ``in_channels`` may be left out: who builds the
space gives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bitfront.supernet.errors import BitfrontError, InvalidSpaceError, UnknownNameError
from bitfront.supernet.genes import Choice, Rule
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.bottleneck import BottleneckConfig, BottleneckSpace
from bitfront.supernet.spaces.fields import Problems, read_dataclass
from bitfront.supernet.spaces.mbconv import MBConvConfig, MBConvSpace

_FAMILIES: dict[str, tuple[Any, Any]] = {
    "bottleneck": (BottleneckSpace, BottleneckConfig),
    "mbconv": (MBConvSpace, MBConvConfig),
}
ENDS = {"classes": 1000, "in_channels": 3}
"""What a document may leave to the data set, and what it is where there is none."""


def space_from(document: Mapping[str, Any], name: str, source: str | None = None) -> SearchSpace:
    """The space of a document; ``source`` says in errors where it came from.

    Raises:
        InvalidSpaceError: a field is missing, unknown or does not make sense; all such problems are listed.
    """
    source, problems = source or f"space {name!r}", Problems()
    rest = {**ENDS, **document}
    family, rules = rest.pop("family", None), rest.pop("rules", ())
    if family not in _FAMILIES:
        problems.add("family", family, "must be one of " + ", ".join(_FAMILIES), "say which blocks the space has")
        raise InvalidSpaceError(source, problems)
    kind, config = _FAMILIES[family]
    frame, ties = read_dataclass(config, rest, "", problems), _read_rules(rules, problems)
    if problems:
        raise InvalidSpaceError(source, problems)
    try:
        space = _tied(kind(name, frame), ties, problems)
    except InvalidSpaceError as error:
        raise InvalidSpaceError(source, error.args[1]) from error
    except BitfrontError as error:
        raise InvalidSpaceError(source, [f"rules: {error}"]) from error
    if problems:
        raise InvalidSpaceError(source, problems)
    return space


def _tied(space: SearchSpace, rules: Sequence[Rule], problems: Problems) -> SearchSpace:
    """The space under rules; as it is where ``problems`` were added."""
    for i, rule in enumerate(rules):
        _refuse_strange_choices(space, rule, f"rules[{i}].allowed", problems)
    if problems:
        return space
    for rule in rules:
        if len(rule.genes) == 1:
            space = space.restrict({rule.genes[0]: [value for (value,) in rule.allowed]})
    return space.restrict(rules=[rule for rule in rules if len(rule.genes) > 1])


def _refuse_strange_choices(space: SearchSpace, rule: Rule, path: str, problems: Problems) -> None:
    for k, name in enumerate(rule.genes):
        if name not in space.position:
            raise UnknownNameError("gene in a rule", name, space.position)
        choices = space.genes[space.position[name]].choices
        for value in sorted({row[k] for row in rule.allowed}.difference(choices), key=str):
            problems.add(path, value, f"gene {name} has no such choice", f"choose from {list(choices)}")


def document_of(space: SearchSpace) -> dict[str, Any]:
    """The document, plain JSON values, that `space_from` reads back as an equal space.

    Raises:
        InvalidSpaceError: the space is of no family that can be written down.
    """
    for family, (kind, _) in _FAMILIES.items():
        if type(space) is kind:
            rules = list(_written_rules(space))
            document = {"family": family, **space.config, **({"rules": rules} if rules else {})}
            plain: dict[str, Any] = json.loads(json.dumps(document))
            return plain
    known = ", ".join(kind.__name__ for kind, _ in _FAMILIES.values())
    raise InvalidSpaceError(
        f"space {space.name!r}",
        [
            f"a {type(space).__name__} can not be written down: return one of {known}, or install the space as a "
            "package with an entry point in the group bitfront.spaces"
        ],
    )


def _written_rules(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Rules and restrictions, without what a device allows and the space does not have."""
    for rule in space.rules:
        rows = (list(row) for row in rule.rows_of(space.genes[space.position[name]] for name in rule.genes))
        yield {"genes": list(rule.genes), "allowed": sorted(rows, key=str)}
    for gene in space.genes:
        if (kept := space.allowed_choices(gene.name)) != gene.choices:
            yield {"genes": [gene.name], "allowed": [[choice] for choice in kept]}


def _read_rules(values: object, problems: Problems) -> tuple[Rule, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        problems.add("rules", values, "must be a list", "write one `- genes: [...]` and `allowed: [...]` each")
        return ()
    read = (_read_rule(value, f"rules[{i}]", problems) for i, value in enumerate(values))
    return tuple(rule for rule in read if rule is not None)


def _read_rule(value: object, path: str, problems: Problems) -> Rule | None:
    if not isinstance(value, Mapping) or value.keys() != {"genes", "allowed"}:
        problems.add(
            path, value, "must have genes and allowed", "write {genes: [a, b], allowed: [[1, 2], [3, 4]]}"
        )
        return None
    genes, allowed = value["genes"], value["allowed"]
    if not _is_list_of(genes, str) or not genes:
        problems.add(f"{path}.genes", genes, "must be a list of names of genes", "name what is tied")
        return None
    if not isinstance(allowed, list) or not all(_is_list_of(row, int | str) for row in allowed):
        problems.add(f"{path}.allowed", allowed, "must be a list of lists of choices", "list what goes together")
        return None
    if any(len(row) != len(genes) for row in allowed):
        problems.add(f"{path}.allowed", allowed, f"every row has {len(genes)} choices, one a gene", "complete it")
        return None
    rows: list[tuple[Choice, ...]] = [tuple(row) for row in allowed]
    return Rule(tuple(genes), frozenset(rows))


def _is_list_of(value: object, kind: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)
