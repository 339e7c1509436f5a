"""The page in a headless Chromium, against a real server with the pocket model: the whole way of an edit."""

import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack

import httpx
import pytest
import yaml
from browser import browser, webdriver
from conftest import write_clip
from pages import PATIENCE, edited, errors, kept, press, shown, until, write
from studio import Server

from flowedit.config.folder import example

pytestmark = pytest.mark.slow

pytest.importorskip("gradio", reason="the app extra brings gradio")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("studio") / "out", "--no-open", command="app")
    try:
        yield made.address, made.out
    finally:
        made.close()
    assert "Traceback" not in made.said(), made.said()


@pytest.fixture(scope="module")
def open_browser(tmp_path_factory):
    with ExitStack() as opened:

        def open_one(width=1300):
            profile = tmp_path_factory.mktemp("profile")
            driver = opened.enter_context(browser(profile, (width, 1000), ("browser", "performance")))
            driver.set_window_size(width, 1000)
            return driver

        yield open_one


@pytest.fixture(scope="module")
def page(server, open_browser):
    driver = open_browser()
    driver.get(server[0])
    shown(driver, "#fe-drop .fe-clip")
    return driver


def asked(driver):
    """(method, address) of every request of the driver's pages since this was last called."""
    told = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    sent = [each["params"]["request"] for each in told if each["method"] == "Network.requestWillBeSent"]
    return {(each["method"], each["url"]) for each in sent if not each["url"].startswith(("data:", "blob:", "chrome"))}


def pixels(driver, css):
    """A canvas as a data URL."""
    return driver.execute_script("return document.querySelector(arguments[0]).toDataURL()", css)


def a_new_page_has_the_fox_and_one_click_edits_it(page, server):
    assert shown(page, "#fe-instruction textarea").get_attribute("value") == "replace the fox with a panda"
    until(lambda: "a panda moves right" in shown(page, "#fe-reads").text, "what the instruction becomes")
    pressed = page.find_elements("css selector", ".fe-chip[aria-pressed=true]")
    assert [chip.text for chip in pressed] == ["fox", "panda"]
    press(page, "#fe-edit button, button#fe-edit")
    shown(page, "#fe-live .fe-progress")
    edited(page)
    assert errors(page) == []


def the_files_are_those_of_the_command_line(page, server, tmp_path):
    job = edited(page)
    made = next(server[1].glob(f"*/{job}"))
    command = [sys.executable, "-m", "flowedit", "edit", str(example("fox").with_suffix(".mp4"))]
    command += ["replace the fox with a panda", "--source", "a fox moves right over green grass"]
    made_by_hand = [*command, "--out", str(tmp_path / "own"), "--quiet"]
    subprocess.run(made_by_hand, check=True, capture_output=True, timeout=PATIENCE)
    for name in ("edit.mp4", "mask.mp4", "mask_plain.mp4", "compare.mp4"):
        assert (made / name).read_bytes() == (tmp_path / "own" / name).read_bytes(), name


def keys_move_the_wipe(page):
    edited(page)
    handle = shown(page, "#fe-player [role=slider]")
    before, picture = float(handle.get_attribute("aria-valuenow")), pixels(page, "#fe-player canvas")
    handle.send_keys(webdriver.Keys.ARROW_LEFT * 5)
    assert float(handle.get_attribute("aria-valuenow")) < before
    until(lambda: pixels(page, "#fe-player canvas") != picture, "another picture")


