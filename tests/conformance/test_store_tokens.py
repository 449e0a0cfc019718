"""What every store promises of tokens: found by their hash, revoked for good, their last use known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from bitfront.experiments.store.errors import ConflictError
from bitfront.experiments.store.records import utc_now
from bitfront.experiments.store.sql import SqlStore
from bitfront.supernet.errors import UnknownNameError

At = Callable[[timedelta], None]
SHA = "0123456789abcdef" * 4


class TestTokens:
    def test_by_hash_and_in_order(self, store: SqlStore) -> None:
        end = utc_now() + timedelta(days=1)
        made = store.add_token("laptop", ["read", "write"], SHA, end)
        store.add_token("ci", ["admin"], SHA[::-1])
        assert store.token_by_hash(SHA) == made
        assert (made.scopes, made.expires_at, made.last_used_at) == (("read", "write"), end, None)
        assert store.token_by_hash("0" * 64) is None
        assert [one.name for one in store.tokens()] == ["laptop", "ci"]
        assert made.is_valid(utc_now())
        assert not made.is_valid(end)

    def test_use_is_kept_to_the_minute(self, store: SqlStore, at: At) -> None:
        store.add_token("a", ["read"], SHA)
        store.touch_token("a")
        first = store.tokens()[0].last_used_at
        assert first is not None
        store.touch_token("a")
        store.touch_token("nobody")
        assert store.tokens()[0].last_used_at == first
        at(timedelta(minutes=2))
        store.touch_token("a")
        last = store.tokens()[0].last_used_at
        assert last is not None
        assert last > first
        at(timedelta(days=-2))
        store.touch_token("a")
        assert store.tokens()[0].last_used_at != last

    def test_revoked_for_good(self, store: SqlStore) -> None:
        store.add_token("a", ["read"], SHA)
        ended = store.revoke_token("a")
        assert ended.revoked_at is not None
        assert not ended.is_valid(utc_now())
        assert store.revoke_token("a") == ended == store.token_by_hash(SHA)
        with pytest.raises(UnknownNameError, match="token 'b'"):
            store.revoke_token("b")

    def test_what_is_refused(self, store: SqlStore) -> None:
        store.add_token("a", ["read"], SHA)
        for name, sha in (("a", SHA[::-1]), ("b", SHA)):
            with pytest.raises(ConflictError):
                store.add_token(name, ["read"], sha)
        for name, scopes, sha in (
            ("", ["read"], SHA),
            ("b", [], SHA),
            ("b", ["read"], "secret"),
            ("b", ["r"], ""),
        ):
            with pytest.raises(ValueError, match="token"):
                store.add_token(name, scopes, sha)
        assert len(store.tokens()) == 1
