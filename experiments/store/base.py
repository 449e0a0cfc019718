"""What every store promises. The conformance tests hold each store to these words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self

from bitfront.experiments.store.base_operations import Operations
from bitfront.experiments.store.filters import Filter
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import (
    Candidate,
    CandidateBatch,
    Experiment,
    ExportRecord,
    FrontMember,
    Generation,
    Measurement,
    Page,
    PredictorRecord,
    Progress,
    Split,
    SupernetRecord,
    TableRecord,
    TrialKind,
    Trials,
)
from bitfront.experiments.store.service_records import ComparedMember, Thinned
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.genes import Genomes

MOST_PER_PAGE = 10_000
LONGEST_KEY = 200
SILENCE = timedelta(minutes=15)


class Store(Operations, ABC):
    """Keeps experiments and everything they find.

    For every method:

    * It is one transaction: stored whole when it returns, not at all when it raises or the process dies.
    * Any number of processes and threads may use the same store at once; a reader never waits for a writer.
    * An id that is not stored raises `UnknownNameError`, which names the nearest one.
    * `StorageError` is raised when the disk is full, the store can not be written or does not answer,
      `CorruptFileError` when what is stored can not be read; what was stored before is then unchanged.
    * A database that goes away (`LostError`) is waited for: what reads, or may be done twice, is asked again, and
      what may be done once only where it is certain that nothing was stored.
    * Where an ``owner`` is given, nothing is changed unless that process works on the experiment: one that was
      given up, and lives after all, gets a `StatusError` and must stop.
    * Listings come in pages. A cursor goes on where its page ended, also when rows were added since; a row
      that was there all the time is listed once. `CursorError` is raised for a cursor of another listing,
      `ValueError` for a limit outside 1 .. `MOST_PER_PAGE`.
    """

    @abstractmethod
    def close(self) -> None:
        """Give connections back. The store can not be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- experiments ------------------------------------------------------------------------------------

    @abstractmethod
    def create_experiment(
        self, name: str, spec: Mapping[str, Any], seed: int, key: str | None = None
    ) -> Experiment:
        """Store a new QUEUED experiment under a new readable id such as ``digits-7f3a2c``.

        ``spec`` is JSON-able and comes back equal; ``seed`` is from 0 to 2**63 - 1. ``key`` makes asking again
        harmless: of any number of processes that ask with the same key, one creates the experiment and all get it.

        Raises:
            ConflictError: there is an experiment with this key, but another name, spec or seed.
            ValueError: the key is empty or longer than `LONGEST_KEY` characters.
        """

    @abstractmethod
    def get(self, experiment_id: str) -> Experiment:
        """The experiment as it is now."""

    @abstractmethod
    def list_experiments(
        self, cursor: str | None = None, limit: int = 50, status: Status | None = None
    ) -> Page[Experiment]:
        """Experiments, newest first; those of one status where ``status`` is given."""

    @abstractmethod
    def claim(self, experiment_id: str, owner: Owner | None = None) -> Experiment:
        """Make a QUEUED experiment RUNNING and ``owner`` (default: this process) the one that works on it.

        Of several processes that try, exactly one succeeds. The first claim sets the start time.

        Raises:
            StatusError: it is not QUEUED, or candidates of it were forgotten.
        """

    @abstractmethod
    def claim_next(self, owner: Owner | None = None) -> Experiment | None:
        """Claim (as `claim`) the QUEUED experiment that was created first; None where none is QUEUED.

        Of any number of processes that ask at once, each gets another one.
        """

    @abstractmethod
    def set_status(
        self,
        experiment_id: str,
        status: Status,
        reason: str = "",
        expected: Status | None = None,
        owner: Owner | None = None,
    ) -> Experiment:
        """Change the status; ``reason`` replaces the stored one.

        ``expected``: only where this is the present status, so that nobody else's change is lost.

        QUEUED (again, to resume) clears the finish time; a status that is over sets it, frees the owner and clears
        the progress.

        Raises:
            StatusError: ``status`` may not follow the present one (see `statuses`), is RUNNING, which
                only `claim` brings about, or is QUEUED and candidates were forgotten; or the present one is not
                the one that was ``expected``.
        """

    @abstractmethod
    def set_stage(self, experiment_id: str, stage: str, owner: Owner | None = None) -> None:
        """Say what the experiment does now, in a word or two; how far the stage before was is cleared."""

    @abstractmethod
    def link(
        self,
        experiment_id: str,
        *,
        supernet_id: str | None = None,
        predictor_id: str | None = None,
        table_id: str | None = None,
        table_ids: Mapping[str, str] | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Say which supernet, transferred predictor and cost table it uses; None leaves what is stored.

        An experiment with several devices has no ``table_id``, but ``table_ids``: name in its spec to table.

        Raises:
            ConflictError: an id is not stored.
        """

    @abstractmethod
    def heartbeat(
        self, experiment_id: str, owner: Owner | None = None, progress: Progress | None = None
    ) -> Status:
        """Say that ``owner`` (default: this process) still works on it; returns RUNNING or CANCELLING.

        ``progress`` says how far it is; None leaves what is stored.

        Raises:
            StatusError: ``owner`` does not hold it any more and must stop.
        """

    @abstractmethod
    def mark_interrupted(self) -> tuple[str, ...]:
        """Free experiments whose process is gone; returns their ids, oldest first.

        RUNNING ones become INTERRUPTED and CANCELLING ones CANCELLED. Those of another host, whose processes can
        not be looked at (of a container that was replaced, say), are given up after `SILENCE` without a
        heartbeat. A heartbeat in the future (the clock moved back since) counts as one of the moment when this
        method first saw it, so that neither the living are given up nor the dead kept for long. The clocks of
        several hosts must agree to a few minutes.
        """

    # -- search -----------------------------------------------------------------------------------------

    @abstractmethod
    def add_generation(
        self,
        experiment_id: str,
        generation: Generation,
        batch: CandidateBatch,
        front: Genomes,
        state: Mapping[str, Any],
        owner: Owner | None = None,
    ) -> None:
        """Store a generation: its candidates, the front they led to and the strategy's state.

        The newest generation once more, with the very same ``created_at``, changes nothing, so that a caller that
        got no answer may ask again. Candidates that the experiment has already are left as they are; the ids of
        new ones ascend in the order of ``batch``. ``front`` (k, n_genes) is the whole predicted front now.
        ``state`` is as `state_blob.encode_state` takes it and replaces that of the generation before.

        Raises:
            ConflictError: the index does not follow the newest generation's (the first is 0), or a member
                of ``front`` is no candidate of the experiment.
            NumericalError: the hypervolume is NaN or infinite.
        """

    @abstractmethod
    def last_generation(self, experiment_id: str) -> tuple[Generation, dict[str, Any]] | None:
        """The newest generation with the strategy's state after it; None before the first."""

    @abstractmethod
    def generations(self, experiment_id: str) -> tuple[Generation, ...]:
        """All generations in order."""

    @abstractmethod
    def candidates(
        self,
        experiment_id: str,
        cursor: str | None = None,
        limit: int = 100,
        order: str = "id",
        on_front: bool = False,
        where: Sequence[Filter] = (),
    ) -> Page[Candidate]:
        """Candidates, or only those on the predicted front, that meet every filter of ``where``.

        ``order`` is ``"id"`` or a metric, which may be METRIC@DEVICE, ascending, or either with a ``-`` before it,
        descending. Ordered by a metric, candidates without that metric are left out.

        Raises:
            UnknownNameError: the order is unknown.
        """

    @abstractmethod
    def candidate(self, experiment_id: str, candidate_id: int) -> Candidate:
        """One candidate."""

    @abstractmethod
    def count_candidates(self, experiment_id: str, where: Sequence[Filter] = ()) -> int:
        """How many different candidates of the experiment are stored that meet every filter of ``where``."""

    @abstractmethod
    def thinned(
        self, experiment_id: str, x: str, y: str, most: int = 5000, where: Sequence[Filter] = ()
    ) -> Thinned:
        """At most ``most`` candidates that stand for all that have the metrics ``x`` and ``y`` and meet ``where``.

        The plot over ``x`` and ``y`` is cut into equal rectangles; of each that holds candidates the first is
        there. All members of the predicted front are there too, even where they alone are ``most`` or more; one
        other may then be there beside them.

        Raises:
            UnknownNameError, InvalidConstraintError: a metric is unknown.
            ValueError: ``most`` is outside 1 .. `MOST_PER_PAGE`.
        """

    @abstractmethod
    def compare(self, experiment_ids: Sequence[str], objectives: Sequence[str]) -> tuple[ComparedMember, ...]:
        """The predicted fronts of several experiments side by side, by experiment as given, candidate and device.

        An objective is a metric or METRIC@DEVICE. For a metric that an experiment predicts per device, every
        device makes a row of its own. Members that lack an objective are left out.

        Raises:
            UnknownNameError, InvalidConstraintError: an objective or an experiment is unknown.
            ValueError: there is no objective, or one is there twice.
        """

    # -- front ------------------------------------------------------------------------------------------

    @abstractmethod
    def add_front_members(
        self, experiment_id: str, candidate_ids: Sequence[int], owner: Owner | None = None
    ) -> None:
        """Make candidates members of the front that is measured; those that are already stay as they are.

        Raises:
            ConflictError: one is no candidate of the experiment.
            StatusError: ``owner`` does not hold the experiment.
        """

    @abstractmethod
    def measure_front_members(
        self, experiment_id: str, measurements: Sequence[Measurement], owner: Owner | None = None
    ) -> None:
        """Store measurements of front members; fields that are None, and metrics not named, stay as they were.

        Raises:
            ConflictError: one is no front member.
            StatusError: ``owner`` does not hold the experiment.
        """

    @abstractmethod
    def front(self, experiment_id: str) -> tuple[FrontMember, ...]:
        """The members of the measured front with what was predicted, by candidate id."""

    # -- what experiments share -------------------------------------------------------------------------

    @abstractmethod
    def add_trials(self, supernet_id: str, split: Split, kind: TrialKind, trials: Trials) -> int:
        """Store measured accuracies; returns how many were new. A genome measured before keeps its first.

        Raises:
            ConflictError: the supernet is not stored.
        """

    @abstractmethod
    def trials(self, supernet_id: str, split: Split, kind: TrialKind | None = None) -> Trials:
        """All measured accuracies of a supernet on a split, of one kind or of both, oldest first."""

    @abstractmethod
    def put_supernet(self, record: SupernetRecord) -> None:
        """Store a supernet, or replace the one with its id (all but its creation time)."""

    @abstractmethod
    def supernet(self, supernet_id: str) -> SupernetRecord | None:
        """A supernet, or None."""

    @abstractmethod
    def put_predictor(self, record: PredictorRecord) -> None:
        """Store a predictor, or replace the one with its id (all but its creation time).

        Raises:
            ConflictError: its supernet is not stored.
        """

    @abstractmethod
    def predictor(self, predictor_id: str) -> PredictorRecord | None:
        """A predictor, or None."""

    @abstractmethod
    def predictors(self, supernet_id: str | None = None) -> tuple[PredictorRecord, ...]:
        """Predictors, of one supernet or of all, oldest first."""

    @abstractmethod
    def put_table(self, record: TableRecord) -> None:
        """Store a cost table, or replace the one with its id (all but its creation time)."""

    @abstractmethod
    def table(self, table_id: str) -> TableRecord | None:
        """A cost table, or None."""

    @abstractmethod
    def tables(self, device: str | None = None) -> tuple[TableRecord, ...]:
        """Cost tables, of one device or of all, oldest first."""

    @abstractmethod
    def put_export(self, experiment_id: str, record: ExportRecord, owner: Owner | None = None) -> None:
        """Store an export, or replace the one of the same candidate, format and device.

        Raises:
            ConflictError: it is no candidate of the experiment.
            StatusError: ``owner`` does not hold the experiment.
        """

    @abstractmethod
    def exports(self, experiment_id: str) -> tuple[ExportRecord, ...]:
        """The experiment's exports, by candidate id, format and device."""
