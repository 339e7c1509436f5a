"""What the parts of the page ask and say, in a headless Chromium: jobs, clips that come in, the history, the models."""

import itertools
import json
import time
from urllib.parse import parse_qsl

import pytest
from parts_page import CLIP, PLAYER, fresh, opened
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


# ---- a job as it runs


def status(state, **more):
    return {"id": "j1", "state": state, "place": 0, "phase": "edit", "done": 0, "total": 8, "fraction": 0.0,
            "seconds": 3.0, "seconds_left": None, "notices": [], "message": None, "preview": None} | more  # fmt: skip


@pytest.fixture
def job(page, studio):
    """What the server says of the job; change it, and the page follows."""
    now = status("queued", place=2)
    studio.routes[("GET", "/api/jobs/j1")] = lambda match, body: (200, now)
    studio.routes[("POST", "/api/jobs/j1/stop")] = lambda match, body: (200, now.update(state="stopping") or {})
    page.mount("live", "mountLive", {"job": "j1", "onend": "TELL"})
    yield now
    page.run("part.destroy()")
    count = len(studio.asked)
    page.asynchronous("await rest(500)")
    assert len(studio.asked) == count


def test_a_job_moves_from_the_queue_to_its_end(page, studio, job):
    page.until("here.textContent.includes('2 edits before yours')")
    job |= status("running", done=2, fraction=0.25, seconds_left=41.0, preview="/media/p.png", notices=["<i>one</i>"])
    page.until("here.textContent.includes('Step 3 of 8') && here.textContent.includes('about 40 s left')")
    assert page.named("Progress of the whole edit").get_attribute("aria-valuenow") == "25"
    page.until("document.querySelector('.fe-preview img').naturalWidth === 96")
    assert page.find(".fe-notices").text == "<i>one</i>"
    job |= {"done": 5, "fraction": 0.6}
    page.until("document.querySelector('[role=progressbar]').ariaValueNow === '60'")
    assert page.find("[role=status]").get_attribute("textContent") == "Editing, 50 % done"
    page.button("Stop").click()
    page.until("here.textContent.includes('Stopping after this step')")
    assert ("POST", "/api/jobs/j1/stop", b"") in studio.asked
    job |= {"state": "stopped", "files": {"edit.mp4": "/x"}}
    page.until("window.ended.length")
    assert [each["state"] for (each,) in page.told()] == ["stopped"]
    assert "What was done so far is kept." in page.text()
    assert not page.driver.find_elements("xpath", "//button[not(@hidden)]")


def test_it_waits_for_a_server_that_is_away(page, studio, job):
    job |= status("running", fraction=0.5, done=4)
    page.until("here.textContent.includes('Step 5 of 8')")
    studio.away = True
    page.until("here.textContent.includes('Waiting for the server')")
    assert page.told() == []
    studio.away = False
    page.until("here.textContent.includes('Step 5 of 8')")
    job |= status("failed", message="no <b>memory</b> is left: take a smaller size")
    page.until("window.ended.length")
    assert page.find(".fe-error").text == "No <b>memory</b> is left: take a smaller size"


def test_what_left_nothing_can_be_closed_and_is_deleted(page, studio):
    left = status("failed", message="no memory", files={})
    studio.routes[("GET", "/api/jobs/j2")] = lambda match, body: (200, left)
    studio.routes[("DELETE", "/api/jobs/j2")] = lambda match, body: (409, {"error": "an edit still needs it"})
    page.mount("live", "mountLive", {"job": "j2", "onclose": "TELL"})
    page.until("here.textContent.includes('No memory')")
    page.button("Close").click()
    page.until("here.textContent.includes('An edit still needs it')")
    assert page.told() == []
    studio.routes[("DELETE", "/api/jobs/j2")] = lambda match, body: (200, {})
    page.button("Close").click()
    page.until("window.ended.length")
    left |= {"state": "stopped", "files": {"edit.mp4": "/x"}}  # which is shown elsewhere
    page.mount("live", "mountLive", {"job": "j2"})
    page.until("here.textContent.includes('Stopped')")
    assert not page.find(".fe-head .fe-button:last-child").is_displayed()


def test_a_job_that_was_deleted_is_over(page):
    page.mount("live", "mountLive", {"job": "gone", "onend": "TELL"})
    page.until("window.ended.length")
    assert page.told()[0][0] == {"id": "gone", "state": "gone", "message": "This edit is no longer here."}


