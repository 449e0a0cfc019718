from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfront.search.query import InvalidQueryError, select
from bitfront.supernet.errors import UnknownNameError

COLUMNS = {
    "latency_ms": np.array([1.0, 5.0, 3.0, np.nan]),
    "top1": np.array([0.8, 0.95, 0.9, 0.99]),
    "dominated": np.array([False, True, False, False]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency_ms <= 5 and top1 >= 0.9", [0, 1, 1, 0]),
        ("latency_ms < 3 or top1 > 0.96", [1, 0, 0, 1]),
        ("not (latency_ms < 4)", [0, 1, 0, 1]),
        ("1 < latency_ms <= 3", [0, 0, 1, 0]),
        ("3 == latency_ms", [0, 0, 1, 0]),
        ("latency_ms != 3", [1, 1, 0, 1]),
        ("dominated", [0, 1, 0, 0]),
        ("not dominated and latency_ms >= -1e3", [1, 0, 1, 0]),
        ("top1 >= latency_ms", [0, 0, 0, 0]),
        ("  top1 > 0.85\n", [0, 1, 1, 1]),
        ("1 < 2", [1, 1, 1, 1]),
    ],
)
def test_selects(text: str, expected: list[int]) -> None:
    assert select(text, COLUMNS).astype(int).tolist() == expected


_ATOM = st.builds(
    "{} {} {}".format,
    st.sampled_from(["latency_ms", "top1", "2.5"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.sampled_from(["latency_ms", "top1", "0.9", "3"]),
)
_CONDITION = st.recursive(
    _ATOM,
    lambda inner: (
        st.builds("({}) and ({})".format, inner, inner)
        | st.builds("({}) or ({})".format, inner, inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=8,
)


@given(_CONDITION)
def test_agrees_with_python(text: str) -> None:
    frame = pd.DataFrame({"latency_ms": COLUMNS["latency_ms"], "top1": COLUMNS["top1"]})
    expected = [bool(eval(text, {}, dict(row))) for _, row in frame.iterrows()]
    assert select(text, COLUMNS).tolist() == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("__import__('os').system('true')", "is no comparison"),
        ("latency_ms.max() < 3", "'latency_ms.max()' is neither a name nor a number"),
        ("@x < 3", "can not read"),
        ("latency_ms < 'a'", "neither a name nor a number"),
        ("latency_ms < True", "neither a name nor a number"),
        ("latency_ms + 1 < 3", "'latency_ms + 1' is neither"),
        ("(latency_ms < 3) & (top1 > 0)", "joined with 'and'"),
        ("latency_ms", "'latency_ms' is no comparison"),
        ("latency_ms in (1, 2)", "neither a name nor a number"),
        ("latency_ms is 3", "not one of the comparisons"),
        ("[x for x in y]", "is no comparison"),
        ("lambda: 0", "is no comparison"),
        ("(latency_ms := 3) < 4", "neither a name nor a number"),
        ("latency_ms < 3; top1 > 0", "can not read"),
        ("", "can not read"),
        ("latency_ms <", "can not read"),
        ("\0", "can not read"),
        ("latency_ms < 3 and " * 200 + "top1 > 0", "at most 2000"),
        ("(" * 900 + "1 < 2" + ")" * 900, "can not read"),
        ("not " * 480 + "dominated and not 3", "is no comparison"),
    ],
)
def test_refuses_everything_else(text: str, part: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        select(text, COLUMNS)
    assert part in str(caught.value)


def test_names_the_nearest_column() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latency_ms'"):
        select("latency < 3", COLUMNS)
