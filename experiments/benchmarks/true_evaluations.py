"""True evaluations of digits on a modelled accelerator, for benchmarks of searches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bitfront.experiments.benchmarks.study import Study, study
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.spec import parse_spec

_SPEC = "{{name: bench-search-digits, space: digits, data: digits, device: bitfusion, supernet: {supernet}}}"
_QUICK_TRAINING = "{warmup_epochs: 2, elastic_epochs: 6, quantized_epochs: 3}"


@contextmanager
def true_evaluations(reporter: Reporter, quick: bool = False) -> Iterator[Study]:
    """Latency depends on bits; ``quick``: barely trained."""
    with study(parse_spec(_SPEC.format(supernet=_QUICK_TRAINING if quick else "{}")), reporter) as found:
        yield found
