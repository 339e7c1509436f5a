"""The page for everybody: names, contrast and keys of all that stands on it, any width, and files by every way."""

import json
import re
import time

import pytest
from browser import browser, webdriver
from conftest import write_clip
from pages import edited, errors, kept, press, shown, until, write
from studio import Server

pytestmark = pytest.mark.slow

pytest.importorskip("gradio", reason="the app extra brings gradio")

CONTROLS = {
    "button", "link", "slider", "textbox", "checkbox", "radio", "combobox", "searchbox", "spinbutton", "application",
    "DisclosureTriangle", "progressbar", "listbox", "tab", "switch",
}  # fmt: skip

FOCUSABLE = """
const all = 'a[href], button, input, select, textarea, summary, [tabindex="0"]';
const seeable = (each) => each.checkVisibility({ visibilityProperty: true });
const reachable = [...document.querySelectorAll(all)].filter((each) => seeable(each)
  && each.tabIndex >= 0 && !each.disabled && each.type !== 'file' && !each.closest('[aria-hidden=true], [inert]')
  && !(each.type === 'radio' && !each.checked));
"""

CONTRAST = """
const pencil = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
function read(colour) {
  pencil.clearRect(0, 0, 1, 1);
  pencil.fillStyle = colour;
  pencil.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = pencil.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
const over = ([r, g, b, a], under) => [r, g, b].map((value, i) => a * value + (1 - a) * under[i]);
const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
function ground(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(read(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
}
function opacity(element) {
  let share = 1;
  for (let at = element; at; at = at.parentElement) share *= Number(getComputedStyle(at).opacity);
  return share;
}
function ratio(element, style) {
  const under = ground(element), [r, g, b, a] = read(style.color);
  const [one, two] = [light(over([r, g, b, a * opacity(element)], under)), light(under)].sort((x, y) => y - x);
  return (one + 0.05) / (two + 0.05);
}
const found = [];
for (const each of document.body.querySelectorAll('*')) {
  if (each.disabled || !each.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
  const own = [...each.childNodes].map((node) => (node.nodeType === 3 ? node.data.trim() : '')).join(' ').trim();
  const [of, tag] = [getComputedStyle(each), `${each.tagName.toLowerCase()}.${each.className}: `];
  const field = each.matches('input:not([type=range], [type=radio], [type=checkbox], [type=file]), textarea, select');
  if (own || (field && each.value)) found.push([tag + (own || each.value), ratio(each, of)]);
  const hint = field && each.placeholder;
  if (hint) found.push([`${tag}hint ${hint}`, ratio(each, getComputedStyle(each, '::placeholder'))]);
}
return found;
"""

