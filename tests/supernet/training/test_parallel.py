"""Two processes that train one supernet: what each of them ends with, and what they average."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.errors import TrainingSettingsError
from bitfront.supernet.files import load_tensors, read_json
from bitfront.supernet.network import Supernet
from bitfront.supernet.spaces.mbconv import MBConvSpace
from bitfront.supernet.training import Trainer, TrainingSettings
from bitfront.supernet.training.batches import BatchSource
from bitfront.supernet.training.parallel import average_gradients, joined, mean_of, share, wait_for_all
from bitfront.supernet.training.run import CHECKPOINT, HISTORY
from bitfront.supernet.training.trained import MANIFEST, WEIGHTS

ROOT = Path(__file__).parents[3]
PROCESSES = 2
RECIPE = """
space: digits
data: {kind: npz, path: own.npz, validation: 0.25, test: 0.25}
training: {warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1, batch_size: 32, subnets_per_step: 1,
           accumulation: 2, probes: 0}
"""


def side_by_side(code: str, arguments: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """The same program in each process, with the environment that torchrun would give it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / ".ns"),
                "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": str(PROCESSES),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    told = [process.communicate(timeout=300) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *streams)
        for process, streams in zip(started, told, strict=True)
    ]


def check_went_well(processes: list[subprocess.CompletedProcess[str]]) -> None:
    for process in processes:
        assert process.returncode == 0, process.stderr


# Each process has gradients of its own; parameters are larger than a bucket, empty of a gradient, or scalars.
AVERAGING = """
import sys, torch
from torch import nn
from safetensors.torch import save_file
from bitfront.supernet.training import parallel

parallel._BUCKET_VALUES = 50
torch.set_num_threads(1)
with parallel.joined():
    rank, processes = parallel.share()
    assert processes == 2
    shapes = [(3, 4), (7, 20), (), (5,), (40,), (30,), (2, 1, 3, 3)]
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    generator = torch.Generator().manual_seed(rank)
    for number, parameter in enumerate(parameters):
        if number != 3:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
    named = {str(n): p.grad.clone() for n, p in enumerate(parameters) if p.grad is not None}
    save_file(named, f"{sys.argv[1]}/own{rank}")
    parallel.average_gradients(parameters)
    assert parameters[3].grad is None
    named = {str(n): p.grad for n, p in enumerate(parameters) if p.grad is not None}
    named["mean"] = torch.tensor(parallel.mean_of(10.0 + rank, torch.device("cpu")), dtype=torch.float64)
    save_file(named, f"{sys.argv[1]}/averaged{rank}")
    parallel.wait_for_all()
assert parallel.share() == (0, 1)
"""


def test_gradients_are_averaged(tmp_path: Path) -> None:
    check_went_well(side_by_side(AVERAGING, [str(tmp_path)]))
    own, averaged = ([load_file(tmp_path / f"{name}{rank}") for rank in range(2)] for name in ("own", "averaged"))
    assert len(own[0]) == 6
    for name in own[0]:
        assert not torch.equal(own[0][name], own[1][name])
        assert torch.equal(averaged[0][name], averaged[1][name])
        torch.testing.assert_close(averaged[0][name], (own[0][name] + own[1][name]) / 2)
    assert float(averaged[0]["mean"]) == float(averaged[1]["mean"]) == 10.5


# The command, with each process's own weights kept beside; the loss of one process alone can be spoilt in a step.
TRAINING = """
import sys, torch
from safetensors.torch import save_file
from bitfront.supernet.network import Supernet
from bitfront.supernet.training import __main__ as command, parallel, trainer

kept = []
bad = int(sys.argv.pop())

class Kept(Supernet):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.passes = 0
        kept.append(self)

    def forward(self, x, blocks, *more):
        logits = super().forward(x, blocks, *more)
        if torch.is_grad_enabled():
            self.passes += 1
            if self.passes == bad and parallel.share()[0] == 1:
                return logits * float("nan")
        return logits

command.Supernet = Kept
with parallel.joined():
    rank = parallel.share()[0]
    status = command.main(sys.argv[2:])
    save_file({name: tensor.clone() for name, tensor in kept[0].state_dict().items()}, f"{sys.argv[1]}/rank{rank}")
sys.exit(status)
"""


