"""The tables as the newest migration leaves them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from bitfront.search.constraints import METRICS

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """A point in time as seconds since 1970, the same in every database and free of time zones."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        """To seconds."""
        return None if value is None else value.timestamp()

    def process_result_value(self, value: float | None, dialect: Dialect) -> datetime | None:
        """To a time in UTC."""
        return None if value is None else datetime.fromtimestamp(value, UTC)


def _experiment(primary_key: bool = False) -> Column[int]:
    owner = ForeignKey("experiments.number", ondelete="CASCADE")
    return Column("experiment_number", Integer, owner, primary_key=primary_key, nullable=False)


def _order() -> Column[int]:
    """Orders a listing, which no clock may do: one that moved back would put the newest first."""
    return Column("number", Integer, nullable=False, server_default="0")


def _of_candidate() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["experiment_number", "candidate_number"],
        ["candidates.experiment_number", "candidates.number"],
        ondelete="CASCADE",
    )


supernets = Table(
    "supernets",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("space", Text, nullable=False),
    Column("space_hash", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("data_hash", Text, nullable=False),
    Column("training", JSON, nullable=False),
    Column("path", Text, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

predictors = Table(
    "predictors",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("supernet_id", Text, ForeignKey("supernets.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    _order(),
)

device_tables = Table(
    "device_tables",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("device", Text, nullable=False, index=True),
    Column("space_hash", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("provenance", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    _order(),
)

experiments = Table(
    "experiments",
    METADATA,
    Column("number", Integer, primary_key=True),  # short, as every candidate carries it; orders the listing
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("status", Text, nullable=False, index=True),
    Column("stage", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("heartbeat_at", UtcTime),
    Column("host", Text),
    Column("pid", Integer),
    Column("process_started", Text),
    Column("supernet_id", Text, ForeignKey("supernets.id", ondelete="SET NULL")),
    Column("predictor_id", Text, ForeignKey("predictors.id", ondelete="SET NULL")),
    Column("table_id", Text, ForeignKey("device_tables.id", ondelete="SET NULL")),
    Column("table_ids", JSON(none_as_null=True)),
    Column("key", Text),
    Column("progress_label", Text),
    Column("progress_done", BigInteger),
    Column("progress_total", BigInteger),
    Column("forgotten", Integer, nullable=False, server_default="0"),
)
Index("uq_experiments_key", experiments.c.key, unique=True)

generations = Table(
    "generations",
    METADATA,
    _experiment(primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("evaluations", BigInteger, nullable=False),
    Column("hypervolume", Double, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

search_states = Table(  # that of the newest generation only
    "search_states",
    METADATA,
    _experiment(primary_key=True),
    Column("generation_index", Integer, nullable=False),
    Column("state", LargeBinary, nullable=False),
)

candidates = Table(
    "candidates",
    METADATA,
    _experiment(primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("generation_index", Integer, nullable=False),
    Column("genome", LargeBinary, nullable=False),
    *(Column(metric, Double) for metric in METRICS),
    Column("on_front", Boolean, nullable=False),
    Column("error", Text),
    Column("by_device", JSON(none_as_null=True)),  # METRIC@DEVICE to its value
    # That a genome is there once is seen to where they are added: an index of genomes, each of which goes to
    # another place in it, slows storing many candidates down three times.
    # In the order of its key: what no index answers reads an experiment's rows one after the other.
    sqlite_with_rowid=False,
)
Index(
    "ix_candidates_on_front",
    candidates.c.experiment_number,
    candidates.c.number,
    sqlite_where=text("on_front = 1"),
    postgresql_where=text("on_front"),
)

metric_blocks = Table(
    "metric_blocks",
    METADATA,
    _experiment(primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("first", Integer, primary_key=True, autoincrement=False),  # number of the block's first candidate
    Column("packed", LargeBinary, nullable=False),  # see metric_blocks.py
)

trials = Table(
    "trials",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("supernet_id", Text, ForeignKey("supernets.id", ondelete="CASCADE"), nullable=False),
    Column("genome", LargeBinary, nullable=False),
    Column("split", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("top1", Double, CheckConstraint("top1 BETWEEN 0 AND 1", name="fraction"), nullable=False),
    Column("seconds", Double, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("supernet_id", "split", "genome"),
)

front_members = Table(
    "front_members",
    METADATA,
    _experiment(primary_key=True),
    Column("candidate_number", Integer, primary_key=True),
    Column("top1_validation", Double),
    Column("top1_test", Double),
    Column("latency_ms", Double),
    Column("dominated", Boolean, nullable=False),
    Column("error", Text),
    Column("by_device", JSON(none_as_null=True)),
    _of_candidate(),
)

exports = Table(
    "exports",
    METADATA,
    _experiment(primary_key=True),
    Column("candidate_number", Integer, primary_key=True),
    Column("format", Text, primary_key=True),
    Column("device", Text, primary_key=True, server_default=""),  # whose network it is, where each has its own
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("top1_test", Double),
    Column("created_at", UtcTime, nullable=False),
    _of_candidate(),
)

tokens = Table(
    "tokens",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    Column("last_used_at", UtcTime),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
)
