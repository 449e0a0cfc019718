"""What is done with predictors and told of them, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.store.base import Store
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.fitting import Fitted, fit_and_judge, is_fp32
from bitfront.predictors.options import OptionValue
from bitfront.predictors.pair_tables import GenomeTable, PairTable
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.predictors.tuning import Tuning
from bitfront.supernet.genes import Genomes
from bitfront.supernet.space import SearchSpace


def fit_table(
    kind: type[AccuracyPredictor],
    table: PairTable,
    space: SearchSpace,
    options: Mapping[str, OptionValue],
    held_out: float,
    seed: int,
    from_scratch: bool,
    tuning: Tuning | None = None,
) -> Fitted:
    """`fit_and_judge` of a table's pairs.

    Raises:
        As `fit_and_judge`.
    """
    rng = np.random.default_rng(seed)
    return fit_and_judge(
        kind,
        space,
        table.pairs,
        rng,
        options=options,
        held_out=held_out,
        from_scratch=from_scratch,
        tuning=tuning,
    )


def fitted_facts(fitted: Fitted, table: PairTable, path: Path) -> dict[str, Any]:
    """JSON-able: where it is, how it learned from how many candidates, its metrics on others, and the table."""
    repeats = table.averaged()[1]
    return {
        "path": str(path),
        "kind": fitted.predictor.kind,
        "how": fitted.how,
        "learned": {"fp32": fitted.fp32_pairs, "quantized": fitted.other_pairs},
        "metrics": fitted.judgement.metrics,
        "fp32_metrics": fitted.before.metrics if fitted.before else None,
        "options": asdict(fitted.predictor.options),
        "tuned": asdict(fitted.tuned) if fitted.tuned else None,
        "table": {
            "rows": len(table.genomes),
            "merged": repeats.merged,
            "differing": repeats.differing,
            "left_out": list(table.left_out),
            "constant": list(table.constant),
        },
    }


def fitted_in_words(fitted: Fitted) -> str:
    """Which candidates the predictor learned from, and by which it is judged."""
    n = len(fitted.judgement.held_out)
    real, other = fitted.fp32_pairs, fitted.other_pairs
    if fitted.how == "transferred":
        return (
            f"learned from {real} fp32 candidates, then transferred to {other} quantized ones; "
            f"judged on {n} quantized candidates that it has not seen"
        )
    if fitted.how == "fp32":
        return (
            f"learned from {real} fp32 candidates, architecture alone: no row is quantized, so it is blind to "
            f"formats; judged on {n} that it has not seen"
        )
    return (
        f"learned from {real + other} candidates ({real} fp32, {other} quantized) at once; "
        f"judged on {n} that it has not seen"
    )


def unseen_pairs(predictor: AccuracyPredictor, pairs: Pairs) -> tuple[Pairs, list[str]]:
    """Those pairs that a predictor may be judged by, and what to know of them and of others, in words."""
    lessons = [lesson for lesson in (predictor.earlier, predictor.pairs) if lesson is not None]
    learned = {genome.tobytes() for lesson in lessons for genome in lesson.genomes}
    seen = np.array([genome.tobytes() in learned for genome in pairs.genomes], dtype=bool)
    notes = [f"left out: {_candidates(int(seen.sum()))} that it learned from"] if seen.any() else []
    unseen = pairs.take(np.flatnonzero(~seen))
    real = int(is_fp32(predictor.space, unseen.genomes).sum())
    if predictor.with_policy and 0 < real < len(unseen):
        notes.append(
            f"warning: judged by {real} fp32 and {len(unseen) - real} quantized candidates together, which are "
            "easily told apart: judge by the quantized ones alone to see how well these are ordered"
        )
    return unseen, notes


def blind_to(predictor: AccuracyPredictor, genomes: Genomes) -> NDArray[np.bool_]:
    """Which of canonical genomes (n, n_genes) are quantized, while the predictor learned fp32 ones alone, (n,)."""
    if predictor.with_policy:
        return np.zeros(len(genomes), dtype=bool)
    return ~is_fp32(predictor.space, genomes)


def blind_notes(blind: NDArray[np.bool_]) -> list[str]:
    """What to know of the rows of `blind_to`, in words."""
    if not blind.any():
        return []
    return [
        f"warning: {int(blind.sum())} of {_candidates(len(blind))} not in fp32 throughout, but the predictor "
        "learned fp32 ones alone: it is blind to formats, and says what the architecture reaches in fp32"
    ]


def predicted_rows(predictor: AccuracyPredictor, table: GenomeTable) -> list[dict[str, Any]]:
    """JSON-able: for each genome of a table where it stands there, ``mean``, ``half_width``, ``genome``, and
    ``blind_to_formats`` as `blind_to` says.
    """
    prediction = predictor.predict(table.genomes)
    columns = zip(
        table.numbers,
        prediction.mean.tolist(),
        prediction.half_width.tolist(),
        table.genomes.tolist(),
        blind_to(predictor, table.genomes).tolist(),
        strict=True,
    )
    names = (table.unit, "mean", "half_width", "genome", "blind_to_formats")
    return [dict(zip(names, row, strict=True)) for row in columns]


def listed_predictors(store: Store) -> list[dict[str, Any]]:
    """JSON-able: one object for each predictor that an experiment left, oldest first."""
    rows = []
    for record in store.predictors():
        supernet = store.supernet(record.supernet_id)
        rows.append(
            {
                "id": record.id,
                "kind": record.kind,
                "supernet": record.supernet_id,
                "space": supernet.space if supernet else None,
                "data": supernet.data if supernet else None,
                "created_at": record.created_at.isoformat(),
                "path": record.path,
                "is_there": Path(record.path).is_file(),
                "metrics": {name: value for name, value in record.metrics.items() if isinstance(value, float)},
            }
        )
    return rows


def _candidates(n: int) -> str:
    return f"{n} candidate{'s' * (n != 1)}"
