"""Does transfer from fp32 pairs save quantized ones? The transferred MLP against the same MLP from scratch.

The pairs are real: candidates of the digits supernet, measured on its validation split. Per seed, each predictor gets
the same quantized pairs; the transferred one has also seen fp32 pairs. Both are judged on the same held-out
quantized pairs, which no fit has seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.run import Run
from bitfront.experiments.spec import parse_spec
from bitfront.experiments.stages.samples import Samples, collected_samples
from bitfront.experiments.stages.supernet import trained_supernet
from bitfront.experiments.store.home import home, open_store
from bitfront.experiments.store.statuses import Status
