"""Sandboxes: processes in namespaces of their own, with `guest/init` as their first process.

In: a name, a folder and the namespaces wanted. Out: a `Sandbox` whose death is one readable file descriptor and
whose end is one signal. A sandbox outlives the process that started it (unless `bound`) and can be attached again
by its folder. Used for VMs and for the capsules that hold the processes of one VNFC; the lab uses it for hosts.

What always holds: when `gone()` is true, no process of the sandbox is left, whatever it forked away. The calls here
block for as long as the sandbox needs to answer, at most `ANSWER_LIMIT_S`; an event loop uses `drivers.process`.
"""

import array
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.drivers.files import output_for
from holdfast.errors import MachineLacks, WorldError
from holdfast.guest import init

SOCKET_NAME = "init.sock"
ANSWER_LIMIT_S = 5.0
TITLE_ROOM = " " * 128
"""So that the settings of a capsule fit where those of its VM stand in the list of processes."""
PF_FIELD = 6
"""Place of the kernel's task flags in /proc/<pid>/stat, counted after the program's name."""
PF_EXITING = 0x4
EXIT_CODE_FIELD = 49
"""Place of the wait status, counted in the same way; the kernel shows 0 to those who may not know."""
VM = ("pid", "net", "mnt", "uts", "ipc")
CAPSULE = ("pid", "mnt")

Json = dict[str, Any]


@dataclass(frozen=True)
class Child:
    """A process in a sandbox: its number in the sandbox, and a pidfd that is valid everywhere."""

    pid: int
    pidfd: int
    tag: str = ""

    def close(self) -> None:
        os.close(self.pidfd)


def pid_of(pidfd: int) -> int:
    """The process's number as this process sees it; -1 when it is gone (and reaped)."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return -1


def gone(pidfd: int, limit_s: float = 0.0) -> bool:
    """Whether the process has ended; waits for it up to `limit_s`."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(limit_s * 1000))


def is_dying(pidfd: int) -> bool:
    """Whether the process has begun to end. First processes end what is in their sandbox before they are gone."""
    try:
        flags = int(_stat_of(pid_of(pidfd))[PF_FIELD])
    except (OSError, ValueError, IndexError):
        return True
    return bool(flags & PF_EXITING)


def is_alone(pidfd: int) -> bool:
    """Whether nothing else runs in the PID namespace whose first process this is; False where that is not to be seen.

    Whatever there has lost its parent is a child of the first process, and what has ended has no children: so who has
    no living child is alone, and stays alone unless it begins something itself.
    """
    pid = pid_of(pidfd)
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
        has_living = any(_stat_of(int(child))[0] not in "ZX" for child in children)
    except (OSError, ValueError, IndexError):
        return gone(pidfd)
    return not has_living or gone(pidfd)


