"""What the parts of the page draw, in a headless Chromium: players, the painter, edits side by side."""

import base64
import json
import threading

import cv2
import numpy as np
import pytest
from parts_page import CLIP, FRAMES, PLAYER, TIMES, WIDTH, ActionChains, WebDriverWait, fresh, opened
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("parts")) as page:
        yield page


@pytest.fixture
def page(chromium):
    with fresh(chromium):
        yield chromium


@pytest.fixture
def studio(page):
    return page.studio


# ---- the player


@pytest.fixture
def player(page):
    page.mount("player", "mountPlayer", PLAYER)
    page.until("document.querySelector('.fe-where').textContent === '1 / 24'")
    return page


def level(page, share):
    """The grey of the picture at a share of its width."""
    return page.run(f"return at({int(share * (WIDTH - 1))}, 30)[0]")


def test_the_first_frame_is_seen_while_the_video_is_still_made(page, studio):
    made = threading.Event()
    studio.routes[("GET", "/api/player.mp4")] = lambda match, body: (404, {"error": str(made.wait(5))})
    player = {**PLAYER, "url": "/api/player.mp4", "first": "/media/p.png"}
    page.mount("player", "mountPlayer", player)
    page.until("at(10, 30)[0] === 90 && at(90, 30)[0] === 90")
    page.mount("grid", "mountGrid", [{"label": "one", "player": player}])
    page.until("at(10, 30)[0] === 90")
    made.set()


def test_a_wipe_follows_the_mouse_a_finger_and_the_keys(player):
    before, after = pytest.approx(20, abs=2), pytest.approx(236, abs=2)
    assert (level(player, 0.4), level(player, 0.6)) == (before, after)
    player.drag(player.find(".fe-stage"), (0.5, 0.3), (0.8, 0.4))
    assert (level(player, 0.75), level(player, 0.85)) == (before, after)
    handle = player.find(".fe-wipe")
    assert handle.get_attribute("aria-valuenow") == "80"
    assert handle.get_attribute("aria-valuetext") == "80 % before, 20 % after"
    player.touch(player.find(".fe-stage"), (0.7, 0.5), (0.4, 0.5), (0.2, 0.5))
    assert (level(player, 0.15), level(player, 0.25)) == (before, after)
    handle.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert handle.get_attribute("aria-valuenow") == "22"
    handle.send_keys(Keys.END)
    assert (level(player, 0.0), level(player, 1.0)) == (before, before)
    handle.send_keys(Keys.HOME)
    assert (level(player, 0.0), level(player, 1.0)) == (after, after)


def test_a_still_has_a_wipe_and_no_time(page):
    page.mount("player", "mountPlayer", {**PLAYER, "frames": 1})
    page.until("document.querySelector('.fe-wipe')")
    assert page.run("return document.querySelectorAll('.fe-scrub, .fe-where, [aria-label^=Play]').length") == 0
    left, right = int(0.4 * (WIDTH - 1)), int(0.6 * (WIDTH - 1))
    page.until(f"Math.abs(at({left}, 30)[0] - 20) < 3 && Math.abs(at({right}, 30)[0] - 236) < 3")
    page.find(".fe-wipe").send_keys(Keys.HOME)
    page.until(f"Math.abs(at({left}, 30)[0] - 236) < 3")


def test_every_frame_is_met_and_both_sides_are_in_step(player):
    order = [*range(FRAMES), *reversed(range(FRAMES)), 3, 17, 0, 23, 11]
    drawn = "for (let k = 0; k < 100 && Math.abs(before() - n) > 0.3; k++) await rest(20)"  # a loaded machine is late
    look = f"await part.reel.at(n); {drawn}; seen.push([before(), after()])"
    seen = player.asynchronous(f"const seen = []; for (const n of {order}) {{ {look} }} return seen")
    seen = np.array(seen)
    assert np.abs(seen - np.array(order)[:, None]).max() < 0.3
    player.find(".fe-wipe").click()
    for keys, frame in [("....", 15), (",", 14), (",", 13)]:
        player.press(*keys)
        player.until(f"document.querySelector('.fe-where').textContent === '{frame + 1} / {FRAMES}'")
        player.until(f"Math.abs(before() - {frame}) < 0.3 && Math.abs(after() - {frame}) < 0.3")
    player.set_range("Frame of before and after", 20)
    player.until(f"document.querySelector('.fe-where').textContent === '21 / {FRAMES}'")
    player.until("Math.abs(before() - 20) < 0.3 && Math.abs(after() - 20) < 0.3")