LINES = """
const wide = [];
for (const each of document.body.querySelectorAll('p, li, dd, label, span, div, td')) {
  const texts = [...each.childNodes].filter((node) => node.nodeType === 3 && node.data.trim().length > 30);
  if (!texts.length || !each.checkVisibility()) continue;
  const range = document.createRange(), size = parseFloat(getComputedStyle(each).fontSize);
  for (const text of texts) {
    range.selectNodeContents(text);
    for (const box of range.getClientRects()) if (box.width > 50 * size) wide.push([text.data.slice(0, 60), box.width]);
  }
}
return wide;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("ways") / "out", "--no-open", "--upload-limit", "2", command="app")
    yield made
    made.close()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def page(driver, server):
    """A page with the fox, as a new tab has it."""
    driver.get(f"{server.address}/docs")
    driver.execute_script("sessionStorage.clear()")
    driver.get(server.address)
    shown(driver, "#fe-drop .fe-clip")
    until(lambda: driver.find_elements("css selector", ".fe-chip"), "the words")
    errors(driver)  # of the page before
    return driver


def test_unknown_words_are_marked_while_one_types_and_a_refusal_goes_with_its_sentence(page):
    def marked():
        return [chip.text for chip in page.find_elements("css selector", ".fe-chip.fe-strange")]

    assert marked() == []
    write(page, "#fe-instruction textarea", "replace the fox with a white lion")
    until(lambda: marked() == ["white", "lion"], "the marks")
    until(
        lambda: "pocket does not know “white”, “lion”." in shown(page, "#fe-reads").text,
        "pocket does not know “white”, “lion”.",
    )
    press(page, "button#fe-edit, #fe-edit button")
    said = until(lambda: shown(page, "#fe-said [role=alert]").text, "the refusal")
    assert said.startswith("pocket does not know 'white', 'lion': it knows fox, panda, ")
    write(page, "#fe-instruction textarea", "replace the fox with a car")
    until(lambda: not page.find_elements("css selector", "#fe-said [role=alert]"), "the refusal is gone")
    until(lambda: marked() == [], "no marks")
    assert errors(page) == []


def opened(page):
    """All that can be opened is, and each part has something in it."""
    press(page, "#fe-edit")
    edited(page)
    press(page, "#fe-look")
    until(lambda: "of the clip may change" in shown(page, "#fe-painter").text, "the mask")
    unfold(page)
    write(page, "#fe-seeds input, #fe-seeds textarea", "11, 12")
    press(page, "#fe-several-go")
    until(lambda: len(page.find_elements("css selector", "#fe-several canvas")) == 2, "both edits")


def unfold(page):
    for name in ("#fe-all", "#fe-several-ask", "#fe-models-card"):
        page.execute_script("document.querySelector(arguments[0] + ' > button').click()", name)
    until(lambda: len(page.find_elements("css selector", ".fe-model")) > 3, "the models")
    until(lambda: page.find_elements("css selector", ".fe-section"), "the options")
    page.execute_script("for (const each of document.querySelectorAll('.fe-section, .fe-more')) each.open = true")


def named(page):
    """(role, name) of every control, as a screen reader has them; a card opens by a button of all its words."""
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    told = [(each.get("role", {}).get("value"), each.get("name", {}).get("value", "").strip()) for each in nodes
            if not each.get("ignored")]  # fmt: skip
    return [each for each in told if each[0] in CONTROLS]


def every_control_has_a_name_of_its_own(page):
    told = named(page)
    assert len(told) > 100
    assert [each for each in told if not each[1]] == []
    names = [name for _, name in told]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    page.find_element("css selector", "#fe-strength input[type=range]").send_keys(webdriver.Keys.ARROW_LEFT * 10)
    until(lambda: kept(page).get("strength") == 0.3, "a strength as it is said")
    html = page.execute_script("return document.body.outerHTML").replace("&quot;", "")
    assert re.findall(r"\d\.\d{6,}", re.sub(r'style="[^"]*"', "", html)) == []


def every_text_stands_out(page):
    said = page.execute_script(CONTRAST)
    assert len(said) > 200
    assert [(text[:100], round(ratio, 2)) for text, ratio in said if ratio < 4.5] == []


def tab_goes_through_all_in_reading_order_and_is_seen(page):
    page.execute_script(
        FOCUSABLE
        + """
        window.wanted = reachable;
        window.seen = [];
        document.activeElement?.blur();
        document.addEventListener('focusin', ({ target }) => {
          const look = getComputedStyle(target.querySelector('.fe-grip') ?? target);
          const outlined = look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 1;
          const thumb = target.matches('.fe-trim input'); // which has the outline
          const visible = thumb || outlined || look.boxShadow !== 'none';
          seen.push([wanted.indexOf(target), visible, target.outerHTML.slice(0, 200)]);
        });
        getSelection().setPosition(document.body, 0);"""
    )
    count = page.execute_script("return wanted.length")
    webdriver.ActionChains(page, duration=0).send_keys(webdriver.Keys.TAB * (count + 40)).perform()
    seen = page.execute_script("return seen")
    seen = seen[
        : 1 + max(index for index, (place, _, _) in enumerate(seen) if place == count - 1)
    ]  # then it begins again
    order = [place for place, _, _ in seen if place >= 0]
    assert order == sorted(order), [html for _, _, html in seen]
    missed = set(range(count)) - set(order)
    assert [page.execute_script("return wanted[arguments[0]].outerHTML.slice(0, 200)", each) for each in missed] == []
    assert [html for _, visible, html in seen if not visible] == []


def test_names_contrast_and_keys_of_all_that_stands_on_the_page(page, server):
    opened(page)
    every_control_has_a_name_of_its_own(page)
    every_text_stands_out(page)
    page.get(f"{server.address}/?__theme=dark")
    until(lambda: len(page.find_elements("css selector", "#fe-several canvas, #fe-player canvas")) == 3, "all again")
    shown(page, "#fe-painter canvas")
    unfold(page)
    every_text_stands_out(page)
    tab_goes_through_all_in_reading_order_and_is_seen(page)
    a_wide_window_has_no_long_lines(page)


def a_wide_window_has_no_long_lines(page):
    for width, height in ((1920, 1080), (390, 800)):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        time.sleep(0.3)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        right = """return [...document.querySelectorAll('#fe-columns *')].filter((each) => each.checkVisibility()
            && !each.closest('pre, svg') && each.getBoundingClientRect().right > innerWidth + 1)
            .map((each) => each.outerHTML.slice(0, 120))"""
        assert page.execute_script(right) == []
        assert page.execute_script(LINES) == []
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def drag(page, css, path):
    """Drag a file from the desktop onto the middle of an element, as the browser itself hears it."""
    box = page.execute_script(
        "const found = document.querySelector(arguments[0]); found.scrollIntoView({ block: 'center' });"
        "const { x, y, width, height } = found.getBoundingClientRect(); return [x + width / 2, y + height / 2]",
        css,
    )
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        event = {"type": kind, "x": box[0], "y": box[1], "data": data}
        page.execute_cdp_cmd("Input.dispatchDragEvent", event)


def name(page):
    return shown(page, "#fe-drop .fe-name").text


def test_files_are_dragged_and_pasted_and_what_is_none_leaves_the_clip(page, server, tmp_path):
    clip = write_clip(tmp_path / "My clip.MP4", 6, sound=False)
    drag(page, "#fe-drop .fe-clip", clip)
    until(lambda: name(page) == "My clip.MP4", "a clip that was dropped on the other one")
    until(lambda: shown(page, "#fe-source textarea").get_attribute("value") == "", "the fox's sentence to go")
    cut, none, large = tmp_path / "Cut off.MP4", tmp_path / "notes.mp4", tmp_path / "large.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    none.write_bytes(b"no video at all " * 50)
    large.write_bytes(bytes(3 << 20))
    for path in (cut, none, large):
        drag(page, "#fe-card-change h2", path)  # it missed its place
        said = until(lambda path=path: told(page, path), f"what is wrong with {path.name}")
        assert said.endswith(". My clip.MP4 stays"), said
        assert page.current_url.startswith(server.address), "the page is still there"
        assert name(page) == "My clip.MP4"
        page.execute_script("document.querySelector('#fe-drop .fe-error').textContent = ''")
    paste = """
        const data = new DataTransfer();
        if (arguments[0]) data.items.add(new File(['x'], arguments[0], { type: 'image/png' }));
        else data.setData('text/plain', '/home/me/My own.mov');
        (document.activeElement ?? document.body).dispatchEvent(
          new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))"""
    page.execute_script(paste, None)
    until(lambda: "/home/me/My own.mov" in shown(page, "#fe-drop .fe-error").text, "that a path cannot be read")
    page.execute_script(paste, "Pasted.PNG")
    until(lambda: shown(page, "#fe-drop .fe-error").text.startswith("Pasted.PNG"), "that it is no picture")
    assert name(page) == "My clip.MP4"
    assert all("api/clips" in message for message in errors(page))


def told(page, path):
    text = shown(page, "#fe-drop .fe-error").text
    begins = {"Cut off.MP4": "Cut off.MP4", "notes.mp4": "notes.mp4", "large.mp4": "This file has"}
    return text if text.startswith(begins[path.name]) else ""


def test_an_edit_made_here_gives_its_settings_or_is_the_clip(page, server, tmp_path):
    clip = server.clip()
    job = server.until(server.edit(clip, seed=9, steps=3))
    (tmp_path / "edit.mp4").write_bytes(server.client.get(job["files"]["edit.mp4"]).content)
    for button, seed, clip in (("Take its settings", "9", "fox.mp4"), ("Use it as the clip", "0", "edit.mp4")):
        write(page, "#fe-seed input", "0")
        drag(page, "#fe-drop .fe-clip", tmp_path / "edit.mp4")
        until(lambda: "is an edit made here" in shown(page, "#fe-drop .fe-made").text, "the question")
        page.find_element("xpath", f'//button[normalize-space()="{button}"]').click()
        until(lambda clip=clip: name(page) == clip, clip)
        until(lambda seed=seed: shown(page, "#fe-seed input").get_attribute("value") == seed, "its seed")
    assert errors(page) == []


def test_lists_belong_to_what_is_varied_and_ones_own_sentence_begins_with_the_instructions(page):
    press(page, "#fe-several-ask > button")
    assert shown(page, "#fe-seeds textarea, #fe-seeds input").get_attribute("value") == "0, 1, 2, 3"
    press(page, "#fe-vary input[value=strength]")
    assert shown(page, "#fe-strengths textarea, #fe-strengths input").get_attribute("value") == "0.6, 0.7, 0.8, 0.9"
    until(lambda: "Which strengths" in shown(page, "#fe-strengths").text, "Which strengths")
    until(lambda: not page.find_elements("css selector", "#fe-seeds input, #fe-seeds textarea"), "no seeds")
    press(page, "#fe-vary input[value=method]")
    until(lambda: not page.find_elements("css selector", "#fe-strengths input, #fe-strengths textarea"), "no list")
    press(page, "#fe-own input")
    target = "#fe-target textarea"
    until(lambda: shown(page, target).get_attribute("value") == "a panda moves right over green grass", "the sentence")
    write(page, target, "a cat moves right over green grass")
    press(page, "#fe-own input")
    press(page, "#fe-own input")
    assert shown(page, target).get_attribute("value") == "a cat moves right over green grass", "what was written stays"
    for link, words in (("Help", "Your clip"), ("API", "/api/jobs/{id}/stop")):
        address = page.find_element("xpath", f'//header//a[text()="{link}"]').get_attribute("href")
        before = page.current_window_handle
        page.switch_to.new_window("tab")
        page.get(address)
        assert words in page.find_element("css selector", "body").text
        page.close()
        page.switch_to.window(before)
    assert json.loads(page.execute_script("return sessionStorage.getItem('flowedit')"))["own"] is True