# ---- a clip comes in


@pytest.fixture
def drop(page):
    page.mount("drop", "mountDrop", {"onclip": "TELL"})
    return page


def give(page, path):
    page.find("input[type=file]").send_keys(str(path))


def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(drop, studio, tmp_path):
    big = tmp_path / "a <b>big clip.mp4"
    big.write_bytes(bytes(24 << 20))
    studio.pause = 0.01
    give(drop, big)
    drop.until("Number(document.querySelector('[role=progressbar]')?.ariaValueNow) > 5")
    assert drop.find(".fe-name").text == big.name
    assert "of 25 MB" in drop.text()
    drop.button("Cancel").click()
    drop.until("document.querySelector('.fe-zone')")
    assert drop.told() == []
    assert not drop.find(".fe-error").is_displayed()


def test_what_is_no_clip_is_said_in_one_line(drop, studio, tmp_path):
    studio.routes[("POST", "/api/clips")] = lambda match, body: (400, {"error": "<i>x</i>.txt is no video"})
    (tmp_path / "x.txt").write_text("text")
    give(drop, tmp_path / "x.txt")
    drop.until("!document.querySelector('.fe-error').hidden")
    assert drop.find(".fe-error").text == "<i>x</i>.txt is no video"
    studio.away = True
    give(drop, tmp_path / "x.txt")
    drop.until("document.querySelector('.fe-error').textContent.includes('is it still running?')")


@pytest.mark.parametrize("how", ["refused", "away", "cancelled"])
def test_a_file_that_cannot_be_taken_leaves_the_clip_that_stood_there(page, studio, tmp_path, how):
    page.mount("drop", "mountDrop", {"clip": CLIP, "start": 6, "frames": 8, "onclip": "TELL"})
    (tmp_path / "My new.MP4").write_bytes(bytes(8 << 20))
    studio.routes[("POST", "/api/clips")] = lambda match, body: (422, {"error": "My new.MP4 is not a video"})
    studio.away, studio.pause = how == "away", 0.02 if how == "cancelled" else 0.0
    give(page, tmp_path / "My new.MP4")
    if how == "cancelled":
        page.until("Number(document.querySelector('[role=progressbar]')?.ariaValueNow) > 5")
        assert page.driver.find_elements("css selector", ".fe-clip") == [], "the new one is on its way"
        page.button("Cancel").click()
    page.until("document.querySelector('.fe-clip .fe-name')?.textContent === 'fox.mp4'")
    said = page.find(".fe-error").text
    assert said == "" if how == "cancelled" else said.endswith(". fox.mp4 stays")
    assert said.startswith({"refused": "My new.MP4 is not a video"}.get(how, ""))
    assert page.find(".fe-part").text == "From 0.50 s to 1.17 s: 0.67 s, 8 frames"
    assert page.told() == [], "the page hears of no change"


def test_an_edit_made_here_is_asked_about(page, studio, tmp_path):
    page.mount("drop", "mountDrop", {"clip": CLIP, "start": 6, "frames": 8, "onclip": "TELL", "onsettings": "TELL"})
    made = CLIP | {"id": "c2", "name": "edit.mp4", "made_here": True}
    studio.routes[("POST", "/api/clips")] = lambda match, body: (201, made)
    studio.routes[("POST", "/api/settings")] = lambda match, body: (200, FILE)
    studio.routes[("DELETE", "/api/clips/c2")] = lambda match, body: (200, {})
    (tmp_path / "edit.mp4").write_bytes(b"an edit")
    give(page, tmp_path / "edit.mp4")
    page.until("here.textContent.includes('edit.mp4 is an edit made here. What do you want of it?')")
    assert page.told() == [], "nothing has changed yet"
    page.button("Take its settings").click()
    page.until("window.ended.length")
    assert page.told() == [[FILE | {"name": "edit.mp4"}]]
    assert b"an edit" in next(body for _, path, body in studio.asked if path == "/api/settings")
    assert page.find(".fe-part").text == "From 0.50 s to 1.17 s: 0.67 s, 8 frames", "the clip stays"
    page.until("true")
    give(page, tmp_path / "edit.mp4")
    page.until("document.querySelector('.fe-made')")
    page.button("Use it as the clip").click()
    assert page.told()[1:] == [[made, {"start": 0, "frames": None}]]
    assert page.find(".fe-name").text == "edit.mp4"
    assert [(verb, path) for verb, path, _ in studio.asked if verb == "DELETE"] == [("DELETE", "/api/clips/c2")]


