"""The pages in a browser: an experiment from its launch to its file, and what a policy or a script would break."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import CandidateBatch, Generation
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.spaces import SPACES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

Until = Callable[[Callable[[], Any], float], Any]
Process = Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]
SECONDS = 900
_SMALL = """\
supernet: {warmup_epochs: 1, elastic_epochs: 1, quantized_epochs: 1}
samples: {fp32: 20, quantized: 20, held_out: 10}
search: {population: 20, generations: 400}
front: {measure: 4}
export: {pick: none}
"""

pytestmark = pytest.mark.browser


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
def test_from_launch_to_a_file_that_runs(
    served: str, page: Page, home: Path, tmp_path: Path, until: Until, process: Process
) -> None:
    page.goto(served)
    experiment = _launched(page)
    page.evaluate("window.neverLeft = true")
    program = f"from bitfront.experiments.commands.launch import work; work({experiment!r})"
    with process("-c", program):
        sizes = _watched(page, until)
    assert page.evaluate("window.neverLeft === true")  # it grew live, without being loaded again
    assert len(sizes) >= 2, sizes

    _brush(page, until)
    file = tmp_path / "model.onnx"
    _exported(page, file)
    _runs(file)
    with open_store(home) as store:
        assert store.get(experiment).status is Status.COMPLETED
        assert store.get(experiment).seed == 3


def _launched(page: Page) -> str:
    """The id of an experiment that was launched in the form."""
    page.get_by_role("link", name="Launch the first one").click()
    page.get_by_label("Spec as YAML").fill("name: seen\nspace: digits\ndata: digits\n" + _SMALL)
    device = page.locator("#f-device-name")
    device.fill("bitfuson")
    page.locator("#f-device-name-error").get_by_text("did you mean 'bitfusion'").wait_for()
    device.fill("bitfusion")
    page.get_by_text("Can be launched.").wait_for()
    assert "device: bitfusion" in page.get_by_label("Spec as YAML").input_value()
    assert "name: seen" in page.get_by_label("Spec as YAML").input_value()
    page.locator("#f-seed").fill("3")  # launched at once: the YAML follows before it is sent
    page.get_by_role("button", name="Launch").click()
    page.wait_for_url("**/experiments/seen-*")
    experiment = page.url.rpartition("/")[2]
    assert page.locator(".status").first.inner_text() == "QUEUED"
    return experiment


def _exported(page: Page, file: Path) -> None:
    """Open a measured candidate, export it, and save the download."""
    chosen = page.locator("#members tbody tr:visible").filter(has_text="measured").first
    chosen.get_by_role("link").click()
    page.get_by_role("heading", name="Layers").wait_for()
    page.get_by_role("button", name=re.compile("^Export( again)?$")).click()
    page.locator("a[download]").first.wait_for(timeout=SECONDS * 1000)
    with page.expect_download() as started:
        page.locator("a[download]").first.click()
    started.value.save_as(file)


def _watched(page: Page, until: Until) -> set[str]:
    """How many members the front had, at each look, until the experiment ended."""
    sizes: set[str] = set()

    def is_over() -> bool:
        sizes.add(page.locator("#shown").inner_text())
        status = page.locator("#state .status").inner_text()
        assert status in ("QUEUED", "RUNNING", "COMPLETED"), page.locator("#state").inner_text()
        return status == "COMPLETED"

    until(is_over, SECONDS)
    sizes.discard("")
    return sizes


def _brush(page: Page, until: Until) -> None:
    """Drag over the right half of the plot: fewer members stay in the table, and the form says which."""
    before = page.locator("#members tbody tr:visible").count()
    plot = page.locator("#scatter canvas").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] - 2, steps=5)
    page.mouse.up()
    until(lambda: page.locator("input[name='max.latency_ms']").input_value(), 20)
    assert 0 < page.locator("#members tbody tr:visible").count() <= before
    page.get_by_role("link", name="All", exact=True).click()
    assert page.locator("#members tbody tr:visible").count() == before


def _runs(file: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    shape = [one if isinstance(one, int) else 3 for one in given.shape]
    (logits,) = session.run(None, {given.name: np.zeros(shape, dtype=np.float32)})
    assert logits.shape == (shape[0], 10)
    assert np.isfinite(logits).all()


@pytest.fixture
def many(home: Path, store: Store, spec: dict[str, Any], rng: np.random.Generator) -> str:
    """An experiment of 100,000 candidates, 500 of them on the front."""
    space, n = SPACES.get("digits")(), 100_000
    genomes = np.unique(space.sample(n + 500, rng), axis=0)[:n]
    size = rng.uniform(0, 1, n)
    predicted = {
        "top1": np.clip(0.6 + 0.39 * np.sqrt(size) - rng.exponential(0.05, n), 0, 1),
        "latency_ms": 0.1 + size + rng.exponential(0.2, n),
        "size_bytes": 4e3 + 1e5 * size,
    }
    experiment = store.create_experiment("many", spec, 0)
    store.claim(experiment.id)
    batch = CandidateBatch(genomes, predicted)
    state = {"objectives": ["top1"], "reference": np.array([0.5])}
    store.add_generation(experiment.id, Generation(0, n, 0.5), batch, genomes[:500], state)
    store.set_status(experiment.id, Status.COMPLETED)
    return experiment.id


def test_a_page_of_100_000_candidates_is_drawn(base: str, page: Page, many: str, until: Until) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.goto(f"{base}/experiments/{many}")
    page.locator("#scatter[data-drawn]").first.wait_for()
    assert page.locator("#shown").inner_text() == "500 of 500 members"
    assert "Of 100,000 candidates" in page.locator("#cloud-note").inner_text()
    assert [one for one in asked if one.startswith("plot.json")] == ["plot.json"]  # asked for early, and used
    page.locator("input[name='min.top1']").fill("90")
    until(lambda: page.locator("#shown").inner_text() != "500 of 500 members", 20)
    page.locator("#axis-x").select_option("size_bytes")
    page.get_by_role("img", name="Accuracy (%) over Size (KiB)").wait_for()


def test_members_beyond_the_table_are_listed_by_show(base: str, page: Page, many: str, until: Until) -> None:
    page.goto(f"{base}/experiments/{many}")
    page.locator("#scatter[data-drawn]").wait_for()
    rows = page.locator("#members tbody tr")
    assert rows.count() == 300
    listed = {row.get_attribute("data-candidate") for row in rows.all()}
    page.locator("input[name='max.top1']").fill("80")
    until(lambda: "press Show" in page.locator("#shown").inner_text(), 20)
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**max.top1=80**")
    page.locator("#scatter[data-drawn]").wait_for()
    found = {row.get_attribute("data-candidate") for row in page.locator("#members tbody tr:visible").all()}
    assert len(found) > 0
    assert not found <= listed
    assert page.locator("#shown").inner_text().startswith(f"{min(len(found), 300)} of 500 members")
    page.get_by_role("link", name="All", exact=True).click()
    page.wait_for_url(f"**/experiments/{many}#front-title")
    page.locator("#shown").get_by_text("500 of 500 members").wait_for()


def test_a_touch_that_scrolls_chooses_nothing(base: str, page: Page, many: str, until: Until) -> None:
    page.goto(f"{base}/experiments/{many}")
    page.locator("#scatter[data-drawn]").wait_for()
    # Axes stand upright: a finger that moves along one chooses, one that moves across scrolls.
    touch = "getComputedStyle(document.querySelector({})).touchAction"
    assert page.evaluate(touch.format("'#parallel'")) == "pan-x"
    assert page.evaluate(touch.format("'#scatter canvas'")) == "pan-y"
    for place, x, y in (("#parallel", 65, 100), ("#scatter canvas", 200, 100)):
        box = page.locator(place).bounding_box()
        assert box is not None
        page.evaluate(
            """([place, x, y]) => {
                const canvas = document.querySelector(place);
                canvas.setPointerCapture = () => {};
                const send = (name, up) => canvas.dispatchEvent(new PointerEvent(name,
                    { bubbles: true, pointerId: 7, pointerType: "touch", clientX: x + up, clientY: y + up }));
                send("pointerdown", 0);
                send("pointercancel", 0);
                send("pointermove", 60);
                send("pointerup", 60);
            }""",
            [place, box["x"] + x, box["y"] + y],
        )
    assert page.locator("#shown").inner_text() == "500 of 500 members"
    assert page.evaluate("Object.keys(limits()).length") == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "signed out"),
        (403, "may not launch"),
        (422, "too long"),
        (429, "for patience"),
        (0, "not answer"),
    ],
)
def test_a_form_says_why_it_is_not_checked(base: str, browser: Browser, status: int, words: str) -> None:
    page = browser.new_page()

    def refuse(route: Route) -> None:
        if status:
            route.fulfill(status=status, body="{}")
        else:
            route.abort()

    page.route("**/experiments/new/check", refuse)
    page.goto(f"{base}/experiments/new")
    page.locator("#checked").get_by_text(words).wait_for(timeout=20_000)
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_pages_fit_narrow_and_wide_in_light_and_dark(
    base: str, browser: Browser, many: str, theme: Any, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    page = context.new_page()
    for path in ("/experiments", "/experiments/new", f"/experiments/{many}", f"/experiments/{many}/candidates/1"):
        page.goto(base + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (max(map(int, ground[4:-1].split(","))) < 60) == (theme == "dark")
    context.close()


def test_keys_reach_the_content_first(base: str, page: Page) -> None:
    page.goto(f"{base}/experiments")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
