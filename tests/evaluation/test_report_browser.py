"""The page in a headless Chromium: it opens from disk, its videos play as one, its keys and switches work."""

from pathlib import Path

import numpy as np
import pytest
from browser import browser as opened
from conftest import write_clip
from PIL import Image

from flowedit.evaluation.report.page import Exhibit, Page, write_page
from flowedit.evaluation.results.rows import Row

pytestmark = pytest.mark.slow

FPS, FRAMES = 10, 30
TIMES = "[...document.querySelectorAll('#edit-1 video')].filter(v => !v.hidden).map(v => v.currentTime)"
WATCH = f"""
const [span, done] = arguments, seen = [];
(function look() {{
  seen.push({TIMES});
  seen.at(-1)[0] < seen[0][0] + span ? requestAnimationFrame(look) : done(seen);
}})();
"""
SETTLED = (
    "return [...document.querySelectorAll('#edit-1 video')].every(v => v.hidden || (!v.seeking && v.readyState > 1))"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile"), (1200, 900)) as driver:
        yield driver


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("page")
    files = [write_clip(place / f"{i}.mp4", FRAMES, sound=False) for i in range(4)]
    shown = Exhibit("clip", "edit", "", "a fox", "a panda", files[0], None, {"one": files[1], "two": files[2]},
                  {"two": files[3]})  # fmt: skip
    metrics = ("psnr", "ssim", "lpips_bundled", "warp_error", "warp_ssim", "clip_t", "seconds")
    rows = [Row("clip", "edit", "", method, metric, 0.5) for method in ("one", "two") for metric in metrics]
    write_page(Page("toys", {}, rows, ["one", "two"], [shown], {}), place / "index.html")
    return place


@pytest.fixture
def open_store(browser, folder):
    browser.get((folder / "index.html").as_uri())
    browser.execute_script("document.querySelector('.player').scrollIntoView()")  # far away, nothing is loaded
    settle(browser)
    return browser


def settle(browser):
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 5, 0.02).until(lambda driver: driver.execute_script(SETTLED))


def find(browser, name):
    return browser.find_element("css selector", f"#edit-1 {name}")


def press(browser, *keys):
    for key in keys:
        find(browser, ".player").send_keys(key)


def spread(times):
    return max(times) - min(times)


def test_a_row_plays_as_one_and_stragglers_catch_up(open_store, tmp_path: Path):
    find(open_store, ".play").click()
    seen = open_store.execute_async_script(WATCH, 0.6)
    assert len(seen[0]) == 3
    assert all(last > first for first, last in zip(seen[0], seen[-1], strict=True))
    assert max(map(spread, seen)) <= 1 / FPS
    open_store.execute_script("document.querySelectorAll('#edit-1 video')[1].currentTime += 0.3")
    seen = open_store.execute_async_script(WATCH, 1.2)
    assert spread(seen[0]) > 1 / FPS
    assert spread(seen[-1]) <= 1 / FPS
    assert open_store.save_screenshot(str(tmp_path / "page.png"))
    assert (tmp_path / "page.png").stat().st_size > 5000
    find(open_store, ".play").click()
    assert find(open_store, ".play").get_attribute("aria-label") == "play"
    assert open_store.execute_script("return [...document.querySelectorAll('video')].every(v => v.paused && v.muted)")
    assert open_store.get_log("browser") == []


def test_scrubbing_and_keys_move_by_frames(open_store):
    script = "const at = document.querySelector('.at'); at.value = 20; at.dispatchEvent(new Event('input'))"
    open_store.execute_script(script)
    settle(open_store)
    middle = [(20 + 0.5) / FPS] * 3
    assert open_store.execute_script(f"return {TIMES}") == pytest.approx(middle, abs=1e-3)
    assert find(open_store, ".where").text == f"21 / {FRAMES}"
    press(open_store, "\ue014", "\ue014", "\ue012")  # right, right, left
    settle(open_store)
    assert open_store.execute_script(f"return {TIMES}") == pytest.approx([time + 0.1 for time in middle], abs=1e-3)
    press(open_store, " ")
    assert find(open_store, ".play").get_attribute("aria-label") == "pause"
    press(open_store, " ", "\ue011")  # home
    assert find(open_store, ".play").get_attribute("aria-label") == "play"
    assert find(open_store, ".where").text == f"1 / {FRAMES}"