def the_mask_is_seen_before_the_edit_and_a_slider_and_a_brush_change_it(page, server):
    press(page, "#fe-look")
    shown(page, "#fe-painter canvas")
    until(lambda: "of the clip may change" in shown(page, "#fe-painter").text, "the share of the mask")
    time.sleep(0.5)
    before = pixels(page, "#fe-painter canvas")
    slider = shown(page, ".fe-painter input[aria-label='How much the words choose']")
    page.execute_script(
        "arguments[0].value = 60; arguments[0].dispatchEvent(new Event('input', {bubbles: true}));"
        "arguments[0].dispatchEvent(new Event('change', {bubbles: true}))",
        slider,
    )
    until(lambda: pixels(page, "#fe-painter canvas") != before, "another mask")
    until(lambda: kept(page)["painter"]["adjust"]["quantile"] == pytest.approx(0.4), "the slider's value")
    canvas = shown(page, "#fe-painter canvas")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    chain = webdriver.ActionChains(page)
    chain.move_to_element_with_offset(canvas, -60, -60).click_and_hold().move_by_offset(30, 10).move_by_offset(10, 30)
    chain.release().perform()
    until(lambda: len(kept(page)["painter"]["adjust"]["strokes"]) == 1, "a stroke")
    last = edited(page)
    press(page, "button#fe-edit, #fe-edit button")
    until(lambda: (kept(page).get("player") or {}).get("id") not in (None, last), "the next result")
    the_result_stands_in_sight(page)
    assert not page.find_element("css selector", "#fe-painter canvas").is_displayed(), "the mask is folded"
    run = yaml.safe_load((next(server[1].glob(f"*/{edited(page)}")) / "run.yaml").read_text())
    assert run["settings"]["user_mask"], run["settings"]["mask"]["user"] == ("replace",)
    press(page, "#fe-history .fe-open")
    until(lambda: "settings are on the page" in shown(page, "#fe-said [role=status]").text, "what became of the click")
    the_result_stands_in_sight(page)
    assert errors(page) == []


def the_result_stands_in_sight(page):
    until(lambda: shown(page, "#fe-player [role=status]").text.startswith("Done"), "the word")
    top = "const { top } = document.querySelector('#fe-player canvas').getBoundingClientRect();"
    until(lambda: page.execute_script(f"{top} return top >= 0 && top < 0.3 * innerHeight"), "that it is in sight")


def progress_moves_and_stop_keeps_what_is_there(page):
    last = edited(page)
    page.execute_script("document.querySelector('#fe-all > button').click()")
    until(lambda: page.find_elements("css selector", "[data-key=steps]"), "the options")
    many = "field.value = '400'; field.dispatchEvent(new Event('change'))"  # far from its end when it is stopped
    page.execute_script(f"const field = document.querySelector('[data-key=steps]'); {many}")
    until(lambda: (kept(page).get("options") or {}).get("values") == {"steps": "400"}, "the option")
    press(page, "button#fe-edit, #fe-edit button")
    shown(page, "#fe-live .fe-progress")
    seen = set()
    bar = "return document.querySelector('#fe-live [role=progressbar]')?.getAttribute('aria-valuenow')"
    until(lambda: seen.add(page.execute_script(bar)) or len(seen - {None}) >= 3, "a bar that moves")
    steps = r"Editing[\s\S]*Step (?!1 )\d+ of"  # before the second one there is nothing to keep
    until(lambda: re.search(steps, shown(page, "#fe-live").text), "its steps")
    press(page, "#fe-live .fe-head button")
    until(lambda: (kept(page).get("player") or {}).get("id") not in (None, last), "what was stopped")
    until(lambda: "Stopped" in shown(page, "#fe-player .fe-note").text, "Stopped")
    press(page, ".fe-options .fe-bar .fe-quiet")
    until(lambda: kept(page)["options"]["values"] == {}, "all as usual")


def a_reload_in_the_middle_finds_the_edit_again(page):
    last = edited(page)
    write(page, "#fe-seed input", "7")
    press(page, "#fe-quality input[value=best]")
    press(page, "button#fe-edit, #fe-edit button")
    shown(page, "#fe-live .fe-progress")
    page.refresh()
    until(lambda: (kept(page).get("player") or {}).get("id") not in (None, last), "the result after a reload")
    assert shown(page, "#fe-seed input").get_attribute("value") == "7"
    assert page.find_element("css selector", "#fe-quality input[value=best]").is_selected()
    press(page, "#fe-quality input[value=auto]")
    assert errors(page) == []


