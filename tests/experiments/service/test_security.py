"""Who may do what, from where, and how much: what docs/security.md promises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from bitfront.experiments.service.auth import check_address
from bitfront.experiments.service.limits import RateLimiter
from bitfront.experiments.service.refusals import RateLimitError
from bitfront.experiments.service.settings import Settings, is_loopback
from bitfront.experiments.service.tokens import new_token, token_hash, with_lesser
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.supernet.errors import UnknownNameError, UnsupportedError

Refused = Callable[[httpx.Response, int], dict[str, Any]]
Token = Callable[[str], dict[str, str]]
Serve = Callable[[Settings], TestClient]
PLACE = "/api/v1/experiments"
SPEC = {"space": "digits", "data": "digits", "device": "bitfusion"}
OPEN = {"/healthz", "/readyz", "/api/v1/session"}
"""What needs no token; of /api/v1/session reading does."""


# -- tokens ------------------------------------------------------------------------------------------------


def test_a_token_is_long_and_random_and_kept_nowhere(store: Store) -> None:
    shown = [new_token(store, f"t{i}", ["read"])[0] for i in range(20)]
    assert len(set(shown)) == 20
    assert all(len(one) >= 43 + 4 for one in shown)  # 32 bytes in base64
    assert not any(one in repr(store.tokens()) for one in shown)
    with pytest.raises(UnknownNameError):
        new_token(store, "other", ["root"])


def test_scopes_include_lesser_ones() -> None:
    assert with_lesser(["admin"]) == {"read", "write", "admin"}
    assert with_lesser(["write"]) == {"read", "write"}
    assert with_lesser([]) == set()


def _operations(client: TestClient) -> list[tuple[str, str]]:
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_everything_needs_a_token_once_there_is_one(api: TestClient, token: Token, refused: Refused) -> None:
    token("read")
    tried = 0
    for method, path in _operations(api):
        place = path.replace("{candidate_id}", "0").replace("{experiment_id}", "x").replace("{name}", "x")
        if path in OPEN and (method != "GET" or path != "/api/v1/session"):
            continue
        answer = api.request(method, place)
        assert refused(answer, 401)["type"] == "NotAuthenticatedError"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        tried += 1
    assert tried > 20


@pytest.mark.parametrize(
    ("scope", "statuses"), [("read", (403, 403)), ("write", (202, 403)), ("admin", (202, 200))]
)
def test_scopes_say_what_may_be_done(
    api: TestClient, token: Token, done: Experiment, scope: str, statuses: tuple[int, int]
) -> None:
    headers = token(scope)
    assert api.get(PLACE, headers=headers).status_code == 200
    assert api.post(PLACE, json=SPEC, headers=headers).status_code == statuses[0]
    assert api.delete(f"{PLACE}/{done.id}", headers=headers).status_code == statuses[1]


def test_no_route_that_changes_is_for_readers(api: TestClient, token: Token) -> None:
    headers = token("read")
    tried = 0
    for method, path in _operations(api):
        if method != "GET" and path != "/api/v1/session":
            place = path.replace("{candidate_id}", "0").replace("{experiment_id}", "x").replace("{name}", "x")
            body = {"candidate": 0} if path.endswith("exports") else SPEC
            query = "?name=x&space=digits" if path in ("/api/v1/tables", "/api/v1/predictors") else ""
            assert api.request(method, place + query, json=body, headers=headers).status_code == 403, path
            tried += 1
    assert tried == 8


def test_ended_and_revoked_tokens_are_none(api: TestClient, store: Store, refused: Refused) -> None:
    ended, _ = new_token(store, "ended", ["read"], datetime.now(UTC) - timedelta(seconds=1))
    revoked, _ = new_token(store, "revoked", ["read"])
    good, _ = new_token(store, "good", ["read"])
    headers = {"Authorization": f"Bearer {revoked}"}
    assert api.get(PLACE, headers=headers).status_code == 200
    store.revoke_token("revoked")
    for bad in (ended, revoked, token_hash(good), "", "bft_"):
        refused(api.get(PLACE, headers={"Authorization": f"Bearer {bad}"}), 401)
    refused(api.get(PLACE, headers={"Authorization": "Basic YTpi"}), 401)


def test_revoking_the_last_token_does_not_open_the_service(
    api: TestClient, store: Store, refused: Refused
) -> None:
    assert api.get(PLACE).status_code == 200
    new_token(store, "only", ["read"])
    store.revoke_token("only")
    refused(api.get(PLACE), 401)


def test_guessing_is_slowed_down(api: TestClient, token: Token, refused: Refused) -> None:
    good = token("read")
    statuses = [api.get(PLACE, headers={"Authorization": f"Bearer {i}"}).status_code for i in range(30)]
    assert statuses[:20] == [401] * 20
    assert set(statuses[20:]) == {429}
    answer = api.get(PLACE, headers={"Authorization": "Bearer another"})
    refused(answer, 429)
    assert int(answer.headers["Retry-After"]) >= 1
    assert api.get(PLACE, headers=good).status_code == 200  # of the same address, as behind a proxy


def test_a_page_left_open_locks_nobody_out(api: TestClient, store: Store, token: Token) -> None:
    good = token("read")
    shown, _ = new_token(store, "ended", ["read"])
    assert api.post("/api/v1/session", json={"token": shown}).status_code == 201
    store.revoke_token("ended")
    assert {api.get(PLACE).status_code for _ in range(40)} == {401}
    api.cookies.clear()
    assert api.get(PLACE, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert api.get(PLACE, headers=good).status_code == 200


# -- addresses ---------------------------------------------------------------------------------------------


def test_others_are_listened_to_only_with_a_token(store: Store, settings: Settings) -> None:
    def check(host: str) -> None:
        check_address(store, replace(settings, host=host))

    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert is_loopback(host)
        check(host)
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org", ""):
        with pytest.raises(UnsupportedError, match="token add"):
            check(host)
    new_token(store, "one", ["read"])
    check("0.0.0.0")
    store.revoke_token("one")
    with pytest.raises(UnsupportedError):
        check("0.0.0.0")


@pytest.mark.parametrize(
    ("option", "given"), [("--https", {"secure_cookies": True}), ("--name", {"names": ("front.example",)})]
)
def test_a_proxy_is_served_only_with_a_token(
    store: Store, settings: Settings, option: str, given: dict[str, Any]
) -> None:
    """Whoever asks it, a proxy asks from this machine."""
    with pytest.raises(UnsupportedError, match=f"{option}.*token add"):
        check_address(store, replace(settings, **given))
    new_token(store, "one", ["read"])
    check_address(store, replace(settings, **given))
    store.revoke_token("one")
    with pytest.raises(UnsupportedError, match="token add"):
        check_address(store, replace(settings, **given))


def test_only_this_machine_needs_no_token(serve: Serve, settings: Settings, refused: Refused) -> None:
    strict = replace(settings, trust_everyone=False)
    refused(serve(strict).get(PLACE), 401)  # the test's client is called "testclient"
    refused(serve(replace(settings, host="0.0.0.0")).get(PLACE), 401)


def test_what_a_proxy_passes_on_is_not_from_here(api: TestClient, refused: Refused) -> None:
    assert api.get(PLACE).status_code == 200
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto", "X-Forwarded-Host"):
        refused(api.get(PLACE, headers={name: "127.0.0.1"}), 401)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8317", 200),
        ("localhost", 200),
        ("[::1]:8317", 200),
        ("Bitfront.Example:80", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("192.168.0.7", 400),
        ("", 400),
    ],
)
def test_other_names_are_refused(
    serve: Serve, settings: Settings, refused: Refused, host: str, status: int
) -> None:
    client = serve(replace(settings, names=("bitfront.example",)))
    for path in (PLACE, "/healthz", "/nowhere"):
        answer = client.get(path, headers={"Host": host})
        if status == 400:
            assert refused(answer, 400)["where"] == "header.host"
        else:
            assert answer.status_code in (200, 404)


# -- other sites -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1:8317"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_change_nothing(
    api: TestClient, store: Store, refused: Refused, headers: dict[str, str]
) -> None:
    assert refused(api.post(PLACE, json=SPEC, headers=headers), 403)["type"] == "ForbiddenError"
    plain = {**headers, "Content-Type": "text/plain"}  # what a form of another site can send
    refused(api.post(PLACE, content=str(SPEC), headers=plain), 403)
    assert store.list_experiments().items == ()


def test_own_pages_and_programs_may(api: TestClient) -> None:
    own = {"Origin": "http://127.0.0.1:8317", "Sec-Fetch-Site": "same-origin"}
    assert api.post("/api/v1/specs/check", json=SPEC, headers=own).status_code == 200
    assert api.post("/api/v1/specs/check", json=SPEC).status_code == 200


def test_behind_a_proxy_own_pages_come_over_https(serve: Serve, settings: Settings, refused: Refused) -> None:
    api = serve(replace(settings, secure_cookies=True, names=("front.example",)))
    own = {"Host": "front.example", "Origin": "https://front.example", "Sec-Fetch-Site": "same-origin"}
    assert api.post("/api/v1/specs/check", json=SPEC, headers=own).status_code == 200
    refused(api.post("/api/v1/specs/check", json=SPEC, headers={**own, "Origin": "http://front.example"}), 403)


def test_behind_a_proxy_pages_opened_on_the_machine_itself_work(
    serve: Serve, settings: Settings, refused: Refused
) -> None:
    api = serve(replace(settings, secure_cookies=True, names=("front.example",)))
    check = "/api/v1/specs/check"
    for host in ("127.0.0.1:8317", "localhost:8317", "[::1]:8317"):
        own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert api.post(check, json=SPEC, headers=own).status_code == 200
        refused(api.post(check, json=SPEC, headers={**own, "Origin": "http://localhost:9999"}), 403)
        refused(api.post(check, json=SPEC, headers={**own, "Sec-Fetch-Site": "cross-site"}), 403)
    # A proxy that puts its own address for the name that it was asked by is no reason to trust plain HTTP.
    passed = {"Host": "127.0.0.1:8317", "Origin": "http://127.0.0.1:8317"}
    good = api.post("/api/v1/session", json={"token": "x"}, headers={**passed, "X-Forwarded-For": "203.0.113.7"})
    refused(good, 403)


def test_a_session_stands_for_its_token(api: TestClient, store: Store, refused: Refused) -> None:
    shown, _ = new_token(store, "me", ["write"])
    refused(api.post("/api/v1/session", json={"token": "wrong"}), 401)
    refused(api.post("/api/v1/session", json={"token": shown}, headers={"Origin": "http://evil.example"}), 403)
    opened = api.post("/api/v1/session", json={"token": shown})
    assert opened.status_code == 201
    cookie = opened.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert shown not in opened.text + opened.headers["Set-Cookie"]
    word = opened.json()["csrf_token"]
    assert api.get("/api/v1/session").json() == {
        "name": "me",
        "scopes": ["read", "write"],
        "csrf_token": word,
    }
    check = "/api/v1/specs/check"
    refused(api.post(check, json=SPEC), 403)
    refused(api.post(check, json=SPEC, headers={"X-CSRF-Token": "x" * len(word)}), 403)
    refused(api.post(check, json=SPEC, headers={"X-CSRF-Token": word, "Origin": "http://evil.example"}), 403)
    assert api.post(check, json=SPEC, headers={"X-CSRF-Token": word}).status_code == 200
    store.revoke_token("me")
    refused(api.get(PLACE), 401)


def test_a_session_ends(api: TestClient, store: Store, refused: Refused) -> None:
    shown, _ = new_token(store, "me", ["read"])
    api.post("/api/v1/session", json={"token": shown})
    assert api.get(PLACE).status_code == 200
    cookie = dict(api.cookies)
    api.delete("/api/v1/session")
    api.cookies.update(cookie)
    refused(api.get(PLACE), 401)


def test_cookies_go_over_https_where_that_is_spoken(serve: Serve, settings: Settings, store: Store) -> None:
    shown, _ = new_token(store, "me", ["read"])
    client = serve(replace(settings, secure_cookies=True))
    assert "secure" in client.post("/api/v1/session", json={"token": shown}).headers["Set-Cookie"].lower()


# -- what every answer carries -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PLACE, "/healthz", "/nowhere", "/api/v1/experiments/x/front", "/metrics"])
def test_browsers_are_told_to_be_careful(api: TestClient, path: str) -> None:
    headers = api.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "no-" in headers["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in headers


# -- how much ----------------------------------------------------------------------------------------------


def test_bodies_end_where_they_must(serve: Serve, settings: Settings, store: Store, refused: Refused) -> None:
    client = serve(replace(settings, most_body=1000))
    large = "# " + "x" * 1000
    kind = {"Content-Type": "application/yaml"}
    refused(client.post(PLACE, content=large, headers=kind), 413)
    pieces = (b"#" * 100 for _ in range(50))  # without Content-Length
    refused(client.post(PLACE, content=pieces, headers=kind), 413)
    export = f"{PLACE}/x/exports"  # a body that FastAPI reads itself
    json = {"Content-Type": "application/json"}
    refused(client.post(export, content=(b" " * 100 for _ in range(50)), headers=json), 413)
    assert store.list_experiments().items == ()


def test_who_asks_too_much_waits(serve: Serve, settings: Settings, refused: Refused) -> None:
    client = serve(replace(settings, writes_per_second=0.01, burst_seconds=300))
    statuses = [client.post("/api/v1/specs/check", json=SPEC).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    answer = client.post("/api/v1/specs/check", json=SPEC)
    refused(answer, 429)
    assert 90 <= int(answer.headers["Retry-After"]) <= 100
    assert client.get(PLACE).status_code == 200


def test_an_address_without_leave_is_limited_too(serve: Serve, settings: Settings) -> None:
    client = serve(replace(settings, reads_per_second=0.001, burst_seconds=1000))
    assert [client.get("/nowhere").status_code for _ in range(4)] == [404, 404, 429, 429]


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    limiter = RateLimiter(2.0, 3.0, lambda: now[0])
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(RateLimitError, match="1 s"):
        limiter.take("a")
    limiter.take("b")
    now[0] = 0.5
    limiter.take("a")
    with pytest.raises(RateLimitError):
        limiter.take("a")
    now[0] = 1e6
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(RateLimitError):
        limiter.take("a")


# -- what is told and logged -------------------------------------------------------------------------------


def test_what_nobody_expected_tells_nothing_but_where_the_log_has_it(
    api: TestClient,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: Refused,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(store, "list_experiments", fail)
    with caplog.at_level(logging.INFO):
        error = refused(api.get(PLACE), 500)
    assert error["type"] == "InternalError"
    assert "swordfish" not in str(error)
    assert error["id"] in caplog.text
    assert "swordfish" in caplog.text


def test_logs_hold_no_secrets(
    api: TestClient, store: Store, caplog: pytest.LogCaptureFixture, token: Token
) -> None:
    headers = token("admin")
    shown = headers["Authorization"].removeprefix("Bearer ")
    with caplog.at_level(logging.DEBUG):
        api.get(PLACE, headers=headers)
        api.get(f"{PLACE}?token={shown}", headers=headers)
        api.get(f"{PLACE}/{shown}", headers=headers)
        api.post("/api/v1/session", json={"token": shown, "more": shown})
        opened = api.post("/api/v1/session", json={"token": shown})
        api.post("/api/v1/specs/check", json=SPEC)
        api.get(PLACE, headers={"Authorization": f"Basic {shown}"})
    ours = [record for record in caplog.records if record.name.startswith("bitfront")]
    assert len(ours) >= 7
    text = "".join(f"{record.getMessage()} {record.__dict__}" for record in ours)
    word, cookie = opened.json()["csrf_token"], opened.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    for secret in (shown, token_hash(shown), word, cookie):
        assert secret not in text


def test_errors_do_not_echo_secrets(api: TestClient, refused: Refused) -> None:
    long = "bft_" + "s" * 300
    error = refused(api.post("/api/v1/session", json={"token": long}), 422)
    assert "sss" not in str(error)
    error = refused(api.post("/api/v1/session", json={"token": ["bft_sss"]}), 422)
    assert "sss" not in str(error)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", PLACE, 405), ("PATCH", f"{PLACE}/x", 405), ("POST", "/healthz", 405)],
)
def test_even_the_router_keeps_the_form(
    api: TestClient, refused: Refused, method: str, path: str, status: int
) -> None:
    answer = api.request(method, path)
    refused(answer, status)
    if status == 405:
        assert answer.headers["Allow"]


@pytest.mark.parametrize(
    ("place", "status"),
    [
        (f"{PLACE}/%00", 404),
        (f"{PLACE}/a%00b/front", 404),
        ("/api/v1/devices/%00", 404),
        (f"{PLACE}?cursor=%00", 422),
        ("/api/v1/compare?experiments=a%00", 422),
        (f"{PLACE}/x/candidates?where=top1%20%3E%200%00", 422),
    ],
)
def test_no_zero_byte_comes_to_the_store(
    api: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch, refused: Refused, place: str, status: int
) -> None:
    """PostgreSQL takes none, and would say so as if it was away."""
    for name in ("get", "candidates", "compare", "list_experiments"):
        monkeypatch.setattr(store, name, lambda *_: pytest.fail("the store was asked"))
    refused(api.get(place), status)
