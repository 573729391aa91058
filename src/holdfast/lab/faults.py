"""Faults, done to real processes from outside of Holdfast, each one checked to have taken effect.

Processes are found in /proc by what they are, not by asking Holdfast: a VNFC's by the PID namespace whose first
process lives in the VNFC's folder, a VM by the settings of its first process, a manager by its command line.

Every function raises `FaultFailed` when the world did not change as it should: the run is then `unknown`, because
a recovery from a fault that never was proves nothing.
"""

import json
import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast.drivers.sandbox import Sandbox
from holdfast.lab.acts import FaultFailed

EFFECT_LIMIT_S = 10.0


def kill_vnfc(folder: Path) -> list[int]:
    """SIGKILL to every process of the VNFC; returns their numbers."""
    return _signal_all(vnfc_processes(folder), signal.SIGKILL, f"VNFC {folder.name}")


def freeze_vnfc(folder: Path) -> list[int]:
    pids = _signal_all(vnfc_processes(folder), signal.SIGSTOP, f"VNFC {folder.name}")
    for pid in pids:
        _expect_state(pid, "Tt", f"VNFC {folder.name}")
    return pids


def kill_sandbox(name: str) -> list[int]:
    """SIGKILL to the first process of a VM (or lab host): the kernel takes everything in it along."""
    return _signal_all(sandbox_first_process(name), signal.SIGKILL, f"sandbox {name}")


def kill_process(what: str, pids: list[int]) -> list[int]:
    return _signal_all(pids, signal.SIGKILL, what)


def hold(what: str, pids: list[int]) -> list[int]:
    """SIGSTOP: the process is there, and does nothing until it is released."""
    _signal_all(pids, signal.SIGSTOP, what)
    for pid in pids:
        _expect_state(pid, "Tt", what)
    return pids


def release(what: str, pids: list[int]) -> list[int]:
    _signal_all(pids, signal.SIGCONT, what)
    return pids


def vnfc_processes(folder: Path) -> list[int]:
    """Everything in the VNFC's capsule but its first process, which is Holdfast's own."""
    capsule = Sandbox.attach(folder)
    if capsule is None:
        return []
    first = capsule.pid
    capsule.close()
    inside = _namespace(first)
    return [pid for pid in _pids() if pid != first and inside and _namespace(pid) == inside and _state(pid) not in "ZX"]


def sandbox_first_process(name: str) -> list[int]:
    return [
        pid for pid, settings in _first_processes() if settings.get("name") == name and "net" in settings["namespaces"]
    ]


def below(first: int) -> list[int]:
    """The process and everything below it."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        children.setdefault(_parent(pid), []).append(pid)
    found = [first]
    for pid in found:
        found += children.get(pid, [])
    return found


def words_of(pid: int) -> list[bytes]:
    """How it was called; nothing for one that has ended."""
    return _read(pid, "cmdline").split(b"\0")


def agent_processes(host: str, *, with_hot: bool) -> list[int]:
    """The agent of a host (with its hot process, which holds the grants), but nothing that they look after."""
    modules = (b"holdfast.runtime.agent_process", *((b"holdfast.runtime.hot_main",) if with_hot else ()))

    def fits(words: list[bytes]) -> bool:
        ours = any(module in words for module in modules)
        return ours and b"--host" in words and words[words.index(b"--host") + 1] == host.encode()

    return _matching(fits)


def leader_process(socket: Path) -> int | None:
    """The manager process that listens at this path: the one that leads."""
    for pid in manager_processes("all"):
        inodes = {
            words[6]
            for line in _read(pid, "net/unix").decode(errors="replace").splitlines()
            if len(words := line.split()) == 8 and words[7] == str(socket)
        }
        if any(f"socket:[{inode}]" in _open_files(pid) for inode in inodes):
            return pid
    return None


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            found.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
    except OSError:
        return found
    return found


def store_member(host: str) -> list[int]:
    def fits(words: list[bytes]) -> bool:
        return words[0].endswith(b"etcd") and b"--name" in words and words[words.index(b"--name") + 1] == host.encode()

    return _matching(fits)


def manager_processes(which: str) -> list[int]:
    """`ha`, `vnfm`, `vim`, `all` managers, or the `supervisor` above them (not those of the hosts)."""
    module = b"holdfast.runtime.supervisor" if which == "supervisor" else b"holdfast.runtime.manager_process"

    def fits(words: list[bytes]) -> bool:
        if module not in words:
            return False
        if which == "supervisor":
            return words[words.index(b"--managers") + 1] != b"none" if b"--managers" in words else True
        parties = words[words.index(b"--parties") + 1].decode() if b"--parties" in words else "all"
        return which == "all" or parties in {which, "all"}

    return _matching(fits)


def _matching(fits: Callable[[list[bytes]], bool]) -> list[int]:
    return [pid for pid in _pids() if fits(words_of(pid))]


def _first_processes() -> Iterator[tuple[int, dict[str, Any]]]:
    for pid in _pids():
        words = words_of(pid)
        if not any(word.endswith(b"guest/init.py") for word in words):
            continue
        inner = [line for line in _read(pid, "status").splitlines() if line.startswith(b"NSpid:")]
        if not inner or inner[0].split()[-1] != b"1":
            continue
        for word in words:
            if word.startswith(b"{"):
                yield pid, json.loads(word)


def _signal_all(pids: list[int], number: signal.Signals, what: str) -> list[int]:
    if not pids:
        raise FaultFailed(f"no process of {what} was found")
    handles = [os.pidfd_open(pid) for pid in pids]
    try:
        for handle in handles:
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                continue  # it ended together with its parent, which was killed a moment ago
        if number is signal.SIGKILL:
            for pid, handle in zip(pids, handles, strict=True):
                if not select.select([handle], [], [], EFFECT_LIMIT_S)[0]:
                    raise FaultFailed(f"process {pid} of {what} survived SIGKILL for {EFFECT_LIMIT_S:g} s")
    finally:
        for handle in handles:
            os.close(handle)
    return pids


def _expect_state(pid: int, wanted: str, what: str) -> None:
    # A stop signal takes effect before kill() returns for a single-threaded process that is not running; one that
    # runs on the other core is interrupted at once. A few looks are enough.
    for _ in range(10_000):
        if _state(pid) in wanted:
            return
    raise FaultFailed(f"process {pid} of {what} is in state {_state(pid)!r}, expected one of {wanted!r}")


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    text = _read(pid, "stat").decode(errors="replace")
    return int(text.rpartition(")")[2].split()[1]) if text else 0


def _state(pid: int) -> str:
    text = _read(pid, "stat").decode(errors="replace")
    return text.rpartition(")")[2].split()[0] if text else "X"