def test_every_frame_of_an_uneven_clip_is_met(page):
    page.mount("player", "mountPlayer", {**PLAYER, "url": "/media/uneven.mp4", "times": TIMES})
    page.until("document.querySelector('.fe-where').textContent === '1 / 24'")
    drawn = "for (let k = 0; k < 100 && Math.abs(before() - n) > 0.3; k++) await rest(20)"
    look = f"await part.reel.at(n); {drawn}; seen.push([before(), after()])"
    order = [0, 4, 5, 6, 7, 20, 23, 6, 5]
    seen = np.array(page.asynchronous(f"const seen = []; for (const n of {order}) {{ {look} }} return seen"))
    assert np.abs(seen - np.array(order)[:, None]).max() < 0.3
    words = page.run("return document.querySelector('.fe-scrub').getAttribute('aria-valuetext')")
    assert words == f"frame 6 of {FRAMES}, 0.4 seconds"
    watch = """const seen = [], from = performance.now();
    while (performance.now() - from < 1500) {
      await new Promise(requestAnimationFrame);
      seen.push([before(), Number(document.querySelector('.fe-scrub').value)]);
    }
    return seen;"""
    page.find(".fe-wipe").click()
    page.press(" ")
    seen = np.array(page.asynchronous(watch))
    assert np.abs(seen[:, 0] - seen[:, 1]).max() < 1.3  # what is drawn is what is told, but for one that is on its way
    assert len(set(seen[:, 1])) > 5


def test_it_plays_in_step_and_again_and_again_until_told_otherwise(player):
    watch = """const seen = [], from = performance.now();
    while (performance.now() - from < 2600) {
      await new Promise(requestAnimationFrame);
      seen.push([before(), after()]);
    }
    return seen;"""
    player.press(" ")  # not its own: the focus is elsewhere
    assert player.run("return !part.reel.playing")
    player.find(".fe-wipe").click()
    player.press(" ")
    seen = np.array(player.asynchronous(watch))
    assert np.abs(seen[:, 0] - seen[:, 1]).max() < 0.3
    assert len(set(np.rint(seen[:, 0]))) > FRAMES / 2
    assert (np.diff(seen[:, 0]) < -FRAMES / 2).any()  # it began again
    player.press(" ")
    player.until("document.querySelector('[aria-label^=Play]')")
    at = player.run("return document.querySelector('.fe-where').textContent")
    player.asynchronous("await rest(150)")
    assert player.run("return document.querySelector('.fe-where').textContent") == at
    assert player.run("return before()") == pytest.approx(int(at.split()[0]) - 1, abs=0.3)
    player.press("l")
    player.set_range("Frame of before and after", FRAMES - 4)
    player.press(" ")
    player.until("document.querySelector('.fe-where').textContent === '24 / 24' && !part.reel.playing")
    assert player.run("return before()") == pytest.approx(FRAMES - 1, abs=0.3)


def test_a_mask_is_a_tint_that_comes_and_goes(player):
    player.named("Show what is edited in before and after").click()
    red, green, _ = player.run("return at(8, 30)")
    assert red > 90
    assert green < 60
    assert player.run("return at(44, 30)") == pytest.approx([20] * 3, abs=2)
    player.press("m")
    assert player.run("return at(8, 30)") == pytest.approx([20] * 3, abs=2)


def test_sound_is_off_until_asked_for_and_only_where_there_is_some(player):
    assert player.run("return part.reel.video.muted")
    player.named("Sound of before and after on").click()
    assert not player.run("return part.reel.video.muted")
    player.mount("player", "mountPlayer", {**PLAYER, "has_audio": False, "tiles": ["source", "edit", "x"]})
    names = '[aria-label^="Sound"], [aria-label="Show what is edited"]'
    assert player.driver.find_elements("css selector", names) == []


def test_the_full_screen_holds_picture_and_controls_and_nothing_stays_after_it(player):
    player.press(Keys.TAB)
    player.named("Full screen of before and after").click()
    player.until("document.fullscreenElement?.classList.contains('fe-player')")
    bottom = player.run("return document.querySelector('.fe-bar').getBoundingClientRect().bottom - innerHeight")
    assert bottom == pytest.approx(0, abs=1)
    player.press("f")
    player.until("!document.fullscreenElement")
    player.run("part.destroy()")
    assert player.run("return [...document.querySelectorAll('#here *, video')].length") == 0


