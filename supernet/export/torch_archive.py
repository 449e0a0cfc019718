"""A network as an archive of `torch.export`, which any torch of the same or a later version runs."""

from __future__ import annotations

import io

import torch
from torch import nn

# Of one image torch would conclude that all batches are of one.
_EXAMPLES = 2


def archive(network: nn.Module, shape: tuple[int, int, int]) -> bytes:
    """The ``.pt2`` archive of a network of images of ``shape``, with a free number of images from 0 up.

    It holds no pickle, and nothing of this machine, so that one version of torch gives the same bytes everywhere.
    (`torch.export.load` still runs what a forged archive says: load only those whose origin you trust.)
    """
    images = torch.zeros(_EXAMPLES, *shape)
    free = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(network, (images,), dynamic_shapes=free, strict=False)
    program.example_inputs = None  # they would be pickled
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()
