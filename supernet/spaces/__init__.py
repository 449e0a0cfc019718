"""Search spaces, one a file. A new space is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from bitfront.supernet.registry import Registry
from bitfront.supernet.space import SearchSpace

SPACES: Registry[Callable[..., SearchSpace]] = Registry(
    "space",
    {
        "digits": "bitfront.supernet.spaces.digits:digits",
        "fashion": "bitfront.supernet.spaces.fashion:fashion",
        "mobilenet_v2": "bitfront.supernet.spaces.mobilenet_v2:mobilenet_v2",
        "mobilenet_v2_cifar": "bitfront.supernet.spaces.mobilenet_v2:mobilenet_v2_cifar",
        "mobilenet_v3": "bitfront.supernet.spaces.mobilenet_v3:mobilenet_v3",
        "mobilenet_v3_cifar": "bitfront.supernet.spaces.mobilenet_v3:mobilenet_v3_cifar",
        "proxyless": "bitfront.supernet.spaces.proxyless:proxyless",
        "resnet50": "bitfront.supernet.spaces.resnet50:resnet50",
        "resnet50_cifar": "bitfront.supernet.spaces.resnet50:resnet50_cifar",
    },
)
