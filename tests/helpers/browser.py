"""A headless Chromium in which no command waits for ever, and of which nothing is left when it is ended."""

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="the dev extra brings selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion"),
)
COMMAND, LOAD, SCRIPT, QUIT = 60.0, 30, 20, 20
"""Seconds of a command, of a page that loads, of a script, and of the browser's own end."""


@contextmanager
def browser(
    profile: Path, size: tuple[int, int] = (1300, 1000), logs: tuple[str, ...] = ("browser",), command: float = COMMAND
) -> Iterator[Any]:
    """A WebDriver with a new profile and a window of this size; it keeps what is said in these logs."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    service = webdriver.ChromeService(DRIVER, popen_kw={"start_new_session": True})
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(command)  # Selenium takes this one for all its commands, or else waits for ever
    try:
        driver = webdriver.Chrome(options=options, service=service)
    finally:
        socket.setdefaulttimeout(before)
    try:
        driver.set_page_load_timeout(LOAD)
        driver.set_script_timeout(SCRIPT)
        yield driver
    finally:
        end = threading.Thread(target=driver.quit, daemon=True)
        end.start()
        end.join(QUIT)
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)  # the driver, and by its death Chromium
