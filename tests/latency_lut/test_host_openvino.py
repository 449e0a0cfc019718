from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitfront.latency_lut.bundle import profile
from bitfront.latency_lut.bundle.profile import Samples
from bitfront.latency_lut.device import MeasuringDevice
from bitfront.latency_lut.devices import DEVICES, host_openvino
from bitfront.latency_lut.devices.host_openvino import LIMIT, AVX2OpenVINO, AVX512CoreOpenVINO, HostOpenVINO
from bitfront.latency_lut.one_layer import one_layer
from bitfront.latency_lut.runtime_device import Part
from bitfront.supernet.errors import MeasuringError, UnsupportedError
from bitfront.supernet.export.host_cpu import HostCPU, host_cpu
from bitfront.supernet.export.onnx_graph import part_model
from bitfront.supernet.export.random_network import random_folded
from bitfront.supernet.spaces.digits import digits

openvino = pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install 'bitfront[openvino]'")
needs_bf16 = pytest.mark.skipif("avx512_bf16" not in host_cpu().isa, reason="this CPU has no bf16")
needs_avx512 = pytest.mark.skipif("avx512bw" not in host_cpu().isa, reason="this CPU has no AVX-512")
needs_avx2 = pytest.mark.skipif("avx2" not in host_cpu().isa, reason="this CPU has no AVX2")


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def parts_of(n: int = 2) -> dict[str, Part]:
    network = random_folded(one_layer("pointwise", "fp32", "fp32"), rng())
    return {str(i): lambda: network for i in range(n)}


_KERNELS = """
import sys, openvino
core = openvino.Core()
hints = {"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
request = core.compile_model(core.read_model(sys.argv[1]), "CPU", hints).create_infer_request()
request.infer()
print([node.exec_type for node in request.get_profiling_info() if node.node_type == "Convolution"])
"""


class TestDevice:
    def test_it_is_registered_and_measures(self) -> None:
        device = DEVICES.get("host-openvino")(threads=1, batch=2)
        assert isinstance(device, MeasuringDevice)
        assert device.costs == ("latency_ms",)

    def test_one_precision_and_8_bits_on_top(self) -> None:
        assert HostOpenVINO().executable("depthwise") == {("fp32", "fp32"), ("int8", "int8")}
        assert HostOpenVINO().executable("linear") == {("fp32", "fp32"), ("int8", "int8"), ("int4", "fp32")}

    @needs_bf16
    def test_bf16_is_another_base(self) -> None:
        device = HostOpenVINO(precision="bf16")
        assert device.executable("conv") == {("bf16", "bf16"), ("int8", "int8")}
        assert device.provenance()["precision"] == "bf16"

    def test_it_says_where_its_numbers_come_from(self) -> None:
        provenance = HostOpenVINO(threads=2, batch=4, rounds=5).provenance()
        assert provenance["runtime_version"] == openvino.__version__
        assert (provenance["threads"], provenance["batch"], provenance["rounds"]) == (2, 4, 5)
        assert provenance["timer"] == "perf_counter_ns"
        assert provenance["precision"] == "fp32"
        json.dumps(provenance, allow_nan=False)

    @pytest.mark.parametrize(
        ("options", "words"),
        [({"threads": 0}, "threads"), ({"precision": "fp16"}, "precision = 'fp16': choose one of fp32, bf16")],
    )
    def test_bad_options_are_named(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(UnsupportedError, match=words):
            HostOpenVINO(**options)

    @needs_avx2
    def test_a_limit_in_the_environment_is_no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(LIMIT, "AVX2")
        with pytest.raises(
            UnsupportedError, match="ONEDNN_MAX_CPU_ISA is 'AVX2': unset it, or choose host-openvino-avx2"
        ):
            HostOpenVINO()
        AVX2OpenVINO()

    def test_without_openvino_it_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UnsupportedError, match=r"pip install 'bitfront\[openvino\]'"):
            HostOpenVINO()

    def test_a_cpu_without_bf16_is_not_asked_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host_openvino, "host_cpu", lambda: HostCPU("an older one", ("avx2",)))
        with pytest.raises(UnsupportedError, match="this CPU has none"):
            HostOpenVINO(precision="bf16")

    def test_larger_networks_take_longer(self) -> None:
        device = HostOpenVINO(rounds=4)
        space = device.restrict(digits())
        small, large = (random_folded(space.blocks(genome), rng()) for genome in space.extremes())
        latencies = device.measure([large, small], rng())
        assert latencies[0] > 2 * latencies[1] > 0