def test_a_mask_that_cannot_be_taken_leaves_the_one_that_was_there(page, studio, tmp_path):
    page.mount("maskfile", "mountMaskFile", {"file": {"id": "m1", "name": "old.png"}, "onfile": "TELL"})
    studio.routes[("POST", "/api/clips")] = lambda match, body: (422, {"error": "new mask.png is no image"})
    (tmp_path / "new mask.png").write_bytes(b"x")
    give(page, tmp_path / "new mask.png")
    page.until("!document.querySelector('.fe-error').hidden")
    assert page.find(".fe-error").text == "new mask.png is no image. old.png stays"
    assert page.find(".fe-name").text == "Mask: old.png"
    assert page.told() == []
    studio.routes[("POST", "/api/clips")] = lambda match, body: (201, CLIP | {"name": "new mask.png"})
    give(page, tmp_path / "new mask.png")
    page.until("window.ended.length")
    assert page.told() == [[{"id": "c1", "name": "new mask.png"}]]


def test_a_line_begins_as_a_sentence_and_names_keep_their_letters(page):
    page.asynchronous("window.parts = await import('/static/parts/parts.js')")
    for text, told in {
        "the file is too large": "The file is too large", "it, too": "It, too", "clip.MP4 is no": "clip.MP4 is no",
        "mask.grow 3 is out of range": "mask.grow 3 is out of range", "--host x": "--host x", "": "",
        "target_words: none": "target_words: none", "wan2.1 is away": "wan2.1 is away",
    }.items():  # fmt: skip
        assert page.run("return parts.sentence(arguments[0])", text) == told
    assert page.run("return parts.sentence('my clip.mp4 is no video', 'my clip.mp4')") == "my clip.mp4 is no video"


def test_a_file_that_is_too_large_is_not_sent(page, studio, tmp_path):
    page.mount("drop", "mountDrop", {"limit": 2000})
    (tmp_path / "big.mp4").write_bytes(bytes(4000))
    give(page, tmp_path / "big.mp4")
    page.until("!document.querySelector('.fe-error').hidden")
    assert page.find(".fe-error").text == "This file has 4.0 KB, and at most 2.0 KB are taken"
    assert studio.asked == []


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_clip_is_dropped_or_pasted_and_trimmed(drop, studio, way):
    studio.routes[("POST", "/api/clips")] = lambda match, body: (201, CLIP)
    event = {"drop": "DragEvent('drop', {dataTransfer", "paste": "ClipboardEvent('paste', {clipboardData"}[way]
    drop.run(f"""const data = new DataTransfer();
    data.items.add(new File(['bytes of a clip'], 'fox.mp4', {{type: 'video/mp4'}}));
    document.querySelector('.fe-zone').dispatchEvent(new {event}: data, bubbles: true, cancelable: true}}))""")
    drop.until("window.ended.length")
    assert drop.told() == [[CLIP, {"start": 0, "frames": None}]]
    ((_, _, body),) = studio.asked
    assert b"bytes of a clip" in body
    assert b'name="file"; filename="fox.mp4"' in body
    told = drop.find(".fe-facts").text.split("\n")
    assert told[::2] == ["Size", "Length", "Rate", "Sound", "Scenes"]
    assert told[1::2] == ["96 × 64", "2.0 s, 24 frames", "12 frames a second", "None", "2, each edited by itself"]
    assert drop.find(".fe-part").text == "The whole clip: 2.00 s, 24 frames"
    drop.named("Start of the part").send_keys(Keys.ARROW_RIGHT * 3)
    drop.until("Math.abs(before() - 3) < 0.4")  # the frame that the handle stands on
    drop.named("End of the part").send_keys(Keys.ARROW_LEFT)
    drop.until("Math.abs(before() - 22) < 0.4")
    assert drop.told()[-1] == [CLIP, {"start": 3, "frames": 20}]
    assert drop.find(".fe-part").text == "From 0.25 s to 1.92 s: 1.67 s, 20 frames"
    drop.set_range("Start of the part", 23)  # not beyond the end
    assert drop.told()[-1][1] == {"start": 22, "frames": 1}
    drop.named("Start of the part").send_keys(Keys.HOME)
    drop.drag(drop.find(".fe-trim"), (0.01, 0.5), (0.3, 0.5))  # by its handle
    assert 4 <= drop.told()[-1][1]["start"] <= 9
    drop.button("Remove").click()
    assert drop.told()[-1][0] is None