# ---- the painter


def strip(level):
    """All frames' masks: white left of the middle, by a level; and black elsewhere."""
    picture = np.zeros((FRAMES * 20, 30), np.uint8)
    picture[:, :15] = level
    return "data:image/png;base64," + base64.b64encode(bytes(cv2.imencode(".png", picture)[1])).decode()


MASK = "/api/looks/l1/mask"


@pytest.fixture
def painter(page, studio):
    answer = {"strip": strip(255), "frames": FRAMES, "width": 30, "height": 20, "share": 0.5, "quantile": 0.7,
              "grow": 0.0}  # fmt: skip
    studio.routes[("POST", MASK)] = lambda match, body: (200, answer)
    page.mount("painter", "mountPainter", {"clip": CLIP, "look": "l1", "onchange": "TELL"})
    page.until("document.querySelector('.fe-painter').textContent.includes('50 % of the clip may change in all')")
    return page


def asked(page, studio, count):
    """The questions about the mask, once there are so many."""
    WebDriverWait(page.driver, 5, 0.02).until(lambda _: len(studio.bodies("POST", MASK)) >= count)
    return studio.bodies("POST", MASK)


def test_the_mask_lies_on_the_frame_and_its_sliders_show_what_the_settings_have(painter):
    painter.until("at(10, 30)[0] > 100")
    assert painter.run("return at(80, 30)") == pytest.approx([20] * 3, abs=2)
    assert painter.named("How much the words choose").get_attribute("value") == "30"
    painter.named("One frame on in the mask").click()
    painter.until("Math.abs(at(80, 30)[0] - 28) < 3")


def test_strokes_and_boxes_are_asked_for_in_shares_of_the_frame(painter, studio):
    canvas = painter.find("canvas")
    painter.set_range("Frame of the mask", 7)
    painter.drag(canvas, (0.25, 0.5), (0.5, 0.5), (0.5, 0.75))
    (stroke,) = asked(painter, studio, 2)[1]["strokes"]
    assert (stroke["frame"], stroke["erase"], stroke["radius"]) == (7, False, 0.04)
    assert stroke["points"][0] == pytest.approx([0.25, 0.5], abs=0.01)
    assert stroke["points"][-1] == pytest.approx([0.5, 0.75], abs=0.01)
    painter.button("Erase").click()
    painter.set_range("Size of the brush", 10)
    painter.touch(canvas, (0.6, 0.2), (0.8, 0.4))
    _, erased = asked(painter, studio, 3)[2]["strokes"]
    assert (erased["erase"], erased["radius"]) == (True, 0.1)
    assert erased["points"][-1] == pytest.approx([0.8, 0.4], abs=0.01)
    painter.button("Box").click()
    painter.drag(canvas, (0.9, 0.8), (0.7, 0.6))
    (box,) = asked(painter, studio, 4)[3]["boxes"]
    assert box == pytest.approx({"frame": 7, "x": 0.7, "y": 0.6, "width": 0.2, "height": 0.2}, abs=0.01)
    assert painter.told()[-1][0]["boxes"] == [box]
    painter.button("Undo").click()
    last = asked(painter, studio, 5)[4]
    assert (len(last["strokes"]), last["boxes"]) == (2, [])
    painter.button("Clear the paint").click()
    assert asked(painter, studio, 6)[5]["strokes"] == []
    ActionChains(painter.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    assert len(asked(painter, studio, 7)[6]["strokes"]) == 2


def test_a_still_picture_is_painted_on_too(page, studio):
    answer = {"strip": strip(255), "frames": 1, "width": 30, "height": 480, "share": 0.5, "quantile": 0.7, "grow": 0}
    studio.routes[("POST", MASK)] = lambda match, body: (200, answer)
    still = {**CLIP, "still": True, "frames": 1, "video": None}
    page.mount("painter", "mountPainter", {"clip": still, "look": "l1", "adjust": {"quantile": 0.4, "grow": 0.05}})
    page.until("at(10, 30)[0] > 120 && Math.abs(at(80, 30)[0] - 90) < 3")
    assert page.named("How much the words choose").get_attribute("value") == "60"
    assert page.named("How much wider").get_attribute("value") == "5"


def test_keys_paint(painter, studio):
    painter.run("document.querySelector('canvas').focus()")
    painter.press("b", ".", "]", Keys.ARROW_RIGHT)
    chain = ActionChains(painter.driver).key_down(" ")
    chain.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN).key_up(" ").perform()
    (stroke,) = asked(painter, studio, 2)[1]["strokes"]
    assert stroke["points"] == pytest.approx(np.array([[0.52, 0.5], [0.52, 0.52], [0.52, 0.54]]))
    assert (stroke["frame"], stroke["radius"]) == (1, 0.05)


