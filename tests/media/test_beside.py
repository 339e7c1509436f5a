"""Work that is done beside other work: in order, no more than wished in waiting, and no error of it lost."""

import os
import signal
import sys
import threading

import pytest

from flowedit.media.writer import Beside


def test_all_is_done_in_order_and_in_another_thread():
    done = []
    with Beside() as beside:
        for number in range(20):
            beside(lambda number=number: done.append((number, threading.current_thread())))
    assert [number for number, _ in done] == list(range(20))
    assert {thread for _, thread in done} != {threading.main_thread()}


def test_no_more_wait_than_wished():
    """With one at work and two waiting, the next one has to wait for room."""
    gate, given, full = threading.Event(), [], threading.Event()

    def give():
        with Beside(2) as beside:
            for number in range(6):
                beside(lambda: gate.wait(10))
                given.append(number)
                if len(given) == 3:
                    full.set()

    thread = threading.Thread(target=give)
    thread.start()
    assert full.wait(10)
    thread.join(0.2)
    assert len(given) == 3
    gate.set()
    thread.join(10)
    assert len(given) == 6


def test_an_error_is_raised_at_the_next_call_and_nothing_after_it_is_done():
    done, failed = [], threading.Event()

    def fail():
        failed.set()
        raise OSError("no room left")

    def give():
        with Beside(1) as beside:
            beside(fail)
            assert failed.wait(10)
            for _ in range(9):  # some may be taken before the error is noted
                beside(lambda: done.append(1))

    with pytest.raises(OSError, match="no room left"):
        give()
    assert done == []


def test_an_error_of_the_last_thing_is_raised_at_the_end():
    def fail():
        raise OSError("no room left")

    with pytest.raises(OSError, match="no room left"), Beside() as beside:
        beside(fail)


def test_an_error_of_the_block_is_its_own_and_what_waits_is_not_done():
    gate, done = threading.Event(), []

    def give():
        with Beside(2) as beside:
            beside(lambda: gate.wait(10))
            beside(lambda: done.append(1))
            threading.Timer(0.1, gate.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give()
    assert done == []
    assert "writer" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.skipif(sys.platform == "win32", reason="no signal to a process of one's own")
def test_an_interrupt_at_the_end_waits_for_the_thing_that_is_written():
    """Else the files are closed under the thread, which crashed the process."""
    gate, done = threading.Event(), []

    def work():
        gate.wait(10)
        done.append("written")

    def give():
        with Beside(2) as beside:
            beside(work)
            beside(lambda: done.append("not wished any more"))
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            threading.Timer(0.5, gate.set).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            give()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["written"]
    assert "writer" not in {thread.name for thread in threading.enumerate()}
