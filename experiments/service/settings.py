"""What the service is told when it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from bitfront.experiments.logs import LogFormat

MIB = 2**20
PORT = 8317


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service is reached, and how much it takes.

    Args:
        home: where experiments are kept.
        host: the address that it listens at.
        port: the port that it listens at.
        names: names under which it may be asked for, beside those of this machine's loopback.
        data_folders: only in these, and in ``data`` of the home, may a spec that is sent name files.
        ray_addresses: the Ray clusters that a spec that is sent may name.
        most_body: bytes of a body, if it is no upload.
        most_upload: bytes of an uploaded table or predictor.
        reads_per_second: of one token, or of one address without token; ``writes_per_second`` likewise.
        burst_seconds: for how long of such a rate requests may come at once.
        stream_seconds: after so long a stream of events ends, and its reader comes back for the rest.
        poll_seconds: how often a stream looks for news.
        most_streams: streams at once; ``most_streams_each``: of one token, or of one address without token.
        most_jobs: exports and imports at once.
        job_seconds: after so long a job is ended.
        job_memory: bytes of address space that an import may take.
        secure_cookies: cookies are sent over HTTPS alone.
        trust_everyone: for tests without a network: whoever asks counts as being on this machine.
        log_format: how the log of the service, and of the worker beside it, looks.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = PORT
    names: tuple[str, ...] = ()
    data_folders: tuple[Path, ...] = ()
    ray_addresses: tuple[str, ...] = ()
    most_body: int = MIB
    most_upload: int = 64 * MIB
    reads_per_second: float = 200.0
    writes_per_second: float = 5.0
    burst_seconds: float = 12.0
    stream_seconds: float = 600.0
    poll_seconds: float = 1.0
    most_streams: int = 100
    most_streams_each: int = 25
    most_jobs: int = 2
    job_seconds: float = 3600.0
    job_memory: int = 8 * 2**30
    secure_cookies: bool = False
    trust_everyone: bool = False
    log_format: LogFormat = LogFormat.TEXT

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the service."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address or name is that of this machine's loopback; other names are not looked up."""
    if host.lower() == "localhost":
        return True
    address = as_address(host)
    return address is not None and address.is_loopback


def host_name(header: str) -> str:
    """The name or address in a header ``Host``, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.rpartition(":")[0] if ":" in header else header


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address, which may stand in brackets; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
