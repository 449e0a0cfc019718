"""A whole experiment on this machine's CPU: latency is predicted, measured, and kept apart; tables are shared."""

from contextlib import suppress
from pathlib import Path

import pytest

from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.rows import front_rows
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import BitfrontError

SPEC = """
space: digits
data: digits
device: {{name: host-onnxruntime, options: {{rounds: 2}}}}
seed: 3
constraints: ["size_bytes <= 60000"]
supernet: {{warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1, batch_size: 256, subnets_per_step: 1,
           calibration_images: 64}}
samples: {{fp32: {fp32}, quantized: 10, held_out: 10}}
search: {{population: 20, generations: 4}}
front: {{measure: 5}}
"""


def launch(home: Path, fp32: int = 10) -> str:
    spec = parse_spec(SPEC.format(fp32=fp32))
    with open_store(home) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        with suppress(BitfrontError):
            run_experiment(store, home, experiment.id, Reporters())
    return experiment.id


@pytest.mark.slow
def test_latency_is_measured_tables_are_shared_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    first = launch(tmp_path)
    (table,) = tmp_path.glob("tables/host-onnxruntime-*.json")
    profiled = table.read_bytes()
    second = launch(tmp_path, fp32=12)
    assert table.read_bytes() == profiled

    table.write_bytes(profiled[: len(profiled) // 2])
    third = launch(tmp_path, fp32=14)

    with open_store(tmp_path) as store:
        assert [store.get(one).status for one in (first, second)] == [Status.COMPLETED] * 2
        assert store.get(first).table_id == store.get(second).table_id is not None
        for row in front_rows(store, first):
            assert row["measured"]["latency_ms"] > 0
            assert row["measured"]["latency_ms"] != row["predicted"]["latency_ms"]
            assert row["predicted"]["size_bytes"] <= 60_000
            assert row["measured"]["size_bytes"] is None
            formats = {(one["weight_format"], one["activation_format"]) for one in row["policy"]}
            assert formats <= {("fp32", "fp32"), ("int8", "int8")}
        assert store.get(third).status is Status.FAILED
        assert table.name in store.get(third).reason
        assert not store.front(third)
