"""No test of the studio waits for ever, and none leaves a process behind: not for a server, nor for a browser."""

import ast
import os
import signal
import time
from pathlib import Path

import pytest
import studio
from studio import Server

HERE = Path(__file__).parent
FILES = sorted([*HERE.glob("*.py"), *(HERE.parent / "helpers").glob("*.py")])
LIMITED = ("run", "call", "check_call", "check_output", "communicate", "urlopen")
"""Calls that wait for ever unless they have a `timeout`."""

BARE = ("wait", "join", "result", "recv", "acquire", "get", "communicate")
"""Calls that wait for ever where nothing is said."""


def endless(tree):
    """The lines of calls without a limit; `asyncio.run` waits for what is given to it."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        owner = ast.unparse(call.func.value) if name else ""
        limited = "timeout" in {each.arg for each in call.keywords}
        if (name in BARE and not call.args and not call.keywords) or (
            name in LIMITED and owner in ("subprocess", "urllib.request") and not limited
        ):
            yield call.lineno
    for block in (node for node in ast.walk(tree) if isinstance(node, ast.With)):
        if any("Popen(" in ast.unparse(item.context_expr) for item in block.items):  # its end waits for the process
            yield block.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_wait_has_a_limit(path):
    assert list(endless(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_a_wait_without_a_limit_is_found():
    text = (
        "event.wait(1)\nevent.wait()\nsubprocess.run(['a'])\nwith subprocess.Popen(['a']) as p: p.wait(3)\n''.join(b)"
    )
    assert list(endless(ast.parse(text))) == [2, 3, 4]


@pytest.mark.slow
def test_a_server_that_does_not_listen_or_does_not_end_is_killed(tmp_path, monkeypatch):
    started = []
    spawn = studio.subprocess.Popen
    monkeypatch.setattr(
        studio.subprocess, "Popen", lambda *args, **more: started.append(spawn(*args, **more)) or started[-1]
    )
    with monkeypatch.context() as patch:
        patch.setattr(studio, "START", 0.0)
        with pytest.raises(AssertionError, match="does not listen"):
            Server(tmp_path / "out")
    assert started[0].returncode == -signal.SIGKILL
    server = Server(tmp_path / "out")
    os.kill(server.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(studio, "END", 0.5)
    with pytest.raises(AssertionError, match="does not end"):
        server.close()
    assert server.process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_browser_that_hangs_is_ended(tmp_path, monkeypatch):
    import browser

    monkeypatch.setattr(browser, "QUIT", 0.5)
    with browser.browser(tmp_path / "profile", command=5.0) as driver:
        pid, page = driver.service.process.pid, driver.current_window_handle
        assert page
        os.kill(pid, signal.SIGSTOP)
        driver.command_executor._client_config.timeout = 0.5
        with pytest.raises(Exception, match="timed out"):
            driver.execute_script("return 1")
    assert driver.service.process.wait(5) == -signal.SIGKILL
    end = time.monotonic() + 10
    while [each for each in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(each)]:
        assert time.monotonic() < end, "Chromium outlives its driver"
        time.sleep(0.05)


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
