"""Stage 4a without samples: a predictor that was sent to the service, and that the spec names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bitfront.experiments.metric_words import metric_line
from bitfront.experiments.run import Run
from bitfront.experiments.store.records import PredictorRecord
from bitfront.experiments.uploaded_predictors import UnusableError, facts_of, predictor_file
from bitfront.predictors import load_predictor
from bitfront.predictors.predictor import AccuracyPredictor
from bitfront.predictors.stored import FORMAT
from bitfront.supernet.files import read_bytes, write_bytes
from bitfront.supernet.space import SearchSpace

_KIND = "uploaded"


def uploaded_predictor(run: Run, supernet_id: str, space: SearchSpace) -> AccuracyPredictor:
    """The predictor that the spec names, as it was when the experiment first came to it.

    It is kept under the hash of its content: another one that is sent later by the same name changes nothing here.

    Raises:
        MissingFileError: there is no such predictor. OtherSpaceError: it is one for another space.
        UnusableError, CorruptFileError: it is none, or damaged. StorageError: it can not be kept.
    """
    known = run.store.get(run.experiment_id).predictor_id
    record = run.store.predictor(known) if known else None
    if record is None or not Path(record.path).is_file():
        record = _kept(run, supernet_id)
    predictor = load_predictor(Path(record.path), space)
    if not predictor.with_policy:
        raise UnusableError("the predictor has learned fp32 candidates alone: send one that knows quantized ones")
    run.store.link(run.experiment_id, predictor_id=record.id, owner=run.owner)
    metrics = metric_line(record.metrics) or "nothing is known"
    run.reporter.say(f"the predictor {run.spec.predictor.uploaded}, as it was sent: on held-out pairs {metrics}")
    return predictor


def _kept(run: Run, supernet_id: str) -> PredictorRecord:
    name = run.spec.predictor.uploaded
    assert name is not None
    content = read_bytes(predictor_file(run.home, name))
    described = json.dumps([FORMAT, supernet_id, _KIND, hashlib.sha256(content).hexdigest()])
    number = hashlib.sha256(described.encode()).hexdigest()[:16]
    path = run.home / "predictors" / f"{number}.safetensors"
    write_bytes(path, content)
    record = PredictorRecord(number, supernet_id, _KIND, str(path), {**facts_of(path).metrics, "sent_as": name})
    run.store.put_predictor(record)
    return record