def _stat_of(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the program's name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that has ended, until its parent has taken it; None when that is not to be seen."""
    try:
        fields = _stat_of(pid_of(pidfd))
        return (int(fields[EXIT_CODE_FIELD]) or None) if fields[0] == "Z" else None
    except (OSError, ValueError, IndexError):
        return None


def kill(pidfd: int) -> None:
    """SIGKILL; harmless when it is gone already."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return


def connect(folder: Path) -> socket.socket:
    """Connect to the first process that lives in this folder, without blocking; OSError when there is none.

    Through a descriptor of the folder, because the path of a socket has room for 107 bytes only.
    """
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        sock.connect(f"/proc/self/fd/{opened}/{SOCKET_NAME}")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(opened)
    return sock


def packet(request: Json) -> bytes:
    """One request as it goes over the socket."""
    encoded = json.dumps(request).encode()
    if len(encoded) > init.PACKET_BYTES_MAX:
        raise WorldError(
            f"a command with its environment takes {len(encoded)} bytes, at most {init.PACKET_BYTES_MAX} can be passed"
        )
    return encoded


def receive(sock: socket.socket) -> tuple[Json, list[int]] | None:
    """One packet with its handles; None when the other end is gone, BlockingIOError when all is read."""
    text, ancillary, _flags, _address = sock.recvmsg(
        init.PACKET_BYTES_MAX, socket.CMSG_SPACE(init.HANDLES_PER_PACKET_MAX * 4), socket.MSG_CMSG_CLOEXEC
    )
    handles = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            handles.frombytes(content[: len(content) - len(content) % handles.itemsize])
    if not text:
        return None
    message: Json = json.loads(text)
    return message, list(handles)


@dataclass
class Sandbox:
    """A handle on a running sandbox; closing it ends nothing."""

    name: str
    folder: Path
    pid: int
    pidfd: int
    _sock: socket.socket
    _tie: socket.socket | None = None
    _number: int = 0
    _ended: dict[int, int] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        name: str,
        folder: Path,
        *,
        namespaces: Sequence[str] = VM,
        own_run: bool = False,
        keep: Iterable[Path] = (),
        first_pid: int = 0,
        bound: bool = False,
        limit_s: float = ANSWER_LIMIT_S,
    ) -> "Sandbox":
        """Start one; on return it answers.

        Args:
            own_run: give it an empty /run of its own, in which only the folders in `keep` are visible.
            first_pid: where its process numbers begin (behind process 1).
            bound: the kernel ends it when the process that called this ends (or calls `close`).

        Errors: WorldError for namespaces that cannot go together; MachineLacks where the machine cannot make them.
        """
        _refuse_namespaces(name, namespaces, own_run)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "name": name,
            "folder": str(folder),
            "namespaces": list(namespaces),
            "own_run": own_run,
            "keep": [str(path) for path in keep],
            "first_pid": first_pid,
            "bound": bound,
        }
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console = output_for(folder / "console.log")
        with theirs, os.fdopen(console, "ab", buffering=0):
            shim = subprocess.Popen(
                [sys.executable, "-I", "-S", init.__file__, str(theirs.fileno()), json.dumps(settings) + TITLE_ROOM],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=[theirs.fileno()],
            )
        try:
            pid, pidfd = take_over(ours, name, limit_s)
        except BaseException:
            ours.close()
            shim.kill()
            raise
        finally:
            shim.wait()
        try:
            sock = connect(folder)
        except OSError as error:
            kill(pidfd)
            os.close(pidfd)
            ours.close()
            raise WorldError(f"sandbox {name} cannot be reached at {folder}: {error}") from error
        if not bound:
            ours.close()
        return cls(name, folder, pid, pidfd, sock, ours if bound else None)

    @classmethod
    def attach(cls, folder: Path, limit_s: float = 1.0) -> "Sandbox | None":
        """The sandbox that lives in this folder, or None. One that does not answer in time is a WorldError."""
        try:
            sock = connect(folder)
        except OSError:
            return None
        sandbox = cls("", folder, 0, -1, sock)
        try:
            reply, handles = sandbox.ask({"op": "describe"}, limit_s)
        except WorldError:
            sock.close()
            if gone_at(folder):
                return None
            raise
        for handle in handles[1:]:
            os.close(handle)
        sandbox.name, sandbox.pidfd, sandbox.pid = reply["name"], handles[0], pid_of(handles[0])
        return sandbox

    @property
    def netns_fd(self) -> int:
        """A new descriptor of its network namespace, for the caller to close."""
        try:
            return os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise WorldError(f"sandbox {self.name} is gone") from error

    def ask(self, request: Json, limit_s: float = ANSWER_LIMIT_S) -> tuple[Json, list[int]]:
        """One request and its answer; what ended meanwhile is remembered for `wait`."""
        self._number += 1
        try:
            self._sock.send(packet({"id": self._number, **request}))
        except OSError as error:
            raise WorldError(f"sandbox {self.name or self.folder} is gone") from error
        end = time.monotonic() + limit_s
        while True:
            message, handles = self._next(end)
            if message.get("id") == self._number:
                break
            for handle in handles:
                os.close(handle)
        if "error" in message:
            for handle in handles:
                os.close(handle)
            raise WorldError(f"in sandbox {self.name or self.folder}: {message['error']}")
        return message, handles

    def _next(self, end: float) -> tuple[Json, list[int]]:
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        if not poller.poll(max(0.0, end - time.monotonic()) * 1000):
            raise WorldError(f"sandbox {self.name or self.folder} did not answer in time")
        try:
            received = receive(self._sock)
        except OSError:
            received = None
        if received is None:
            raise WorldError(f"sandbox {self.name or self.folder} is gone")
        if "ended" in received[0]:
            self._ended[received[0]["ended"]] = received[0]["status"]
        return received

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, tag: str = "") -> Child:
        """Start a program in the sandbox, in a session of its own, its output appended to `log`."""
        request = {"op": "spawn", "argv": list(argv), "env": dict(env), "cwd": str(cwd), "log": str(log), "tag": tag}
        reply, handles = self.ask(request)
        return Child(reply["pid"], handles[0], tag)

    def wait(self, child: Child, limit_s: float) -> int | None:
        """Exit status of a spawned process (negative: the signal that killed it); None when it still runs."""
        end = time.monotonic() + limit_s
        while child.pid not in self._ended:
            if time.monotonic() > end:
                return None
            try:
                self._next(end)
            except WorldError:
                if gone(self.pidfd):
                    return -signal.SIGKILL
                return None
        return os.waitstatus_to_exitcode(self._ended.pop(child.pid))

    def kill(self) -> None:
        """End it and everything in it; `wait_gone` confirms."""
        kill(self.pidfd)

    def wait_gone(self, limit_s: float) -> bool:
        return gone(self.pidfd, limit_s)

    def close(self) -> None:
        """Let go of it. A bound sandbox ends with this."""
        self._sock.close()
        if self._tie is not None:
            self._tie.close()
        os.close(self.pidfd)


def _refuse_namespaces(name: str, namespaces: Sequence[str], own_run: bool) -> None:
    """A sandbox that is asked for mounts without mounts of its own would put them over those of the machine."""
    if unknown := [one for one in namespaces if one not in init.NAMESPACES]:
        raise WorldError(
            f"sandbox {name} is asked for the namespaces {', '.join(unknown)}, which are not known",
            f"known are {', '.join(init.NAMESPACES)}",
        )
    for what, needs in (
        ("its own process numbers (pid), and so a /proc of its own", "pid" in namespaces),
        ("a /run of its own", own_run),
    ):
        if needs and "mnt" not in namespaces:
            raise WorldError(
                f"sandbox {name} is asked for {what}, without mounts of its own (mnt): "
                "that would be mounted over the machine's",
                "ask for the namespace mnt too",
            )


def gone_at(folder: Path) -> bool:
    """Whether nobody listens in this folder any more."""
    try:
        connect(folder).close()
    except OSError:
        return True
    return False


def take_over(handover: socket.socket, name: str, limit_s: float) -> tuple[int, int]:
    """Receive process 1 from the shim, and its own word that it is ready.

    These are two processes, so either may come first: the word alone would leave a sandbox that nobody can end.
    """
    handover.settimeout(limit_s)
    pid, pidfd, is_ready = 0, -1, False
    while True:
        try:
            received = receive(handover)
        except TimeoutError:
            received = ({"error": f"not ready within {limit_s:g} s"}, [])
        message, handles = received or ({"error": "its first process ended at once"}, [])
        if handles:
            pid, pidfd = message["pid"], handles[0]
        if "error" in message:
            if pidfd >= 0:
                kill(pidfd)
                os.close(pidfd)
            raise MachineLacks(
                f"sandbox {name} cannot be made: {message['error']}",
                "sandboxes need root, or a user namespace in which new namespaces and a new /proc are allowed",
            )
        is_ready = is_ready or "ready" in message
        if is_ready and pidfd >= 0:
            return pid, pidfd


def listener_in(folder: Path) -> int | None:
    """A pidfd of the first process that lives in this folder, without asking it; None when there is none."""
    try:
        with connect(folder) as sock:
            pid: int = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return os.pidfd_open(pid)
    except OSError:
        return None


def members(folder: Path) -> tuple[int, ...]:
    """All processes of the sandbox in this folder but its first one, as numbers of ours, the oldest first.

    Those of a sandbox within it (a VM's capsules) are not among them: each has a folder of its own.
    """
    handle = listener_in(folder)
    if handle is None:
        return ()
    first = pid_of(handle)
    os.close(handle)
    namespace = _pid_namespace(first)
    numbers = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return tuple(pid for pid in numbers if pid != first and namespace and _pid_namespace(pid) == namespace)


def _pid_namespace(pid: int) -> int:
    """Identity of the PID namespace a process lives in; 0 when it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0