def test_a_slider_asks_when_it_rests_and_the_last_answer_counts(painter, studio):
    slow = threading.Event()

    def answer(match, body):
        quantile = json.loads(body)["quantile"]
        if quantile == 0.5:
            slow.wait(3)
        return 200, {"strip": strip(255), "frames": FRAMES, "width": 30, "height": 20, "share": 1 - quantile,
                     "quantile": quantile, "grow": 0.0}  # fmt: skip

    studio.routes[("POST", MASK)] = answer
    script = "for (let n = 31; n <= 50; n++) { arguments[0].value = n; arguments[0].dispatchEvent(new Event('input')) }"
    painter.run(script, painter.named("How much the words choose"))
    assert [body["quantile"] for body in asked(painter, studio, 2)[1:]] == [0.5]
    painter.set_range("How much the words choose", 10)
    painter.until("document.querySelector('.fe-painter [role=status]').textContent.startsWith('10 %')")
    slow.set()
    painter.asynchronous("await rest(150)")
    assert painter.find(".fe-painter [role=status]").text.startswith("10 %")
    assert painter.told()[-1][0]["quantile"] == 0.9
    painter.set_range("How much wider", 12)
    assert asked(painter, studio, 4)[3] == {"quantile": 0.9, "grow": 0.12, "strokes": [], "boxes": []}
    studio.routes[("POST", MASK)] = lambda match, body: (400, {"error": "a <b>mask</b> needs words"})
    painter.set_range("How much wider", 13)
    painter.until("!document.querySelector('.fe-error').hidden")
    assert painter.find(".fe-error").text == "A <b>mask</b> needs words"


# ---- edits side by side


def test_a_grid_keeps_step_and_one_is_gone_on_from(page):
    items = [{"label": f"seed {n} <b>", "player": dict(PLAYER), "job": n} for n in range(3)]
    page.mount("grid", "mountGrid", items, {"onchoose": "TELL"})
    watch = """const all = [...document.querySelectorAll('canvas')], seen = [], from = performance.now();
    while (performance.now() - from < 1500) {
      await new Promise(requestAnimationFrame);
      seen.push(all.map(after));
    }
    return seen;"""
    shown = "[...document.querySelectorAll('canvas')].map(after)"
    page.until(f"{shown}.every((n) => Math.abs(n) < 0.4)")
    page.set_range("Frame of all", 3)
    page.until(f"{shown}.every((n) => Math.abs(n - 3) < 0.4)")
    page.named("Play all").click()
    seen = np.array(page.asynchronous(watch))
    assert np.ptp(seen, axis=1).max() < 1.5
    assert np.rint(seen[-1]).min() > 8
    page.named("Pause all").click()
    page.set_range("Frame of all", 0)
    page.named("Play all").click()
    page.until("[...document.querySelectorAll('video')].every((each) => each.currentTime > 0.05 && !each.paused)")
    page.run("document.querySelectorAll('video')[1].currentTime += 0.3")  # one runs ahead, and is held back
    seen = np.ptp(np.array(page.asynchronous(watch.replace("1500", "1400"))), axis=1)
    assert seen[: len(seen) // 3].max() > 2
    assert seen[-5:].max() < 1.5
    page.named("Pause all").click()
    page.until(f"new Set({shown}.map(Math.round)).size === 1")
    page.press("b")
    page.until("document.querySelector('[title^=Before]').ariaPressed === 'true'")
    at = "parseInt(document.querySelector('.fe-where').textContent) - 1"
    page.until(f"[...document.querySelectorAll('canvas')].map(before).every((n) => Math.abs(n - ({at})) < 0.4)")
    page.driver.find_elements("css selector", "figcaption button")[1].click()
    assert [each["job"] for (each,) in page.told()] == [1]
    assert "seed 1 <b>" in page.text()
