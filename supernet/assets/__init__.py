"""Trained supernets that come with bitfront: one folder each, with weights and manifest."""

from __future__ import annotations

from pathlib import Path

from bitfront.supernet.files import read_json
from bitfront.supernet.training.trained import MANIFEST

_FOLDER = Path(__file__).parent


def shipped(space_hash: str, data_hash: str) -> Path | None:
    """The folder with weights of this space, trained on this data; None where there is none."""
    for manifest in sorted(_FOLDER.glob(f"*/{MANIFEST}")):
        values = read_json(manifest)
        if (values.get("space_hash"), values.get("data_hash")) == (space_hash, data_hash):
            return manifest.parent
    return None