def test_a_part_plays_by_itself(page):
    page.mount("drop", "mountDrop", {"clip": CLIP, "start": 6, "frames": 8, "onclip": "TELL"})
    page.until("Math.abs(before() - 6) < 0.4")
    page.named("Play this part").click()
    seen = page.asynchronous("""const seen = [], from = performance.now();
    while (performance.now() - from < 1400) { await new Promise(requestAnimationFrame); seen.push(before()); }
    return seen;""")
    assert min(seen) > 5.6
    assert max(seen) < 13.4
    assert any(two < one - 4 for one, two in itertools.pairwise(seen))  # again from its start
    assert page.told() == []  # what the page itself showed is no news to it


def test_a_still_picture_has_no_handles(page):
    still = {**CLIP, "still": True, "frames": 1, "fps": 1, "video": None}
    page.mount("drop", "mountDrop", {"clip": still})
    page.until("document.querySelector('.fe-stage img').naturalWidth === 96")
    assert page.driver.find_elements("css selector", "input[type=range], video") == []
    assert page.find(".fe-facts").text.split("\n") == ["Size", "96 × 64", "Kind", "Still picture"]


# ---- the history

PAST = [
    {"id": "h1", "state": "done", "created": 1e9, "name": "<i>fox</i>", "poster": "/media/p.png",
     "settings": {"instruction": "<img src=x onerror=alert(1)> a panda", "strength": 0.6, "seed": 7,
                  "quality": "fast"}},
    {"id": "h2", "state": "stopped", "created": time.time(), "name": "cup", "poster": None, "settings": None,
     "said": {"source_words": "cup", "target_words": "glass", "mode": "random_noise"}},
    {"id": "h3", "state": "done", "created": 1e9, "name": "dog", "kind": "compare", "said": {},
     "methods": ["random_noise", "inversion"], "settings": {"target": "a cat " * 60}},
]  # fmt: skip


FILE = {"settings": {"seed": 5}, "notices": ["run.yaml was made with a user_mask"]}


@pytest.fixture
def history(page, studio):
    first, second, third = PAST
    now = [first, {**second, "created": time.time()}, third]  # the suite may run over midnight
    studio.routes[("GET", "/api/history")] = lambda match, body: (200, now)
    page.mount("history", "mountHistory", {"onchoose": "TELL", "ondelete": "TELL"})
    page.until("document.querySelectorAll('.fe-past').length === 3")
    return page


def test_cards_say_what_was_asked_for_and_html_is_text(history):
    first, second, third = (
        each.text.replace("\xa0", " ") for each in history.driver.find_elements("css selector", ".fe-about")
    )
    assert first.split("\n")[::2] == ["<img src=x onerror=alert(1)> a panda", "fast quality · strength 60 % · seed 7"]
    assert "<i>fox</i> · 9 September 2001" in first
    assert second.split("\n")[0] == "cup → glass"
    assert "cup · today" in second
    assert "stopped early · method random noise" in second
    assert third.split("\n")[:2] == ["Compared: random noise, inversion", "dog · 9 September 2001"]
    assert len({each.size["height"] for each in history.driver.find_elements("css selector", ".fe-past")}) == 1
    history.find(".fe-open").click()
    assert history.told()[0][0]["id"] == "h1"


