"""Do exported networks keep what was promised of them?

Three searches on Fashion-MNIST, from the supernet that comes with bitfront: for a modelled accelerator whose
layers have 4 or 8 bits, for ONNX Runtime and for OpenVINO on this machine, whose layers have 8 bits or none. Of
each front, points of mixed policies are exported and run on the whole test split, against the fake-quantized
networks that they were made from:

* the accelerator's in ONNX Runtime and OpenVINO, and as integer programs: NumPy, torch and C have to agree to the
  bit;
* a runtime's in that runtime, where the exported model is also timed, and held against the latency of the table.

The formats of all of them have containers of their own, so that files are held against the size that the search
took them to have. What a file of ONNX's holds beside its constants (names and shapes of each layer) is in
``onnx_size_error`` and not in ``onnx_constants_error``. ``least`` and ``most`` are over points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from bitfront.experiments.benchmarks.exported_forms import Figures, Network, run_in, run_in_integers
from bitfront.experiments.benchmarks.exported_latency import latencies
from bitfront.experiments.benchmarks.fidelity_plot import Scatter, fidelity_figure
from bitfront.experiments.benchmarks.front_points import FrontPoints, front_points
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.spec import parse_spec
from bitfront.latency_lut.correction import mean_relative_error
from bitfront.latency_lut.runtime_device import RuntimeDevice
from bitfront.search.executors.local import one_thread
from bitfront.supernet.export.targets.base import RuntimeName

_SPEC = """
name: bench-export-{device}
space: fashion
data: fashion_mnist
device: {device}
objectives: [top1, latency_ms, size_bytes]
fixed: {fixed}
front: {{measure: 40}}
export: {{pick: none}}
"""
_QUICK_SPEC = """
name: bench-export-quick-{device}
space: digits
data: digits
device: {{name: {device}, options: {options}}}
objectives: [top1, latency_ms, size_bytes]
fixed: {fixed}
supernet: {{warmup_epochs: 2, elastic_epochs: 6, quantized_epochs: 3}}
samples: {{fp32: 20, quantized: 20, held_out: 10}}
search: {{population: 20, generations: 5}}
front: {{measure: 6}}
export: {{pick: none}}
"""
_QUICK_OPTIONS = {"rounds": 4}
_POINTS, _QUICK_POINTS = 10, 3
_IMAGES, _QUICK_IMAGES = None, 200
_TIMED, _QUICK_TIMED = 100, 10
_MODELLED = "bitfusion"
_WITH_CONTAINERS = {"*.weight_format": ["int4", "int8"], "*.activation_format": ["int4", "int8"]}
_MEASURED: dict[str, RuntimeName] = {"host-onnxruntime": "onnxruntime", "host-openvino": "openvino"}
_LEAST_AGREEMENT: dict[RuntimeName, float] = {"onnxruntime": 0.995, "openvino": 0.99}
_MOST_DIFFERENCE = {"onnxruntime": 0.002, "openvino": 0.003}
_MOST_SIZE_ERROR = 0.05
_SUMMARIES: dict[str, tuple[str, Callable[[NDArray[np.float64]], float]]] = {
    "agreement": ("least", np.min),
    "top1_difference": ("most", np.max),
    "size_error": ("most", np.max),
    "constants_error": ("most", np.max),
    "differs": ("most", np.max),
    "times_numpy": ("least", np.min),
    "_ms": ("most", np.max),
}
_GOALS = (
    "bitfusion_integer_top1_difference_most <= 0.005",
    "bitfusion_torch_differs_most <= 0",
    "bitfusion_c_differs_most <= 0",
    "bitfusion_c_bytes_differs_most <= 0",
    "bitfusion_c_times_numpy_least >= 50",
    *(f"bitfusion_{form}_size_error_most <= {_MOST_SIZE_ERROR}" for form in ("integer", "c")),
)


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """The supernet, the searches and the test images are those of one seed; ``seeds`` are not used.

    Quick: a barely trained supernet on digits, few points, and of the runtimes ONNX Runtime alone, as a table of
    OpenVINO takes minutes.
    """
    with one_thread():
        figures = _modelled(quick, reporter)
        goals = list(_GOALS)
        scatters = []
        for device, runtime in list(_MEASURED.items())[: 1 if quick else None]:
            found, scatter = _measured(device, runtime, quick, reporter)
            figures |= found
            scatters.append(scatter)
            name = device.replace("-", "_")
            goals += [*_model_goals(name, runtime), f"{name}_latency_error_median <= 0.1"]
    goals += [goal for runtime in _LEAST_AGREEMENT for goal in _model_goals(_MODELLED, runtime)]
    goals += [f"{name} >= {_QUICK_POINTS if quick else _POINTS}" for name in figures if name.endswith("_points")]
    return BenchResult.of("export", 1, figures, goals, {"latency": fidelity_figure(scatters)})


def summarised(name: str, rows: Sequence[Figures]) -> Figures:
    """Of figures of points, the one that says most about all of them, and their mean; see `_SUMMARIES`."""
    found: Figures = {f"{name}_points": float(len(rows))}
    for figure in rows[0]:
        values = np.array([row[figure] for row in rows])
        word, summary = next(how for end, how in _SUMMARIES.items() if figure.endswith(end))
        found |= {f"{name}_{figure}_{word}": float(summary(values)), f"{name}_{figure}_mean": float(values.mean())}
    return found


def _model_goals(name: str, runtime: RuntimeName) -> list[str]:
    """Of the ONNX models of a device's points in a runtime: what they answer, and how large they are."""
    return [
        f"{name}_{runtime}_agreement_least >= {_LEAST_AGREEMENT[runtime]}",
        f"{name}_{runtime}_top1_difference_most <= {_MOST_DIFFERENCE[runtime]}",
        f"{name}_{runtime}_onnx_size_error_most <= {_MOST_SIZE_ERROR}",
        f"{name}_{runtime}_onnx_constants_error_most <= {_MOST_SIZE_ERROR}",
    ]


