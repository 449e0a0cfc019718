"""Pages that follow an experiment, where the service fails, is gone, or does not know the reader any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from bitfront.experiments.service.tokens import new_token
from bitfront.experiments.store.base import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

Until = Callable[[Callable[[], Any], float], Any]
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def followed(store: Store, spec: dict[str, Any], find: Callable[[Store, str], None]) -> str:
    """The path of an experiment that runs."""
    experiment = store.create_experiment("followed", spec, 0)
    store.claim(experiment.id)
    find(store, experiment.id)
    return f"/experiments/{experiment.id}"


@pytest.fixture
def asked(browser: Browser) -> tuple[Page, list[str]]:
    """A page, and the path of everything that it asks for."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(30_000)
    paths: list[str] = []
    opened.on("request", lambda request: paths.append(request.url.partition("?")[0]))
    return opened, paths


def _first_drawn(page: Page) -> None:
    page.locator("#shown").get_by_text("3 of 3 members").wait_for()


def _waited(page: Page, paths: list[str], seconds: float) -> list[str]:
    """What is asked for in so many seconds."""
    before = len(paths)
    page.wait_for_timeout(1000 * seconds)
    return paths[before:]


def test_who_is_signed_out_is_told_once_and_nothing_is_asked_any_more(
    base: str, asked: tuple[Page, list[str]], store: Store, followed: str
) -> None:
    page, paths = asked
    token, _ = new_token(store, "reader", ["read"])
    page.goto(f"{base}{followed}?min.top1=1")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{base}{followed}?min.top1=1")  # with what was chosen
    _first_drawn(page)
    page.context.clear_cookies()
    notice = page.locator("#stale")
    notice.get_by_text("You are signed out").wait_for()
    assert notice.inner_text().startswith("Not up to date since ")
    page.wait_for_timeout(4000)  # both of those that ask have asked
    assert _waited(page, paths, 9) == []
    notice.get_by_role("link", name="Sign in").click()
    assert page.url.startswith(f"{base}/sign-in?next=")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{base}{followed}?min.top1=1")
    assert page.locator("#stale").count() == 0


@pytest.mark.parametrize(("status", "words"), [(403, "may not see this"), (404, "not there any more")])
def test_what_is_refused_or_gone_is_not_asked_for_again(
    base: str, asked: tuple[Page, list[str]], followed: str, status: int, words: str
) -> None:
    page, paths = asked
    page.goto(base + followed)
    _first_drawn(page)
    page.route(f"**{followed}**", lambda route: route.fulfill(status=status, body="{}"))
    page.locator("#stale").get_by_text(words).wait_for()
    page.wait_for_timeout(4000)
    assert _waited(page, paths, 9) == []


def test_a_service_that_fails_is_asked_rarely_and_found_again(
    base: str, asked: tuple[Page, list[str]], followed: str
) -> None:
    page, paths = asked
    page.goto(base + followed)
    _first_drawn(page)
    page.route(f"**{followed}**", lambda route: route.abort())
    page.locator("#stale").get_by_text("does not answer").wait_for()
    usual = 12 / 2 + 12 / 3
    assert len(_waited(page, paths, 12)) <= usual / 2
    page.unroute(f"**{followed}**")
    page.locator("#stale").wait_for(state="detached", timeout=60_000)


def test_a_service_that_asks_for_patience_gets_it(base: str, asked: tuple[Page, list[str]], followed: str) -> None:
    page, _ = asked
    page.goto(base + followed)
    _first_drawn(page)
    refused: list[float] = []

    def refuse(route: Route) -> None:
        refused.append(time.monotonic())
        route.fulfill(status=429, headers={"Retry-After": "8"}, body="{}")

    page.route(f"**{followed}/plot.json**", refuse)
    page.wait_for_timeout(17_000)
    assert len(refused) >= 2
    assert all(later - sooner > 7.5 for sooner, later in pairwise(refused))


def test_a_question_that_is_answered_late_does_not_undo_a_choice(
    base: str, asked: tuple[Page, list[str]], followed: str
) -> None:
    page, _ = asked
    page.goto(base + followed)
    _first_drawn(page)

    held: list[Route] = []
    page.route("**/plot.json?x=size_bytes**", lambda route: held.append(route))
    page.locator("#axis-x").select_option("size_bytes")
    page.wait_for_timeout(500)
    page.locator("#axis-x").select_option("latency_ms")
    page.wait_for_timeout(1500)
    assert held
    for route in held:
        route.continue_()
    page.wait_for_timeout(1500)
    assert page.locator("#axis-x").input_value() == "latency_ms"
    assert page.evaluate("front.x") == "latency_ms"