def test_the_history_comes_thirty_at_a_time_as_one_scrolls_and_anew_when_the_server_is_back(page, studio):
    every = [{**PAST[0], "id": f"h{number}"} for number in range(70)]

    def part(match, body):
        asked = dict(parse_qsl(body.decode()))
        start = 1 + next((place for place, each in enumerate(every) if each["id"] == asked.get("after")), -1)
        return 200, every[start : start + int(asked["most"])]

    studio.routes[("GET", "/api/history")] = part
    count = "document.querySelectorAll('.fe-past').length"
    page.mount("history", "mountHistory", {})
    page.until(f"{count} === 30")
    page.asynchronous("await rest(200)")
    assert page.run(f"return {count}") == 30
    page.run("window.scrollTo(0, document.body.scrollHeight)")
    page.until(f"{count} === 60")
    page.run("document.querySelector('.fe-history > .fe-button:last-child').click()")
    page.until(f"{count} === 70")
    assert not page.button("Show more").is_displayed()
    assert [body for _, _, body in studio.asked] == [b"most=30", b"most=30&after=h29", b"most=30&after=h59"]
    studio.away = True
    page.run("dispatchEvent(new Event('fe-fresh'))")
    page.asynchronous("await rest(100)")
    assert page.run(f"return {count}") == 70  # what is there stays
    studio.away = False
    every.insert(0, {**PAST[0], "id": "new"})
    page.run("dispatchEvent(new Event('fe-fresh'))")
    page.until("!document.querySelector('.fe-history > .fe-button:last-child').hidden")  # one more than were there
    assert studio.asked[4][2] == b"most=70"


def test_the_page_says_within_a_second_that_the_server_is_away_and_that_it_is_back(page, studio):
    studio.routes[("GET", "/api/limits")] = lambda match, body: (200, {})
    page.run("window.fresh = 0; addEventListener('fe-fresh', () => (window.fresh += 1))")
    page.mount("away", "watchServer")
    page.until("document.querySelector('.fe-gone').hidden")
    studio.away = True
    page.until("!document.querySelector('.fe-gone').hidden")
    assert page.find(".fe-gone").text.startswith("The studio does not answer: is it still running?")
    assert page.run("return window.fresh") == 0
    studio.away = False
    page.until("document.querySelector('.fe-gone').hidden && window.fresh === 1")
    page.run("part.destroy()")
    assert page.driver.find_elements("css selector", ".fe-gone") == []


def test_delete_asks_first(history):
    def ask():
        history.driver.find_elements("css selector", ".fe-past .fe-square")[1].click()
        return history.find("dialog")

    assert "“cup → glass” and its files" in ask().text
    assert history.run("return document.activeElement.textContent") == "Keep it"
    history.button("Keep it").click()
    ask()
    history.press(Keys.ESCAPE)
    history.until("!document.querySelector('dialog')")
    assert history.told() == []
    ask()
    history.button("Delete").click()
    assert history.told() == [["h2"]]


def test_an_earlier_file_gives_its_settings_back(history, studio, tmp_path):
    studio.routes[("POST", "/api/settings")] = lambda match, body: (200, FILE)
    (tmp_path / "run.yaml").write_text("seed: 5")
    give(history, tmp_path / "run.yaml")
    history.until("window.ended.length")
    assert history.told() == [[FILE | {"name": "run.yaml"}]]
    studio.routes[("POST", "/api/settings")] = lambda match, body: (400, {"error": "run.yaml is none of ours"})
    give(history, tmp_path / "run.yaml")
    history.until("document.querySelector('.fe-error').textContent === 'run.yaml is none of ours'")


# ---- the models


def model(name, **more):
    return {"name": name, "downloaded": False, "download": "13.8 GB", "fits": True, "verdict": "fits the GPU",
            "size": [720, 480], "license": "Apache-2.0", "frames": 49, "fetch": None} | more  # fmt: skip


def test_a_model_is_downloaded_by_a_click_alone_and_stopped_and_gone_on_with(page, studio):
    big = model("big", fits=False, verdict="does not fit: 8 of 24 GiB are free")
    models = [model("pocket", downloaded=True, download=None), big, model("other", downloaded=True)]
    studio.routes[("GET", "/api/backbones")] = lambda match, body: (200, models)
    set_off = {"state": "downloading", "done": 4e9, "total": 16e9, "message": ""}
    studio.routes[("POST", "/api/backbones/big/download")] = lambda match, body: (202, big.update(fetch=set_off) or {})
    page.mount("models", "mountModels", models, {"chosen": "pocket", "onchoose": "TELL"})
    page.asynchronous("await rest(100)")
    assert studio.asked == []
    assert "Does not fit: 8 of 24 GiB are free" in page.text()
    assert page.button("Download 13.8 GB").get_attribute("aria-label") == "Download 13.8 GB: big"
    page.button("Download 13.8 GB").click()
    page.until("here.textContent.includes('4.0 GB of 16.0 GB')")
    assert page.named("Download of big").get_attribute("aria-valuenow") == "25"
    set_off["done"] = 8e9
    page.until("here.textContent.includes('8.0 GB of 16.0 GB')")
    stopped = {**set_off, "state": "stopped", "message": "what is there stays"}
    studio.routes[("POST", "/api/backbones/big/stop")] = lambda match, body: (200, big.update(fetch=stopped) or {})
    page.button("Stop the download").click()
    page.until("here.textContent.includes('What is there stays')")
    page.button("Go on with the download").click()
    page.until("here.textContent.includes('Stop the download')")
    big |= {"fetch": None, "downloaded": True}
    page.until("document.querySelectorAll('.fe-main').length === 2")
    page.named("big").find_element("css selector", ".fe-main").click()
    assert page.told() == [["big"]]
    assert page.named("big").text.split("\n")[:2] == ["big", "In use"]


