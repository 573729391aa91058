"""Processes that stand still and go on, whatever becomes of them meanwhile."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from holdfast.lab.acts import FaultFailed
from holdfast.lab.soak.stopped import Stopped

LIMIT_S = 20.0
ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


class Echo:
    """A process that answers as long as it is not stopped."""

    def __init__(self, stack: ExitStack) -> None:
        self.process = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        stack.callback(self.process.kill)
        self.answers()

    def answers(self) -> None:
        out, back = self.process.stdin, self.process.stdout
        assert out is not None
        assert back is not None
        out.write(b"still there\n")
        out.flush()
        assert select.select([back], [], [], LIMIT_S)[0]
        assert back.readline() == b"still there\n"

    def is_stopped(self) -> bool:
        """The kernel says so as soon as the process has noticed."""
        told = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        return told is not None and told.si_code == os.CLD_STOPPED


@pytest.fixture
def echoes() -> Iterator[list[Echo]]:
    with ExitStack() as stack:
        yield [Echo(stack) for _ in range(2)]


def test_all_stand_still_and_all_go_on(echoes: list[Echo]) -> None:
    stopped = Stopped("echoes", lambda: [echo.process.pid for echo in echoes])
    assert all(echo.is_stopped() for echo in echoes)
    stopped.go_on()
    for echo in echoes:
        echo.answers()


def test_one_that_is_found_only_later_is_stopped_too(echoes: list[Echo]) -> None:
    found = iter([[echoes[0]], echoes, echoes])
    Stopped("echoes", lambda: [echo.process.pid for echo in next(found)]).leave()
    assert all(echo.is_stopped() for echo in echoes)


def test_one_that_has_ended_meanwhile_hinders_nobody(echoes: list[Echo]) -> None:
    stopped = Stopped("echoes", lambda: [echo.process.pid for echo in echoes])
    echoes[0].process.kill()
    assert echoes[0].process.wait() == -9
    stopped.go_on()
    echoes[1].answers()


def test_nobody_cannot_be_stopped(echoes: list[Echo]) -> None:
    handles = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FaultFailed, match="no process of nobody was found"):
        Stopped("nobody", list)
    assert len(os.listdir("/proc/self/fd")) == handles
