"""Search spaces, one a file. A new space is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from bitfront.supernet.registry import Registry
from bitfront.supernet.spaces.mbconv import MBConvSpace

SPACES: Registry[Callable[[], MBConvSpace]] = Registry(
    "space",
    {
        "digits": "bitfront.supernet.spaces.digits:digits",
        "mobilenet_v2": "bitfront.supernet.spaces.mobilenet_v2:mobilenet_v2",
        "mobilenet_v2_cifar": "bitfront.supernet.spaces.mobilenet_v2:mobilenet_v2_cifar",
        "proxyless": "bitfront.supernet.spaces.proxyless:proxyless",
    },
)