def _found(device: str, quick: bool, reporter: Reporter) -> FrontPoints:
    options = _QUICK_OPTIONS if device in _MEASURED else {}
    fixed = _WITH_CONTAINERS if device == _MODELLED else {}
    spec = parse_spec((_QUICK_SPEC if quick else _SPEC).format(device=device, options=options, fixed=fixed))
    return front_points(spec, _QUICK_POINTS if quick else _POINTS, reporter)


def _networks(points: FrontPoints, quick: bool) -> Iterator[Network]:
    """One by one, as their images take room."""
    most = _QUICK_IMAGES if quick else _IMAGES
    for genome, size in zip(points.front.genomes, points.front.predicted["size_bytes"], strict=True):
        yield Network.of(points.evaluator, genome, float(size), most)


def _modelled(quick: bool, reporter: Reporter) -> Figures:
    points = _found(_MODELLED, quick, reporter)
    progress = reporter.progress("running points in every form")
    rows = []
    for number, network in enumerate(_networks(points, quick), start=1):
        row: Figures = run_in_integers(network, _QUICK_TIMED if quick else _TIMED)
        for runtime in _LEAST_AGREEMENT:
            row |= run_in(runtime, network)[0]
        rows.append(row)
        progress(number, len(points.front))
    return summarised(_MODELLED, rows)


def _measured(device: str, runtime: RuntimeName, quick: bool, reporter: Reporter) -> tuple[Figures, Scatter]:
    points = _found(device, quick, reporter)
    assert isinstance(points.device, RuntimeDevice)
    progress = reporter.progress(f"running points in {runtime}")
    rows, models = [], []
    for number, network in enumerate(_networks(points, quick), start=1):
        row, model = run_in(runtime, network)
        rows.append(row)
        models.append(model)
        progress(number, len(points.front))
    reporter.say(f"timing {len(models)} exported models on {device}")
    measured = latencies(points.device, models, np.random.default_rng(0))
    predicted = points.front.predicted["latency_ms"]
    name = device.replace("-", "_")
    errors = np.abs(measured / predicted - 1.0)
    figures = summarised(name, rows) | {
        f"{name}_latency_error_median": float(np.median(errors)),
        f"{name}_latency_error_most": float(errors.max()),
    }
    return figures, _scatter(device, predicted, measured)


def _scatter(device: str, predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> Scatter:
    tau = float(kendalltau(predicted, measured).statistic) if len(measured) > 1 else 1.0
    return Scatter(device, predicted, measured, mean_relative_error(predicted, measured), tau)
