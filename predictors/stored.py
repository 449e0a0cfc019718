"""Files of predictors: safetensors whose header holds a JSON manifest, and the manifest beside it for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bitfront.predictors.options import InvalidOptionError
from bitfront.supernet.errors import BitfrontError, CorruptFileError, UnknownNameError
from bitfront.supernet.files import load_tensors, save_tensors, write_json
from bitfront.supernet.space import SearchSpace

if TYPE_CHECKING:
    from bitfront.predictors.predictor import AccuracyPredictor

FORMAT = "bitfront-predictor-3"
_MOST_GENES_NAMED = 5
_TOOLS = ("bitfront", "torch", "numpy", "scikit-learn")
_PARTS = ("kind", "how", "space", "space_hash", "genes", "earlier_pairs", "options", "values")


class OtherPredictionsError(BitfrontError):
    """A predictor that is kept as what it learned came out otherwise when it learned that again."""


def manifest(
    predictor: AccuracyPredictor,
    options: Mapping[str, Any],
    values: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """What is said of a predictor beside its tensors; ``values`` are its own plain JSON values."""
    space, earlier = predictor.space, predictor.earlier
    return {
        "format": FORMAT,
        "kind": predictor.kind,
        "how": predictor.how,
        "space": space.name,
        "space_hash": space.hash(),
        "genes": [[gene.name, list(gene.choices)] for gene in space.genes],
        "data_hash": predictor.pairs.hash(),
        "pairs": len(predictor.pairs),
        "earlier_data_hash": earlier.hash() if earlier else None,
        "earlier_pairs": len(earlier) if earlier else 0,
        "options": dict(options),
        "metrics": dict(metrics),
        "values": dict(values),
        "versions": {tool: version(tool) for tool in _TOOLS},
    }


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write both files; each is written beside and renamed."""
    save_tensors(path, tensors, about)
    write_json(path.with_suffix(".json"), about)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and manifest of a predictor's file.

    Raises:
        MissingFileError, CorruptFileError: as `files.load_tensors`, or the file holds something else.
    """
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        raise CorruptFileError(f"{path} holds no {FORMAT}, but {about.get('format')!r}: give another file")
    lacking = [part for part in _PARTS if part not in about]
    if lacking:
        raise CorruptFileError(f"{path} lacks {', '.join(lacking)}: delete it to have it made again")
    # Inside a file they begin anywhere in memory, where matrix products round otherwise than they did before.
    return {name: tensor.clone() for name, tensor in tensors.items()}, about


def no_such_kind(path: Path, found: object, wanted: str) -> CorruptFileError:
    """The error for a file with a predictor of another kind."""
    return CorruptFileError(f"{path} holds no predictor of kind {wanted!r}, but {found!r}: give another file")


def differences(space: SearchSpace, about: Mapping[str, Any]) -> str:
    """Empty where the predictor is of ``space``; else words that name the first genes that differ."""
    if about["space_hash"] == space.hash():
        return ""
    theirs = {name: list(choices) for name, choices in about["genes"]}
    ours = {gene.name: list(gene.choices) for gene in space.genes}
    differ = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    named = ", ".join(differ[:_MOST_GENES_NAMED]) + (" and more" if len(differ) > _MOST_GENES_NAMED else "")
    return (
        f"predicts for space {about['space']!r}, not for this {space.name!r}: "
        f"{f'genes that differ: {named}' if differ else 'the same genes, in another frame'}. Fit a new predictor"
    )


@contextmanager
def complete(path: Path) -> Iterator[None]:
    """Whatever is missing inside is told as a damaged file.

    Raises:
        CorruptFileError: a part was missing or of another form, or what was made of them is not what it was.
    """
    try:
        yield
    except OtherPredictionsError as error:
        raise CorruptFileError(f"{path} {error}") from error
    except (KeyError, TypeError, ValueError, UnknownNameError, InvalidOptionError) as error:
        raise CorruptFileError(f"{path} lacks a part ({error!r}): delete it to have it made again") from error