def test_without_the_loop_it_stops_on_the_last_frame(open_store):
    from selenium.webdriver.support.wait import WebDriverWait

    find(open_store, ".loop").click()
    open_store.execute_script("document.querySelector('.speed').value = '2'")
    open_store.execute_script(
        "const at = document.querySelector('.at'); at.value = 26; at.dispatchEvent(new Event('input'))"
    )
    find(open_store, ".play").click()
    WebDriverWait(open_store, 5, 0.02).until(lambda _: find(open_store, ".play").get_attribute("aria-label") == "play")
    assert find(open_store, ".where").text == f"{FRAMES} / {FRAMES}"


def test_masks_take_the_place_of_the_edits_that_have_one(open_store):
    shown = "return [...document.querySelectorAll('#edit-1 video')].map(v => v.getClientRects().length)"
    assert open_store.execute_script(shown) == [1, 1, 1, 0]
    press(open_store, "\ue014")
    find(open_store, ".masks").click()
    settle(open_store)
    assert open_store.execute_script(shown) == [1, 1, 0, 1]
    assert find(open_store, ".masks").get_attribute("aria-pressed") == "true"
    assert spread(open_store.execute_script(f"return {TIMES}")) < 0.5 / FPS
    find(open_store, ".masks").click()
    assert open_store.execute_script(shown) == [1, 1, 1, 0]


def test_a_phone_scrolls_tables_and_not_the_page(open_store):
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    open_store.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert open_store.execute_script("return document.documentElement.scrollWidth") == 360
    open_store.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_five_methods_stand_side_by_side_on_a_phone(browser, folder):
    names = ["inversion_free", "inversion", "random_noise", "flowdirector_v1", "inversion mode.solver=heun"]
    metrics = ("psnr", "ssim", "lpips_bundled", "warp_error", "warp_ssim", "temporal_flicker", "peak_memory_mib")
    rows = [Row("c", "e", "", name, m, 1004.0 if "mib" in m else 0.5) for name in ["unedited", *names] for m in metrics]
    file = folder / "0.mp4"
    shown = Exhibit("c", "e", "", "a", "b", file, None, dict.fromkeys(names, file), {})
    write_page(Page("five", {}, rows, names, [shown], {}), folder / "five.html")
    browser.get((folder / "five.html").as_uri())
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    rights = browser.execute_script(
        "return [...document.querySelectorAll('#summary th, #edits figure')].map(e => e.getBoundingClientRect().right)"
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert len(rights) == 7 + 7 + 6
    assert max(rights) <= 390


def test_a_table_that_is_wider_than_the_page_says_so(browser, tmp_path):
    metrics = (
        "psnr",
        "ssim",
        "lpips_bundled",
        "background_psnr",
        "background_ssim",
        "warp_error",
        "warp_ssim",
        "clip_t",
        "target_preference",
        "network_evaluations",
        "token_evaluations",
        "seconds",
        "peak_memory_mib",
    )
    names = [f"flowdirector_v{number}" for number in range(14)]
    rows = [Row("clip", "edit", "", method, metric, 0.5) for method in names for metric in metrics]
    write_page(Page("toys", {}, rows, names, [], {}), tmp_path / "index.html")
    size = browser.get_window_size()
    try:
        for width, hidden in ((1300, True), (500, False)):
            browser.set_window_size(width, 900)
            browser.get((tmp_path / "index.html").as_uri())
            assert browser.execute_script("return document.querySelector('.wider').hidden") is hidden
            assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.set_window_size(size["width"], size["height"])


def test_stills_are_pictures_whose_masks_are_shown_on_request(browser, tmp_path):
    for name, level in (("source", 40), ("edit", 90), ("mask", 200)):
        Image.fromarray(np.full((60, 80, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
    source, edit, mask = (tmp_path / f"{name}.png" for name in ("source", "edit", "mask"))
    shown = Exhibit("photo", "edit", "", "a fox", "a panda", source, None, {"one": edit}, {"one": mask})
    write_page(Page("stills", {}, [], ["one"], [shown], {}), tmp_path / "index.html")
    browser.get((tmp_path / "index.html").as_uri())
    seen = (
        "return [...document.querySelectorAll('#edit-1 img')].filter(i => !i.hidden).map(i => [i.alt, i.naturalWidth])"
    )
    # smaller than 160 pixels, they are shown by whole pixels, larger
    assert browser.execute_script(seen) == [["source of photo, edit", 320], ["one of photo, edit", 320]]
    assert browser.execute_script("return document.querySelectorAll('video, .play, .at').length") == 0
    find(browser, ".masks").click()
    assert browser.execute_script(seen) == [["source of photo, edit", 320], ["mask of one on photo", 320]]
    assert find(browser, ".masks").get_attribute("aria-pressed") == "true"
    find(browser, ".masks").click()
    assert browser.execute_script(seen)[1][0] == "one of photo, edit"
    assert browser.get_log("browser") == []
