"""The supervisor: `python -m holdfast.runtime.supervisor --folder F`.

In:   a run folder with layout.json and key; which managers (one, three, none) and agents (all, none, names) to run.
Out:  agents and managers run; the list of their pids and start times is in processes.json.
Always: a child that ends is started again at once, with a growing pause when it ends again and again; orphans
(the first processes of VMs whose agent was killed) come to it and are reaped. SIGTERM ends everything in
order: managers, then what the agents started, then the agents. No event loop: it does little, and that surely.
"""

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.drivers.files import output_for
from holdfast.errors import HoldfastError, PeerError, UserError
from holdfast.model.layout import Layout
from holdfast.model.limits import END_LIMIT_S, RESTART_PAUSE_MAX_S, RESTARTS_AT_ONCE, RESTARTS_WITHIN_S
from holdfast.model.names import HostName, agent_party
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import load_layout
from holdfast.runtime.outside import end_all
from holdfast.runtime.processes import Process, list_file, process_of, this_process, write_list
from holdfast.runtime.saying import endure, refused

LIST_AGAIN_S = 5.0
"""How soon the list of processes is written again where the disk did not take it."""
_PR_SET_CHILD_SUBREAPER = 36
_STOP_LIMIT_S = 3.0
_FIRST_PAUSE_S = 0.1


