"""A studio in a process of its own, and a client of its API."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
FOX = ROOT / "examples" / "fox.mp4"
SMALL = {
    "source": "a fox moves right over green grass",
    "target": "a panda moves right over green grass",
    "source_words": "fox",
    "target_words": "panda",
    "steps": 2,
    "frames": 1,
    "size": "64x64",
}
"""An edit of a second."""

OVER = ("done", "stopped", "failed")

START, END = 120, 60
"""Seconds that a server gets to listen, and to end."""


class Server:
    """`flowedit serve` (or `app`) with a folder of results; `client` keeps the cookie of one owner."""

    def __init__(self, out, *flags, command="serve"):
        self.out, self._flags, self._command = Path(out), flags, command
        self.process = None
        self.start()

    def start(self):
        """Start, or start again, and wait for the line that says where it listens."""
        command = [sys.executable, "-m", "flowedit", self._command, "--port", "0", "--out", str(self.out)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would hold the server up
        self.process = subprocess.Popen(
            [*command, *self._flags],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # as this process has: another number gives other bytes
            start_new_session=True,
        )
        try:
            self.address = f"http://127.0.0.1:{self._port()}"
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        self.client = self.session()

    def _port(self):
        """The port of the line that says where it listens."""
        end = time.monotonic() + START
        while not (found := re.search(r"http://\S+:(\d+)", self.said())):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, f"it does not listen after {START} s: {self.said()}"
            time.sleep(0.02)
        return found[1]

    def said(self):
        """All that it printed since it started."""
        return os.pread(self._log.fileno(), 1 << 22, 0).decode(errors="replace")

    def session(self, **options):
        """A client with a cookie jar of its own."""
        return httpx.Client(base_url=self.address, timeout=120, **options)

    def kill(self, how=signal.SIGKILL):
        """End it by a signal; whatever it started ends with it."""
        self._end(how)
        self.client.close()

    def _end(self, how):
        self.process.send_signal(how)
        try:
            self.process.wait(END)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end {END} s after {how.name}: {self.said()}") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(END)

    def close(self):
        """End it if it runs."""
        if self.process.poll() is None:
            self.kill(signal.SIGTERM)

    def clip(self, path=FOX, name="fox.mp4", client=None):
        """Upload a clip and return its facts."""
        with open(path, "rb") as file:
            answer = (client or self.client).post("/api/clips", files={"file": (name, file)})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def edit(self, clip, kind="edit", mask=None, client=None, **settings):
        """Ask for a job and return its id."""
        asked = {"kind": kind, "clip": clip["id"], "settings": SMALL | settings, "mask": mask}
        answer = (client or self.client).post("/api/jobs", json=asked)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, id):
        """A job's status."""
        answer = self.client.get(f"/api/jobs/{id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, id, good=lambda job: job["state"] in OVER, seconds=180):
        """A job's status once it is as wished."""
        end = time.monotonic() + seconds
        while not good(job := self.job(id)):
            assert time.monotonic() < end, job
            assert job["state"] not in OVER, job
            time.sleep(0.05)
        return job


def refused(answer, status, *words):
    """The one line of a refusal."""
    assert answer.status_code == status, answer.text
    text = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert "\n" not in text
    assert len(text) <= 1000
    for word in words:
        assert word in text, text
    return text


def until(studio, id, good=lambda status: status["state"] in OVER):
    """The status of a job of a `Studio` in this process, once it is as wished."""
    end = time.monotonic() + 180
    while not good(status := studio.status(id)):
        assert time.monotonic() < end, status
        time.sleep(0.02)
    return status
