"""Conditions such as ``latency_ms <= 5 and top1 >= 0.9``, read by a grammar that can do nothing else.

(``pandas.DataFrame.query`` is not used: with its Python engine a condition can call functions.)
"""

from __future__ import annotations

import ast
import itertools
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.search.constraints import QUALIFIED_NAME
from bitfront.supernet.errors import BitfrontError, UnknownNameError

Column = NDArray[np.float64] | NDArray[np.bool_]
Mask = NDArray[np.bool_]

_LONGEST = 2000
_HINT = (
    "write comparisons of names and numbers, joined with 'and', 'or' and 'not', "
    "for example 'latency_ms <= 5 and top1 >= 0.9'"
)
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Mask]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class InvalidQueryError(BitfrontError):
    """A condition on candidates can not be read."""


def select(text: str, columns: Mapping[str, Column]) -> Mask:
    """Which rows meet a condition, shape (n,).

    Grammar: comparisons (``< <= > >= == !=``, also chained) between column names and numbers; names of
    true-or-false columns; ``and``, ``or``, ``not``, parentheses. A column of one device is written as it is named,
    ``latency_ms@pixel-6 <= 5``: there is no arithmetic that a hyphen could be taken for. NaN (what has
    no value) meets no comparison but ``!=``.

    Raises:
        UnknownNameError: a name is no column; the message names the nearest one.
        InvalidQueryError: the text does not follow the grammar; the message names the part that does not.
    """
    if len(text) > _LONGEST:
        raise InvalidQueryError(
            f"the condition has {len(text)} characters, at most {_LONGEST} are read: shorten it"
        )
    try:
        plain, names = _without_devices(text.strip())
        tree = ast.parse(plain, mode="eval")
        return _Reader(text, columns, plain, names).condition(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidQueryError(f"can not read the condition {text!r} ({error}): {_HINT}") from error


def _without_devices(text: str) -> tuple[str, dict[str, str]]:
    """The text with an ordinary name for each METRIC@DEVICE, and what each of these stands for."""
    free = (name for i in itertools.count() if (name := f"q{i}") not in text)
    names: dict[str, str] = {}
    for found in re.findall(QUALIFIED_NAME, text):
        if found not in names.values():
            names[next(free)] = found
    back = {found: name for name, found in names.items()}
    return re.sub(QUALIFIED_NAME, lambda match: back[match[0]], text), names


class _Reader:
    """Reads the syntax tree of ``plain``, in which ``names`` stand for names that Python could not read."""

    def __init__(self, text: str, columns: Mapping[str, Column], plain: str, names: Mapping[str, str]) -> None:
        self.text = text
        self.columns = columns
        self.plain = plain
        self.names = names

    def condition(self, node: ast.expr) -> Mask:
        match node:
            case ast.BoolOp(op=op, values=values):
                joined = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return np.asarray(joined.reduce([self.condition(value) for value in values]), dtype=bool)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.condition(operand)
            case ast.Compare():
                return self._comparison(node)
            case ast.Name(id=name) if self._column(name).dtype == np.bool_:
                return np.asarray(self._column(name), dtype=bool)
            case _:
                raise self._refused(node, "is no comparison")

    def _comparison(self, node: ast.Compare) -> Mask:
        values = [self._value(side) for side in (node.left, *node.comparators)]
        met = np.ones(len(next(iter(self.columns.values()))), dtype=bool)
        for i, comparison in enumerate(node.ops):
            if type(comparison) not in _COMPARISONS:
                raise self._refused(node, "is not one of the comparisons < <= > >= == !=")
            met &= _COMPARISONS[type(comparison)](values[i], values[i + 1])
        return met

    def _value(self, node: ast.expr) -> Column | float:
        if isinstance(node, ast.Name):
            return self._column(node.id)
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        number = node.operand if isinstance(node, ast.UnaryOp) and negative else node
        if not isinstance(number, ast.Constant) or type(number.value) not in (int, float):
            raise self._refused(node, "is neither a name nor a number")
        return float(str(number.value)) * (-1 if negative else 1)

    def _column(self, name: str) -> Column:
        name = self.names.get(name, name)
        if name not in self.columns:
            raise UnknownNameError(f"name in the condition {self.text!r}:", name, self.columns)
        return self.columns[name]

    def _refused(self, node: ast.expr, why: str) -> InvalidQueryError:
        part = ast.get_source_segment(self.plain, node) or self.text
        for stand_in, name in self.names.items():
            part = re.sub(rf"\b{stand_in}\b", name, part)
        return InvalidQueryError(f"condition {self.text!r}: {part!r} {why}; {_HINT}")