def a_result_gives_its_settings_back(page, server):
    made = next(server[1].glob(f"*/{edited(page)}"))
    write(page, "#fe-seed input", "3")
    chooser = page.find_element("css selector", "#fe-history input[type=file]")
    chooser.send_keys(str(made / "edit.mp4"))
    until(lambda: shown(page, "#fe-seed input").get_attribute("value") == "7", "the seed of the dropped edit")


def nothing_is_deleted_without_a_question(page):
    cards = page.find_elements("css selector", "#fe-history .fe-cards > li")
    press(page, "#fe-history .fe-cards button[aria-label^=Delete]")
    dialog = shown(page, "dialog")
    assert len(page.find_elements("css selector", "#fe-history .fe-cards > li")) == len(cards)
    dialog.find_elements("css selector", "button")[-1].click()
    count = "#fe-history .fe-cards > li"
    until(lambda: len(page.find_elements("css selector", count)) == len(cards) - 1, "one card less")
    time.sleep(0.5)
    assert page.find_elements("css selector", "#fe-said [role=alert]") == [], "it was asked for once"


def a_mistake_is_one_line_beside_the_button(page):
    write(page, "#fe-instruction textarea", "replace the hippopotamus with a panda")
    press(page, "button#fe-edit, #fe-edit button")
    until(lambda: "hippopotamus" in shown(page, "#fe-said [role=alert]").text, "hippopotamus")
    write(page, "#fe-instruction textarea", "<img src=x onerror=alert(1)> replace the fox with a cat")
    press(page, "button#fe-edit, #fe-edit button")
    time.sleep(0.5)
    assert page.find_elements("css selector", "img[src=x]") == []
    write(page, "#fe-instruction textarea", "replace the fox with a panda")


def several_seeds_stand_side_by_side_and_one_is_gone_on_from(page):
    page.execute_script("document.querySelector('#fe-several-ask > button').click()")
    write(page, "#fe-seeds input, #fe-seeds textarea", "11, 12")
    press(page, "#fe-several-go")
    until(lambda: len(page.find_elements("css selector", "#fe-several canvas")) == 2, "both edits", 2 * PATIENCE)
    press(page, "#fe-several figure:last-of-type figcaption button")
    until(lambda: shown(page, "#fe-seed input").get_attribute("value") == "12", "the seed of the second")
    press(page, "#fe-several .fe-several > .fe-quiet")
    until(lambda: not page.find_elements("css selector", "#fe-several canvas"), "that they are put away")


def words_that_are_all_off_say_nothing_of_where(page):
    for _ in range(2):
        press(page, ".fe-chip[aria-pressed=true]")
    press(page, "#fe-edit")
    until(lambda: "No word is on" in shown(page, "#fe-said [role=alert]").text, "what is missing")


def another_clip_leaves_the_sentence_and_the_result_of_the_fox_behind(page, tmp_path):
    edited(page)
    clip = write_clip(tmp_path / "my <b>own.mp4", 6, sound=False)
    page.find_element("css selector", "#fe-drop input[type=file]").send_keys(str(clip))
    until(lambda: "my <b>own.mp4" in shown(page, "#fe-drop .fe-name").text, "its name, as text")
    until(lambda: shown(page, "#fe-source textarea").get_attribute("value") == "", "an empty sentence")
    until(lambda: not page.find_elements("css selector", "#fe-player canvas"), "that the fox's result is put away")
    press(page, "#fe-history .fe-open")  # it is among the edits still, and brings its clip back
    until(lambda: "fox.mp4" in shown(page, "#fe-drop .fe-name").text, "the fox")
    time.sleep(1)
    the_result_stands_in_sight(page)
    page.find_element("css selector", "#fe-drop input[type=file]").send_keys(str(clip))
    until(lambda: not page.find_elements("css selector", "#fe-player canvas"), "that it is put away once more")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(1000))
    page.find_element("css selector", "#fe-drop input[type=file]").send_keys(str(broken))
    until(lambda: "not" in shown(page, "#fe-drop .fe-error").text, "not")
    assert all("422" in message for message in errors(page))