# ---- how all of it looks

EVERY = [
    ("player", "mountPlayer", PLAYER),
    ("painter", "mountPainter", {"clip": CLIP, "look": "l1"}),
    ("live", "mountLive", {"job": "j1"}),
    ("grid", "mountGrid", [{"label": "a" * 60, "player": dict(PLAYER)} for _ in range(4)]),
    ("drop", "mountDrop", {"clip": {**CLIP, "name": "a" * 90}}),
    ("drop", "mountDrop", {}),
    ("history", "mountHistory", {}),
    ("models", "mountModels", [model("a_model_with_a_long_name" * 2, license="a" * 99)]),
]
NAMELESS = """
return [...document.querySelectorAll('#here :is(button, input, canvas, [role=slider], [role=progressbar])')]
  .filter((each) => !each.getAttribute('aria-hidden') && !each.ariaLabel && !each.textContent.trim()).length;
"""


@pytest.mark.parametrize(("file", "name", "given"), EVERY, ids=[f"{each[0]}{n}" for n, each in enumerate(EVERY)])
def test_a_part_fits_a_phone_and_all_in_it_has_a_name(page, studio, file, name, given):
    studio.routes[("GET", "/api/jobs/j1")] = lambda match, body: (200, status("running", notices=["a" * 200]))
    long = {**PAST[0], "settings": {"target": "a" * 200}, "name": "b" * 90}
    studio.routes[("GET", "/api/history")] = lambda match, body: (200, [long, *PAST])
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.mount(file, name, given)
    page.asynchronous("await rest(60)")
    assert page.run("return document.documentElement.scrollWidth") == 360
    right = "Math.max(...[...document.querySelectorAll('#here *')].map((each) => each.getBoundingClientRect().right))"
    assert page.run(f"return {right}") <= 360
    assert page.run(NAMELESS) == 0
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def tokens(page, scheme, dark):
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    names = "['paper','card','sunk','line','edge','ink','soft','accent','accent-ink','wash','bad','bad-wash']"
    return page.run(f"""document.body.classList.toggle('dark', {json.dumps(dark)});
    const style = getComputedStyle(document.body);
    return Object.fromEntries({names}.map((name) => [name, style.getPropertyValue('--fe-' + name).trim()]))""")


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    dim, bright = sorted((luminance(one), luminance(two)))
    return (bright + 0.05) / (dim + 0.05)


def test_colours_have_the_contrast_of_aa_in_light_and_dark(page):
    light, dark, class_ = tokens(page, "light", False), tokens(page, "dark", False), tokens(page, "light", True)
    page.run("document.body.classList.remove('dark')")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert dark == class_
    assert light["paper"] != dark["paper"]
    texts = [(text, ground) for text in ("ink", "soft") for ground in ("paper", "card", "sunk", "wash")]
    texts += [("accent", ground) for ground in ("paper", "card", "wash")]
    texts += [("bad", ground) for ground in ("paper", "card", "bad-wash")]
    for of in (light, dark):
        low = {pair: contrast(of[pair[0]], of[pair[1]]) for pair in [*texts, ("accent-ink", "accent")]}
        assert {pair: value for pair, value in low.items() if value < 4.5} == {}
        assert contrast(of["edge"], of["card"]) >= 3  # the border of a control
        assert contrast(of["edge"], of["paper"]) >= 3
