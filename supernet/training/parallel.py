"""Several processes that train one supernet: each takes a share of every batch, and gradients are averaged."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn

_BUCKET_VALUES = 8_000_000


def share() -> tuple[int, int]:
    """(the rank of this process, how many there are); (0, 1) where no process group is set up."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


@contextmanager
def joined() -> Iterator[None]:
    """Within, this process is one of the group that the environment describes, as torchrun sets it; or alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over all processes, what no network of the step used included.

    Every process draws the same networks, so that the same parameters have gradients everywhere. They travel in
    large buckets, as in torch's DistributedDataParallel, which itself can not wrap a step of several networks.
    """
    _, processes = share()
    if processes == 1:
        return
    bucket: list[torch.Tensor] = []
    values = 0
    for parameter in parameters:
        if parameter.grad is not None:
            bucket.append(parameter.grad)
            values += parameter.grad.numel()
            if values > _BUCKET_VALUES:
                _average(bucket, processes)
                bucket, values = [], 0
    if bucket:
        _average(bucket, processes)


def _average(gradients: list[torch.Tensor], processes: int) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= processes
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def share_weights(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers, bit by bit."""
    if share()[1] == 1:
        return
    for tensor in module.state_dict().values():
        whole = tensor.contiguous()
        distributed.broadcast(whole, 0)
        tensor.copy_(whole)


def wait_for_all() -> None:
    """Go on once every process of the group is here."""
    if share()[1] > 1:
        distributed.barrier()


def mean_of(value: float, device: torch.device) -> float:
    """The mean of a number over all processes."""
    _, processes = share()
    if processes == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor)
    return float(tensor) / processes
