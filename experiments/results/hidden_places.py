"""Where people keep their things is nobody else's matter."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bitfront.experiments.store.home import home
from bitfront.supernet.data.places import data_folders

_CHECKOUT = Path(__file__).resolve().parents[2]


def without_places(text: str, own: Mapping[Path, str]) -> str:
    """A text in which folders of this machine have names; ``own``: names of others than those everybody has."""
    names = {
        home(): "BITFRONT_HOME",
        **dict.fromkeys(data_folders(), "DATA"),
        _CHECKOUT: "bitfront",
        Path(sys.prefix): "PYTHON",
        Path(tempfile.gettempdir()): "TMP",
        Path.home(): "~",
        **own,
    }
    absolute = {place.absolute(): name for place, name in names.items()}
    for place in sorted(absolute, key=lambda each: -len(str(each))):
        if place != Path(place.anchor):
            text = re.sub(rf"(?<![\w.-]){re.escape(str(place))}(?![\w.-])", absolute[place], text)
    return text
