"""The part of a store's promises that is about running it: tokens, counts, retention, backups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from bitfront.experiments.store.service_records import Counts, Token
from bitfront.experiments.store.statuses import Status


class Operations(ABC):
    """What `Store` promises of every method holds here too."""

    @abstractmethod
    def ping(self) -> None:
        """Answer at once whether the store answers.

        Raises:
            StorageError: it does not; unlike other methods this one does not wait for a database that is away.
        """

    # -- tokens -----------------------------------------------------------------------------------------

    @abstractmethod
    def add_token(
        self, name: str, scopes: Sequence[str], sha256: str, expires_at: datetime | None = None
    ) -> Token:
        """Store a token by the SHA-256 (64 lower-case hexadecimal digits) of what its holder will show.

        Raises:
            ConflictError: a token has this name or hash, revoked ones included.
            ValueError: the name or ``scopes`` is empty, or ``sha256`` is no such hash.
        """

    @abstractmethod
    def token_by_hash(self, sha256: str) -> Token | None:
        """The token with this hash, revoked and expired ones too (see `Token.is_valid`), or None."""

    @abstractmethod
    def touch_token(self, name: str) -> None:
        """Say that a token was used now; what it says is kept to the minute, as it is said often."""

    @abstractmethod
    def tokens(self) -> tuple[Token, ...]:
        """All tokens, in the order of their creation."""

    @abstractmethod
    def revoke_token(self, name: str) -> Token:
        """End a token for good; one that was revoked stays as it is.

        Raises:
            UnknownNameError: there is no such token.
        """

    # -- size -------------------------------------------------------------------------------------------

    @abstractmethod
    def counts(self) -> Counts:
        """How much is stored."""

    @abstractmethod
    def delete_experiment(self, experiment_id: str, expected: Status | None = None) -> None:
        """Remove an experiment and all that is its own; what it shares with others stays. Files are not touched.

        ``expected``: only where this is the present status. A QUEUED one is CANCELLED first, so that nobody claims
        what is half gone.

        Many candidates go in several transactions, so that other writers get their turns. What dies in between has
        removed a part, and is asked again; in each the status must still be what it was.

        Raises:
            StatusError: it is RUNNING or CANCELLING, is not as ``expected``, or is resumed meanwhile.
        """

    @abstractmethod
    def forget_candidates(
        self, experiment_id: str, keep_front: bool = True, expected: Status | None = None
    ) -> int:
        """Remove the candidates of an experiment that is over; returns how many went meanwhile. It can not be
        resumed afterwards.

        Those that were exported or are measured front members stay, and with ``keep_front`` those on the predicted
        front. In several transactions, and only where the status is ``expected``, as `delete_experiment`.

        Raises:
            StatusError: it is not over, is not as ``expected``, or is resumed meanwhile.
        """

    @abstractmethod
    def upkeep(self) -> None:
        """Give room that was freed back to the disk, and let the database look at its numbers to plan queries."""

    @abstractmethod
    def backup(self, path: Path) -> None:
        """Write the whole store as it is now to a new file, while others read and write. See `backups`.

        Raises:
            StorageError: there is such a file, it can not be written, or the copy is not sound.
            UnsupportedError: the store is PostgreSQL, which has ``pg_dump``.
        """