class TestPrecision:
    """What runs is asked of OpenVINO itself: without its hint, "fp32" would be bf16 on CPUs that have it."""

    def _kernels(self, weight: str, activation: str, precision: str) -> set[str]:
        """Of the settings that `openvino_call` uses."""
        part = random_folded(one_layer("pointwise", weight, activation), rng())
        core = openvino.Core()
        settings = {**profile.openvino_settings(1, precision), "PERF_COUNT": True}
        compiled = core.compile_model(core.read_model(part_model(part, 1).SerializeToString()), "CPU", settings)
        request = compiled.create_infer_request()
        request.infer()
        found = {node.exec_type for node in request.get_profiling_info() if node.node_type == "Convolution"}
        assert found
        return found

    def test_calls_are_compiled_with_those_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[Any] = []

        class Core:
            def read_model(self, model: bytes) -> bytes:
                return model

            def compile_model(self, model: bytes, device: str, settings: dict[str, Any]) -> None:
                given.append((device, settings))
                raise StopIteration

        monkeypatch.setattr(profile, "_CORE", [Core()])
        with pytest.raises(StopIteration):
            profile.openvino_call(b"", 3, rng(), "fp32")
        assert given == [("CPU", profile.openvino_settings(3, "fp32"))]
        assert profile.openvino_settings(3, "fp32")["INFERENCE_PRECISION_HINT"] == "f32"

    def test_fp32_runs_as_fp32(self) -> None:
        assert all(kernel.endswith("f32") for kernel in self._kernels("fp32", "fp32", "fp32"))

    @needs_bf16
    def test_bf16_runs_as_bf16(self) -> None:
        assert all(kernel.endswith("bf16") for kernel in self._kernels("bf16", "bf16", "bf16"))

    def test_int8_runs_as_int8(self) -> None:
        assert all(kernel.endswith("I8") for kernel in self._kernels("int8", "int8", "fp32"))


@needs_avx2
class TestLimited:
    def test_it_names_its_limit(self) -> None:
        assert AVX2OpenVINO().provenance()["max_cpu_isa"] == "AVX2"
        assert AVX512CoreOpenVINO.max_cpu_isa == "AVX512_CORE"

    def test_never_with_bf16(self) -> None:
        with pytest.raises(UnsupportedError, match="precision = 'bf16'"):
            AVX2OpenVINO(precision="bf16")

    def test_a_cpu_without_it_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host_openvino, "host_cpu", lambda: HostCPU("an older one", ()))
        with pytest.raises(UnsupportedError, match="this CPU has no avx2"):
            AVX2OpenVINO()

    @needs_avx512
    def test_the_limit_decides_the_kernels(self, tmp_path: Path) -> None:
        """Asked of OpenVINO in a process with the device's environment, as its child has it."""
        model = tmp_path / "model.onnx"
        model.write_bytes(
            part_model(random_folded(one_layer("pointwise", "fp32", "fp32"), rng()), 1).SerializeToString()
        )
        kernels = {}
        for limit in ("", AVX2OpenVINO.max_cpu_isa):
            environment = {**os.environ, **({LIMIT: limit} if limit else {})}
            told = subprocess.run(
                [sys.executable, "-c", _KERNELS, str(model)],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            kernels[limit] = told.stdout
        assert "avx512" in kernels[""]
        assert "avx512" not in kernels[AVX2OpenVINO.max_cpu_isa]
        assert "avx2" in kernels[AVX2OpenVINO.max_cpu_isa]

    def test_the_child_gets_the_limit(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        script = tmp_path / "tells.py"
        script.write_text(f"import os; raise SystemExit('limited to ' + os.environ['{LIMIT}'])")
        monkeypatch.setattr(profile, "__file__", str(script))
        with pytest.raises(MeasuringError, match="limited to AVX2"):
            AVX2OpenVINO().sample(parts_of(), {}, rng())

    def test_samples_come_back_and_are_kept_on_the_way(self) -> None:
        samples: Samples = {"0": [1.0] * 6}
        kept: list[int] = []
        shares: list[float] = []
        device = AVX2OpenVINO(rounds=6)
        device.sample(
            parts_of(3),
            samples,
            rng(),
            lambda: kept.append(sum(map(len, samples.values()))),
            lambda done, total: shares.append(done / total),
        )
        assert samples["0"] == [1.0] * 6
        assert {key: len(values) for key, values in samples.items()} == {"0": 6, "1": 6, "2": 6}
        assert kept
        assert shares[-1] == 1.0

    def test_what_was_begun_is_topped_up(self) -> None:
        samples: Samples = {"0": [1.0] * 4, "1": [2.0] * 5}
        AVX2OpenVINO(rounds=6).sample(parts_of(2), samples, rng())
        assert samples["0"][:4] == [1.0] * 4
        assert samples["1"][:5] == [2.0] * 5
        assert {len(values) for values in samples.values()} == {6}

    def test_a_kill_takes_nothing_back(self) -> None:
        samples: Samples = {"0": [1.0] * 7}

        def killed(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            AVX2OpenVINO(rounds=8).sample(parts_of(1), samples, rng(), progress=killed)
        assert samples["0"][:7] == [1.0] * 7

    def test_other_lines_of_the_process_are_no_progress(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        script, seen = tmp_path / "talks.py", []  # type: Path, list[tuple[int, int]]
        script.write_text("print('hello 1 2')\nprint()\nprint('progress 3 4')")
        monkeypatch.setattr(profile, "__file__", str(script))
        AVX2OpenVINO().sample(parts_of(), {}, rng(), progress=lambda done, total: seen.append((done, total)))
        assert seen == [(3, 4)]

    def test_a_failed_process_is_told(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        script = tmp_path / "fails.py"
        script.write_text("raise SystemExit('out of kernels')")
        monkeypatch.setattr(profile, "__file__", str(script))
        with pytest.raises(MeasuringError, match=r"host-openvino-avx2 failed while .* out of kernels"):
            AVX2OpenVINO().sample(parts_of(), {}, rng())
