"""Stage 4a: the accuracy predictor, fitted to fp32 pairs and transferred to quantized ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfront.experiments.metric_words import metric_line
from bitfront.experiments.places import tuning_path
from bitfront.experiments.plot_predictor import PNG_NAME, write_predictor_plot
from bitfront.experiments.run import Run
from bitfront.experiments.stages.samples import Samples
from bitfront.experiments.store.records import PredictorRecord
from bitfront.predictors import PREDICTORS
from bitfront.predictors.cross_validation import LearningPairs
from bitfront.predictors.dataset import Pairs
from bitfront.predictors.fitting import Judgement, judge
from bitfront.predictors.options import OptionValue
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.predictors.stored import FORMAT
from bitfront.predictors.tuning import Tuning, tune
from bitfront.supernet.space import SearchSpace

_FP32, _TRANSFERRED = "fp32", "transferred"


def fitted_predictor(run: Run, supernet_id: str, space: SearchSpace, samples: Samples) -> AccuracyPredictor:
    """The transferred predictor; it and the fp32 one are judged on held-out pairs, saved and recorded.

    Raises:
        InvalidPairsError: there are too few samples. NumericalError: fitting diverged.
        StorageError: what is found can not be kept.
        MissingFileError, CorruptFileError: what an earlier run left can not be read.
    """
    kind = PREDICTORS.get(run.spec.predictor.kind)
    known = _id(run, supernet_id, samples, _TRANSFERRED)
    record = run.store.predictor(known)
    if record is not None and _path(run, known).is_file():
        run.store.link(run.experiment_id, predictor_id=known, owner=run.owner)
        _tell(run, "found", _TRANSFERRED, record.metrics)
        found = kind.load(_path(run, known), space)
        if not (run.folder / PNG_NAME).is_file():
            _draw(run, found, judge(found, samples.quantized_held_out))
        return found
    for what, pairs in ((_FP32, samples.fp32), ("quantized", samples.quantized)):
        if repeats := str(pairs.averaged()[1]):
            run.reporter.say(f"{what} samples: {repeats}")
    fp32 = kind.fit(space, samples.fp32, run.rng("fp32 predictor"), _options(run, space, samples))
    source = _id(run, supernet_id, samples, _FP32)
    _keep(run, supernet_id, fp32, _FP32, source, samples.fp32_held_out, {})
    transferred = fp32.transfer(samples.quantized, run.rng("transferred predictor"))
    judgement = _keep(
        run, supernet_id, transferred, _TRANSFERRED, known, samples.quantized_held_out, {"from": source}
    )
    run.store.link(run.experiment_id, predictor_id=known, owner=run.owner)
    _draw(run, transferred, judgement)
    return transferred


def _options(run: Run, space: SearchSpace, samples: Samples) -> dict[str, OptionValue]:
    """The spec's options, and tuned ones where it wants that; a study that was interrupted goes on."""
    wanted = run.spec.predictor
    if not wanted.tune:
        return dict(wanted.options)
    tuned = tune(
        PREDICTORS.get(wanted.kind),
        space,
        LearningPairs(samples.fp32, samples.quantized),
        Tuning(wanted.tune, tuning_path(run.home), run.progress("tuning the predictor")),
        run.rng("tuned predictor"),
        wanted.options,
    )
    run.reporter.say(f"tuned the {wanted.kind} predictor in {tuned}")
    return tuned.options


def _keep(
    run: Run,
    supernet_id: str,
    predictor: AccuracyPredictor,
    kind: str,
    predictor_id: str,
    held_out: Pairs,
    origin: dict[str, str],
) -> Judgement:
    judgement = judge(predictor, held_out)
    path, found = _path(run, predictor_id), judgement.metrics
    predictor.save(path, found)
    run.store.put_predictor(PredictorRecord(predictor_id, supernet_id, kind, str(path), {**found, **origin}))
    _tell(run, "fitted", kind, found)
    return judgement


def _draw(run: Run, predictor: AccuracyPredictor, judgement: Judgement) -> None:
    title = f"{run.spec.name}: {predictor.kind}, {_TRANSFERRED}"
    write_predictor_plot(run.folder / PNG_NAME, title, judgement)


def _path(run: Run, predictor_id: str) -> Path:
    return run.home / "predictors" / f"{predictor_id}.safetensors"


def _tell(run: Run, how: str, kind: str, found: Mapping[str, Any]) -> None:
    run.reporter.say(f"{how} the {kind} predictor: on held-out pairs {metric_line(found)}")


def _id(run: Run, supernet_id: str, samples: Samples, kind: str) -> str:
    data = [
        pairs.hash()
        for pairs in (samples.fp32, samples.fp32_held_out, samples.quantized, samples.quantized_held_out)
    ]
    wanted = run.spec.predictor.model_dump(mode="json", exclude={"uploaded"})  # with which none is fitted
    described = json.dumps([FORMAT, supernet_id, wanted, run.spec.seed, data, kind], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]