def no_request_leaves_and_gradio_hears_what_the_page_needs_alone(page, server):
    """The last of `page`'s tests: the log is of all that they did."""
    sent = asked(page)
    assert ("GET", f"{server[0]}/") in sent
    assert [each for each in sent if not each[1].startswith(f"{server[0]}/")] == []
    doors = {(method, url.partition("?")[0]) for method, url in sent if "/gradio_api" in url}
    assert doors == {("POST", f"{server[0]}/gradio_api/run/predict")}
    tried = """
        const done = arguments[arguments.length - 1];
        document.addEventListener("securitypolicyviolation", (held) => done(held.effectiveDirective), { once: true });
        fetch("http://localhost:" + location.port + "/docs", { mode: "no-cors" }).catch(() => null);"""
    assert page.execute_async_script(tried) == "connect-src"
    errors(page)  # which tell of it


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/gradio_api/{name}") for name in ("info", "openapi.json", "file=x", "file=/etc/passwd", "runs")),
        *(("GET", f"/gradio_api/{name}") for name in ("upload_progress", "queue/data", "heartbeat/x")),
        *(("POST", f"/gradio_api/{name}") for name in ("upload", "upload/", "queue/join", "api/predict", "call/x")),
        *(("POST", f"/gradio_api/{name}") for name in ("run/other", "reset", "cancel", "vibe-edit", "stream/x")),
        *(("GET", path) for path in ("/monitoring", "/logout", "/gradio_api%2finfo", "/gradio_api")),
    ],
)
def test_gradios_other_doors_are_shut(server, method, path):
    answer = httpx.request(method, server[0] + path, files={"files": b"x"} if method == "POST" else None)
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("nothing is at /")


def another_person_sees_neither_clips_nor_edits(server, page, open_browser):
    other = open_browser(390)
    other.get(server[0])
    shown(other, "#fe-drop .fe-clip")
    assert other.find_elements("css selector", "#fe-history .fe-cards > li") == []
    assert page.find_elements("css selector", "#fe-history .fe-cards > li") != []
    wide = other.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    beyond = """
        return [...document.querySelectorAll('button, input, select, a')]
          .filter((each) => each.offsetParent && each.type !== 'file')
          .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
          .map((each) => each.outerHTML)"""
    assert other.execute_script(beyond) == []
    assert errors(other) == []


def test_the_whole_way_of_an_edit(page, server, open_browser, tmp_path):
    """One test, as each step goes on from the page that the one before left: two workers would part them."""
    a_new_page_has_the_fox_and_one_click_edits_it(page, server)
    the_files_are_those_of_the_command_line(page, server, tmp_path)
    keys_move_the_wipe(page)
    the_mask_is_seen_before_the_edit_and_a_slider_and_a_brush_change_it(page, server)
    progress_moves_and_stop_keeps_what_is_there(page)
    a_reload_in_the_middle_finds_the_edit_again(page)
    a_result_gives_its_settings_back(page, server)
    nothing_is_deleted_without_a_question(page)
    a_mistake_is_one_line_beside_the_button(page)
    several_seeds_stand_side_by_side_and_one_is_gone_on_from(page)
    words_that_are_all_off_say_nothing_of_where(page)
    another_clip_leaves_the_sentence_and_the_result_of_the_fox_behind(page, tmp_path)
    no_request_leaves_and_gradio_hears_what_the_page_needs_alone(page, server)
    another_person_sees_neither_clips_nor_edits(server, page, open_browser)