def arguments_in(folder: Path) -> list[str]:
    """Of the command, after its recipe was written."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (128, 10, 10)).astype(np.uint8)
    np.savez(folder / "own.npz", images=images, labels=np.arange(128) % 4)
    (folder / "recipe.yaml").write_text(RECIPE)
    return [str(folder / "recipe.yaml"), "--out", str(folder / "out"), "--threads", "1"]


def trained(folder: Path, bad: int = 0) -> list[dict[str, Tensor]]:
    """The weights that each process ends with."""
    processes = side_by_side(TRAINING, [str(folder), *arguments_in(folder), str(bad)])
    check_went_well(processes)
    assert "epoch 3/3 quantized" in processes[0].stdout
    assert processes[1].stdout == ""  # the first speaks
    return [load_file(folder / f"rank{rank}") for rank in range(PROCESSES)]


def check_alike(weights: list[dict[str, Tensor]], folder: Path) -> None:
    written, _ = load_tensors(folder / "out" / WEIGHTS)
    for name, tensor in written.items():
        assert bool(tensor.isfinite().all())
        assert torch.equal(weights[0][name], tensor)
        assert torch.equal(weights[1][name], tensor)


@pytest.mark.slow
def test_both_end_with_the_same_weights(tmp_path: Path) -> None:
    check_alike(trained(tmp_path), tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {WEIGHTS, MANIFEST, HISTORY}
    history = read_json(tmp_path / "out" / MANIFEST)["history"]
    assert history[0]["loss"] < 2  # about chance: log(4) = 1.39

    # What is done is not done again, and both take it up.
    processes = side_by_side(TRAINING, [str(tmp_path), *arguments_in(tmp_path), "0"])
    check_went_well(processes)
    assert "epoch" not in processes[0].stdout
    for rank in range(PROCESSES):
        (tmp_path / f"rank{rank}").rename(tmp_path / f"again{rank}")
    check_alike([load_file(tmp_path / f"again{rank}") for rank in range(PROCESSES)], tmp_path)


@pytest.mark.slow
def test_a_bad_step_of_one_takes_both_back(tmp_path: Path) -> None:
    check_alike(trained(tmp_path, bad=3), tmp_path)
    assert not (tmp_path / "out" / CHECKPOINT).exists()
    history = read_json(tmp_path / "out" / MANIFEST)["history"]
    assert [report["epoch"] for report in history] == [1, 2, 3]


# -- in one process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "processes"), [(1, 2), (33, 2), (64, 3), (10, 4)])
def test_batches_that_can_not_be_shared_are_refused(tiny_data: Dataset, batch_size: int, processes: int) -> None:
    message = (
        rf"training\.batch_size = {batch_size} can not be shared by {processes} processes: "
        rf"give a multiple of {processes}"
    )
    with pytest.raises(TrainingSettingsError, match=message):
        BatchSource(tiny_data, TrainingSettings(batch_size=batch_size), 0, torch.device("cpu"), (0, processes))


def test_alone_nothing_is_set_up_and_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, tiny_space: MBConvSpace, few_images: Dataset
) -> None:
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: pytest.fail("there is nobody"))
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend: pytest.fail("there is nobody"))
    weights = []
    for world in (None, "1"):
        if world is not None:
            monkeypatch.setenv("WORLD_SIZE", world)
        with joined():
            assert share() == (0, 1)
            wait_for_all()
            supernet = Supernet(tiny_space, seed=1)
            settings = TrainingSettings(1, 1, 0, batch_size=30, subnets_per_step=1, probes=0)
            Trainer(supernet, few_images, settings, seed=0, device="cpu").run(lambda report: None)
            weights.append(supernet.state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    average_gradients([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]
    assert mean_of(0.1, torch.device("cpu")) == 0.1


SHARING = """
import torch
from torch import nn
from bitfront.supernet.training.parallel import joined, share, share_weights

torch.set_num_threads(1)
with joined():
    torch.manual_seed(share()[0])
    module = nn.Sequential(nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(3))
    share_weights(module)
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in module.state_dict().items())
"""


def test_all_get_the_weights_of_the_first() -> None:
    check_went_well(side_by_side(SHARING, []))
