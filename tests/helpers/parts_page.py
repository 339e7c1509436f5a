"""One part of the page in a headless Chromium, with a server by script behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from browser import browser
from fake_studio import FakeStudio
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.wait import WebDriverWait

from flowedit.media.writer import Writer

FPS, FRAMES, WIDTH, HEIGHT = 12, 24, 96, 64
PLAYER = {"url": "/media/stack.mp4", "tiles": ["source", "edit", "mask"], "width": WIDTH, "height": HEIGHT, "fps": FPS,
          "frames": FRAMES, "has_audio": True}  # fmt: skip
CLIP = {"id": "c1", "name": "fox.mp4", "width": WIDTH, "height": HEIGHT, "fps": FPS, "frames": FRAMES, "seconds": 2.0,
        "has_audio": False, "scenes": [0, 10], "still": False, "video": "/media/clip.mp4",
        "poster": "/media/p.png"}  # fmt: skip
TIMES = [round(number / FPS + 0.3 * (number > 5), 6) for number in range(FRAMES + 1)]
"""Of uneven.mp4, whose sixth frame is held."""
MOUNT = """
const [file, name, given, done] = arguments;
const alive = (each) => each === 'TELL' ? window.tell : Array.isArray(each) ? each.map(alive)
  : each && typeof each === 'object' ? Object.fromEntries(Object.entries(each).map(([k, v]) => [k, alive(v)])) : each;
mount(file, name, ...given.map(alive)).then(() => done(null), (error) => done(String(error)));
"""


def grey(height: int, level: int) -> np.ndarray:
    """An even picture of the videos' width."""
    return np.full((height, WIDTH, 3), level, np.uint8)


def make_media(media: Path) -> None:
    """Videos whose frames bear their number as a grey: the source counts upwards, the edit downwards."""
    white = grey(HEIGHT, 0)
    white[:, : WIDTH // 4] = white[:, -WIDTH // 4 :] = 255  # left and right; the middle is not edited
    for name, tiles in {
        "stack": lambda n: [grey(HEIGHT, 20 + 8 * n), grey(HEIGHT, 236 - 8 * n), white],
        "clip": lambda n: [grey(HEIGHT, 20 + 8 * n)],
    }.items():
        with Writer(media / f"{name}.mp4", (HEIGHT * len(tiles(0)), WIDTH), Fraction(FPS), crf=4) as out:
            for number in range(FRAMES):
                out.write(np.vstack(tiles(number))[None])
    uneven = [Fraction(number, FPS) + Fraction(3, 10) * (number > 5) for number in range(FRAMES + 1)]
    with Writer(media / "uneven.mp4", (3 * HEIGHT, WIDTH), Fraction(FPS), crf=4, times=uneven) as out:
        for number in range(FRAMES):
            out.write(np.vstack([grey(HEIGHT, 20 + 8 * number), grey(HEIGHT, 236 - 8 * number), white])[None])
    cv2.imwrite(str(media / "p.png"), grey(HEIGHT, 90))


@contextmanager
def opened(folder: Path) -> Iterator["Page"]:
    """The harness page, in a browser and on a server of its own; both end with the block."""
    (folder / "media").mkdir()
    make_media(folder / "media")
    studio = FakeStudio(folder / "media")
    try:
        with browser(folder / "profile", (1000, 900)) as driver:
            driver.get(f"{studio.url}/harness.html")
            yield Page(driver, studio)
    finally:
        studio.close()


@contextmanager
def fresh(page: "Page") -> Iterator["Page"]:
    """A page with no script yet; after it nothing was said in the console but of requests that were refused."""
    studio = page.studio
    studio.routes, studio.asked, studio.away, studio.pause = {}, [], False, 0.0
    yield page
    said = [line["message"] for line in page.driver.get_log("browser")]
    assert [text for text in said if "/api/" not in text] == []


class Page:
    """The harness page with one part on it."""

    def __init__(self, driver: Any, studio: FakeStudio) -> None:
        self.studio = studio
        self.driver, self.run = driver, driver.execute_script

    def mount(self, file, name, *given):
        assert self.driver.execute_async_script(MOUNT, file, name, given) is None

    def find(self, name):
        return self.driver.find_element("css selector", name)

    def named(self, label):
        return self.find(f'[aria-label="{label}"]')

    def button(self, text):
        return self.driver.find_element("xpath", f'//button[normalize-space()="{text}"]')

    def text(self):
        return self.find("#here").text

    def told(self):
        return self.run("return window.ended")

    def until(self, script):
        return WebDriverWait(self.driver, 20, 0.02).until(lambda driver: driver.execute_script(f"return {script}"))

    def asynchronous(self, script, *given):
        told = f"const tell = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(tell)"
        return self.driver.execute_async_script(told, *given)

    def set_range(self, label, value):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.run(script, self.named(label), value)

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def drag(self, element, *shares):
        """Press the mouse at the first share of an element's size, and let it go at the last."""
        box, chain = element.rect, ActionChains(self.driver, duration=20)
        places = [(round((x - 0.5) * box["width"]), round((y - 0.5) * box["height"])) for x, y in shares]
        chain.move_to_element_with_offset(element, *places[0]).click_and_hold()
        for place in places[1:]:
            chain.move_to_element_with_offset(element, *place)
        chain.release().perform()

    def touch(self, element, *shares):
        box = self.run("const b = arguments[0].getBoundingClientRect(); return [b.x, b.y, b.width, b.height]", element)
        moves = [("touchMove", [each]) for each in shares[1:]]
        for kind, points in [("touchStart", shares[:1]), *moves, ("touchEnd", [])]:
            points = [{"x": box[0] + x * box[2], "y": box[1] + y * box[3]} for x, y in points]
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
