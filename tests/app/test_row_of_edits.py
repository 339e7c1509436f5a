"""A row of edits as it runs, what a job counts, and a result that comes into sight: in a headless Chromium."""

import time

import pytest
from parts_page import CLIP, PLAYER, fresh, opened

from flowedit.app.live import Live

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("rows")) as page:
        yield page


@pytest.fixture
def page(chromium):
    with fresh(chromium):
        yield chromium


def status(state, **more):
    return {"state": state, "place": 1, "phase": "edit", "done": 0, "total": 8, "fraction": 0.1, "seconds": 3.0,
            "seconds_left": 20.0, "notices": [], "message": None, "preview": None, "files": {}} | more  # fmt: skip


@pytest.fixture
def row(page):
    """The states of three edits by their job; a stop ends the one that waits, and asks the one that runs."""
    jobs = {"j1": status("running", done=1), "j2": status("queued"), "j3": status("queued", place=2)}

    def stop(match, body):
        job = jobs[match.group(1)]
        job |= {"state": "stopped"} if job["state"] == "queued" else {"phase": "stopping"}
        return 200, {}

    page.studio.routes[("GET", "/api/jobs/(j.)")] = lambda match, body: (200, jobs[match.group(1)])
    page.studio.routes[("POST", "/api/jobs/(j.)/stop")] = stop
    items = [{"label": f"seed {number}", "job": f"j{number}"} for number in (1, 2, 3)]
    page.mount("several", "mountSeveral", items, {"onchoose": "TELL", "onaway": "TELL"})
    yield jobs
    page.run("part.destroy()")


def stops(page, count):
    """What was asked to stop, once so many have come: the page says so before the server has heard it."""
    end = time.monotonic() + 20
    while len(found := [path for method, path, _ in page.studio.asked if method == "POST"]) < count:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def test_the_edit_of_a_row_that_runs_has_its_card_and_the_next_one_follows(page, row):
    page.until("here.textContent.includes('1 of 3, seed 1: Editing') && here.textContent.includes('Step 2 of 8')")
    assert page.named("Progress of the whole edit").get_attribute("aria-valuenow") == "10"
    assert "about 20 s left" in page.text()
    page.button("Stop this one").click()
    page.until("here.textContent.includes('Stopping after this step')")
    assert stops(page, 1) == ["/api/jobs/j1/stop"]
    row["j1"] |= status("stopped", player=PLAYER)
    page.until("here.textContent.includes('2 of 3, seed 2: Yours is next')")
    assert len(page.driver.find_elements("css selector", "#here figure.fe-cell")) == 1
    row["j2"] |= {"state": "done", "player": PLAYER}
    row["j3"] |= {"state": "failed", "message": "no memory"}
    page.until("here.textContent.includes('Not made: seed 3 (no memory)')")
    assert "Put these away (they stay in Your edits)" in page.text()


def test_a_row_is_stopped_as_a_whole_from_its_end(page, row):
    page.until("here.textContent.includes('1 of 3')")
    assert "they go on" in page.button("Put these away (they go on, and come to Your edits)").text
    page.button("Stop all").click()
    page.until("here.textContent.includes('Stopping after this step')")
    assert stops(page, 3) == [f"/api/jobs/j{number}/stop" for number in (3, 2, 1)]
    row["j1"] |= status("stopped")
    page.until("here.textContent.includes('Not made: seed 1 (stopped), seed 2 (stopped), seed 3 (stopped)')")
    assert page.driver.find_elements("css selector", "#here .fe-live") == []


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"phase": "encode", "done": 33, "total": 41}, "Frame 34 of 41"),
        ({"phase": "decode, write", "done": 41, "total": 41}, "Frame 41 of 41"),
        ({"phase": "invert", "done": 2, "total": 9}, "Step 3 of 9"),
        ({"phase": "edit", "done": 1, "total": 3, "kind": "compare"}, "Method 2 of 3"),
        ({"phase": "load", "done": 0, "total": 5}, ""),
    ],
)
def test_a_phase_says_what_it_counts(page, told, line):
    page.studio.routes[("GET", "/api/jobs/j1")] = lambda match, body: (200, status("running", **told))
    page.mount("live", "mountLive", {"job": "j1"})
    page.until("here.textContent.includes('about 20 s left')")
    assert page.find(".fe-line").text == line
    page.run("part.destroy()")


def test_a_job_that_was_stopped_says_when_it_writes():
    live = Live()
    live.phase("edit", 8)
    live.stop()
    assert live.plain()["phase"] == "stopping"
    live.cancel.clear()  # it had a step: it goes on to its end
    live.phase("decode, write", 9)
    assert live.plain()["phase"] == "decode, write"


def test_the_mask_folds_to_a_line_when_a_result_comes_and_opens_again(page):
    page.studio.routes[("POST", "/api/looks/l1/mask")] = lambda match, body: (422, {"error": "no mask"})
    page.mount("painter", "mountPainter", {"clip": CLIP, "look": "l1"})
    assert page.find(".fe-painter canvas").is_displayed()
    page.run("dispatchEvent(new Event('fe-front'))")
    assert not page.find(".fe-painter canvas").is_displayed()
    assert page.button("Mask: show").get_attribute("aria-expanded") == "false"
    page.button("Mask: show").click()
    assert page.find(".fe-painter canvas").is_displayed()
    page.run("part.destroy()")