@dataclass
class Child:
    """One process that shall run."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    start_at: float | None = 0.0
    """When to start it (again); None while it runs or when it shall not run."""
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=32))

    def pause(self, now: float) -> float:
        """How long to wait before the next start: nothing, unless it keeps ending."""
        self.ends.append(now)
        recent = sum(1 for ended in self.ends if now - ended < max(RESTARTS_WITHIN_S, 2 * RESTART_PAUSE_MAX_S))
        surplus = recent - RESTARTS_AT_ONCE
        return 0.0 if surplus <= 0 else min(_FIRST_PAUSE_S * 2.0 ** (surplus - 1), RESTART_PAUSE_MAX_S)


def children_of(
    layout: Layout, folder: RunFolder, managers: str, agents: str, store: str = "", name: str = ""
) -> list[Child]:
    """What shall run for these choices; with `store`, the managers are candidates for the leadership there."""
    hosts = list(layout.hosts) if agents == "all" else [HostName(name) for name in agents.split(",") if name != "none"]
    for host in hosts:
        if host not in layout.hosts:
            raise UserError(f"host {host} is not in the layout", f"expected some of {', '.join(layout.hosts)}")
    module = [sys.executable, "-m"]
    children = [
        Child(
            str(agent_party(host)),
            [*module, "holdfast.runtime.agent_process", "--folder", str(folder.root), "--host", host],
        )
        for host in hosts
    ]
    shares = {"one": ["all"], "three": ["ha", "vnfm", "vim"], "none": []}[managers]
    for share in shares:
        child = "managers" if share == "all" else share
        command = [*module, "holdfast.runtime.manager_process", "--folder", str(folder.root), "--parties", share]
        if store:
            command += ["--store", store, *(("--manager", name) if name else ())]
            child = f"{child}-{name}" if name else child
        children.append(Child(child, command))
    return children


class Supervisor:
    """Keeps the children of one run folder running until told to end."""

    def __init__(self, folder: RunFolder, children: list[Child], name: str) -> None:
        self._folder = folder
        self._children = children
        self._list = list_file(folder, name)
        self._name = "supervisor" if not name else f"supervisor-{name}"
        self._is_ending = False
        self._list_again_at: float | None = None
        """When to write the list of processes again: the disk did not take it."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.left: list[str] = []

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; answer the exit status."""
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        while not self._is_ending:
            self._start_due()
            self._wait(self._next_turn())
            self._reap()
        return self._end()

    def _on_end(self, *_: object) -> None:
        self._is_ending = True

    def _next_turn(self) -> float | None:
        starts = (child.start_at for child in self._children)
        return min((at for at in (*starts, self._list_again_at) if at is not None), default=None)

    def _start_due(self) -> None:
        now = time.monotonic()
        started = False
        for child in self._children:
            if child.start_at is not None and child.start_at <= now:
                self._start(child)
                started = True
        if started or (self._list_again_at is not None and self._list_again_at <= now):
            self._write_list()

    def _start(self, child: Child) -> None:
        output = output_for(self._folder.log(child.name.replace(":", "-")))
        try:
            child.process = subprocess.Popen(
                child.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        finally:
            os.close(output)
        child.start_at = None

    def _write_list(self) -> None:
        listed: dict[str, Process] = {self._name: this_process()}
        listed |= {child.name: process_of(child.process.pid) for child in self._children if child.process is not None}
        try:
            write_list(self._list, listed)
        except OSError as error:
            if self._list_again_at is None:
                say(f"{self._list} cannot be written: {error.strerror}; `holdfast down` goes by the old list")
            self._list_again_at = time.monotonic() + LIST_AGAIN_S
        else:
            self._list_again_at = None

    def _wait(self, until: float | None) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        poll.poll(None if until is None else max(0.0, until - time.monotonic()) * 1000)
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            return  # The time for a start has come, without a signal.

    def _reap(self) -> None:
        """Collect every child that has ended, ours and those that came to us as orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.process is not None and child.process.pid == pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        assert child.process is not None
        child.process.returncode = code
        child.process = None
        if self._is_ending:
            return
        now = time.monotonic()
        pause = child.pause(now)
        child.start_at = now + pause
        say(f"{child.name} has ended ({code}), to be started again in {pause:g} s")

    def _end(self) -> int:
        """Managers first, so that nobody repairs what is being ended; then what agents hold; then agents."""
        agents = [child for child in self._children if child.name.startswith("agent:")]
        self._stop([child for child in self._children if child not in agents])
        limit = time.monotonic() + END_LIMIT_S
        for child in agents:
            if child.process is None:
                continue
            child.process.send_signal(signal.SIGCONT)  # One that is stopped could not do it.
            try:
                left = end_all(
                    self._folder, agent_party(HostName(child.name.partition(":")[2])), limit - time.monotonic()
                )
                self.left += left
            except (PeerError, OSError) as error:
                self.left.append(f"{child.name}: {error}")
        self._stop(agents)
        for text in self.left:
            say(f"not ended: {text}")
        if not self.left:
            self._list.unlink(missing_ok=True)
        return 1 if self.left else 0

    def _stop(self, children: list[Child]) -> None:
        running = [child for child in children if child.process is not None]
        for child in running:
            assert child.process is not None
            child.process.terminate()
            child.process.send_signal(signal.SIGCONT)
        limit = time.monotonic() + _STOP_LIMIT_S
        while any(child.process is not None for child in running) and time.monotonic() < limit:
            self._wait(limit)
            self._reap()
        for child in running:
            if child.process is not None:
                child.process.kill()
                child.process.wait()
                child.process = None


def say(text: str) -> None:
    """A line in the supervisor's own log."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; answer the exit status."""
    parser = argparse.ArgumentParser(prog="holdfast-supervisor", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--managers", choices=("one", "three", "none"), default="one")
    parser.add_argument("--agents", default="all", help="all, none, or names of hosts with commas")
    parser.add_argument("--name", default="", help="for a second supervisor in the same folder")
    parser.add_argument("--store", default="", help="etcd://… where managers on several hosts share the deployment")
    chosen = parser.parse_args(arguments)
    endure()
    folder = RunFolder(chosen.folder)
    try:
        name = chosen.name or _name(chosen.managers, chosen.agents)
        children = children_of(load_layout(folder), folder, chosen.managers, chosen.agents, chosen.store, chosen.name)
        return Supervisor(folder, children, name).run()
    except (HoldfastError, OSError) as error:
        return refused(error)


def _name(managers: str, agents: str) -> str:
    """Supervisors that share a folder (hosts of a lab) each get a list of processes of their own."""
    if managers == "none":
        return agents.replace(",", "+")
    return "managers" if agents == "none" else ""


if __name__ == "__main__":
    sys.exit(main())
