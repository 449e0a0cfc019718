"""Stage 4a: the accuracy predictor, fitted to fp32 pairs and transferred to quantized ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bitfront.experiments.run import Run
from bitfront.experiments.stages.samples import Samples
from bitfront.experiments.store.records import PredictorRecord
from bitfront.predictors import PREDICTORS
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.metrics import metrics
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.supernet.space import SearchSpace

_FP32, _TRANSFERRED = "fp32", "transferred"


def fitted_predictor(run: Run, supernet_id: str, space: SearchSpace, samples: Samples) -> AccuracyPredictor:
    """The transferred predictor; it and the fp32 one are judged on held-out pairs, saved and recorded.

    Raises:
        NumericalError: fitting diverged.
        MissingFileError, CorruptFileError: what an earlier run left can not be read.
    """
    kind = PREDICTORS.get(run.spec.predictor.kind)
    known = _id(run, supernet_id, samples, _TRANSFERRED)
    record = run.store.predictor(known)
    if record is not None and _path(run, known).is_file():
        run.store.link(run.experiment_id, predictor_id=known)
        _tell(run, "found", _TRANSFERRED, record.metrics)
        return kind.load(_path(run, known), space)
    fp32 = kind.fit(space, samples.fp32, run.rng("fp32 predictor"))
    source = _id(run, supernet_id, samples, _FP32)
    _keep(run, supernet_id, fp32, _FP32, source, samples.fp32_held_out, {})
    transferred = fp32.transfer(samples.quantized, run.rng("transferred predictor"))
    _keep(run, supernet_id, transferred, _TRANSFERRED, known, samples.quantized_held_out, {"from": source})
    run.store.link(run.experiment_id, predictor_id=known)
    return transferred


def _keep(
    run: Run,
    supernet_id: str,
    predictor: AccuracyPredictor,
    kind: str,
    predictor_id: str,
    held_out: Pairs,
    origin: dict[str, str],
) -> None:
    found = metrics(predictor.predict(held_out.genomes).mean, held_out.accuracy)
    path = _path(run, predictor_id)
    predictor.save(path)
    run.store.put_predictor(PredictorRecord(predictor_id, supernet_id, kind, str(path), {**found, **origin}))
    _tell(run, "fitted", kind, found)


def _path(run: Run, predictor_id: str) -> Path:
    return run.home / "predictors" / f"{predictor_id}.safetensors"


def _tell(run: Run, how: str, kind: str, found: dict[str, float]) -> None:
    run.reporter.say(
        f"{how} the {kind} predictor: on held-out pairs Kendall tau {found['kendall_tau']:.3f}, "
        f"pairwise accuracy {found['pairwise_accuracy']:.3f}"
    )


def _id(run: Run, supernet_id: str, samples: Samples, kind: str) -> str:
    data = [
        pairs.hash()
        for pairs in (samples.fp32, samples.fp32_held_out, samples.quantized, samples.quantized_held_out)
    ]
    described = json.dumps([supernet_id, run.spec.predictor.kind, run.spec.seed, data, kind])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
