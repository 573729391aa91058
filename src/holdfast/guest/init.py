"""First process of a sandbox (a VM, a lab host) or of a capsule (what holds the processes of one VNFC).

Run by path with `python -I -S init.py <fd> <settings>`: makes the namespaces it was asked for, forks process 1 in
them, hands a pidfd of it over and ends, so that the sandbox outlives whoever started it. Process 1 listens on
`init.sock` in its folder and serves whoever connects: spawn, describe, note, kill, enclose. It reaps.

Requests and answers are JSON objects, one a packet, `{"id": 7, "op": "spawn", ...}`; process handles travel beside
them as file descriptors. Without being asked it sends `{"ended": pid, "status": n}` to the connection that spawned.

What always holds: process 1 of a PID namespace that ends takes everything in that namespace with it, and its pidfd
becomes readable only when all of it is gone. So one signal is a complete and confirmed clean-up, whatever forked away.
Standard library only: this file runs inside guests.
"""

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
from dataclasses import dataclass, field
from typing import Any, NoReturn

NAMESPACES = {"mnt": 0x00020000, "uts": 0x04000000, "ipc": 0x08000000, "pid": 0x20000000, "net": 0x40000000}
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18

PACKET_BYTES_MAX = 128 * 1024
CONNECTIONS_MAX = 16
ENCLOSE_LIMIT_S = 5.0
LOG_BYTES_MAX, LOG_BYTES_KEPT = 16 << 20, 64 << 10
"""What our processes write to standard output and error beyond this is thrown away, but for its end: on the host's disk
there is more than their logs."""
LOG_LOOK_MS = 100
HANDLES_PER_PACKET_MAX = 200
"""The kernel takes no more than 253 at once."""

Json = dict[str, Any]


class Refused(Exception):
    """A request that cannot be carried out; the text goes back to whoever asked."""


@dataclass
class Child:
    """A process that somebody wants to hear the end of: spawned on request, or adopted."""

    pid: int
    tag: str
    owner: "Connection | None"


@dataclass(eq=False)
class Connection:
    sock: socket.socket

    def send(self, message: Json, handles: list[int] | None = None) -> bool:
        """False when the other end is gone or does not read; process 1 waits for nobody."""
        try:
            socket.send_fds(self.sock, [json.dumps(message).encode()], handles or [])
        except OSError:
            return False
        return True


@dataclass
class House:
    """What process 1 knows; it has the same lifetime as what it looks after, so it is never stale."""

    name: str
    folder: str
    listener: socket.socket
    tie: socket.socket | None
    wake_read: int
    children: dict[int, Child] = field(default_factory=dict)
    connections: dict[int, Connection] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, None] = field(default_factory=dict)
    """Where our processes write to."""


def main() -> None:
    handover = socket.socket(fileno=int(sys.argv[1]))
    handover.set_inheritable(False)
    settings: Json = json.loads(sys.argv[2])
    os.umask(0o077)
    os.setsid()
    try:
        create(settings, handover)
    except OSError as error:
        tell_failure(handover, error)
        os._exit(1)
    os._exit(0)


def create(settings: Json, handover: socket.socket) -> None:
    """Make the namespaces, fork process 1 into them and hand it over. Returns in the shim only."""
    flags = 0
    for name in settings["namespaces"]:
        flags |= NAMESPACES[name]
    call("unshare", flags)
    pid = os.fork()
    if pid == 0:
        first_process(settings, handover)
    handle = os.pidfd_open(pid)
    socket.send_fds(handover, [json.dumps({"pid": pid}).encode()], [handle])


def first_process(settings: Json, handover: socket.socket) -> NoReturn:
    """Life of process 1."""
    try:
        furnish(settings)
        house = move_in(settings, handover)
        handover.send(json.dumps({"ready": True}).encode())
    except OSError as error:
        tell_failure(handover, error)
        os._exit(1)
    if house.tie is None:
        handover.close()
    while True:
        serve(house)


def tell_failure(handover: socket.socket, error: OSError) -> None:
    try:
        handover.send(json.dumps({"error": str(error)}).encode())
    except OSError:
        print(f"sandbox could not be made: {error}", file=sys.stderr)


# --- the inside of the namespaces -------------------------------------------------------------------------------


def furnish(settings: Json) -> None:
    """Own /proc, own /run (what is in `keep` stays visible), host name, loopback."""
    namespaces = settings["namespaces"]
    if "mnt" in namespaces:
        mount("none", "/", "", MS_REC | MS_PRIVATE)
    if "pid" in namespaces:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if settings.get("first_pid"):
        number_from(int(settings["first_pid"]))
    if settings.get("own_run"):
        own_run([os.path.realpath(path) for path in settings.get("keep", [])])
    if "uts" in namespaces:
        socket.sethostname(settings["name"])
    if "net" in namespaces:
        loopback_up()


def number_from(first: int) -> None:
    """Let process numbers begin here, so that a pid file of an earlier life names none of the present one's."""
    try:
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(first - 1))
    except OSError:
        return  # not in every kernel, and only a precaution


def own_run(keep: list[str]) -> None:
    """A fresh /run, as after a boot: pid files and sockets of one VM are not those of another."""
    kept = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY)) for path in keep if inside_run(path)]
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for path, opened in kept:
        os.makedirs(path, exist_ok=True)
        mount(f"/proc/self/fd/{opened}", path, "", MS_BIND | MS_REC)
        os.close(opened)


def inside_run(path: str) -> bool:
    return path.startswith("/run/")


def loopback_up() -> None:
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, get_flags, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack("16sh22x", request)[1]
        fcntl.ioctl(sock, set_flags, struct.pack("16sh22x", b"lo", flags | up))


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    call(
        "mount", source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None, about=target
    )


def call(name: str, *args: object, about: str = "") -> None:
    """A system call that Python has no function for."""
    libc = ctypes.CDLL(None, use_errno=True)
    converted = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in args]
    if getattr(libc, name)(*converted) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {about}: {os.strerror(number)}".replace(" :", ":"))


def move_in(settings: Json, handover: socket.socket) -> House:
    """Listen in our folder. The path is relative, because a socket's path has room for 107 bytes only."""
    os.chdir(settings["folder"])
    if os.path.exists("init.sock"):
        os.unlink("init.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("init.sock")
    listener.listen(CONNECTIONS_MAX)
    listener.setblocking(False)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    tie = handover if settings.get("bound") else None
    return House(settings["name"], settings["folder"], listener, tie, wake_read)


# --- serving ----------------------------------------------------------------------------------------------------


def serve(house: House) -> None:
    """Wait for one round of news and answer all of it."""
    poller = select.poll()
    fixed = [house.listener.fileno(), house.wake_read, *([house.tie.fileno()] if house.tie else [])]
    for number in [*fixed, *house.connections]:
        poller.register(number, select.POLLIN)
    for number, _events in poller.poll(LOG_LOOK_MS if house.logs else None):
        if number == house.listener.fileno():
            admit(house)
        elif number == house.wake_read:
            os.read(house.wake_read, 4096)
        elif house.tie is not None and number == house.tie.fileno():
            os._exit(0)  # whoever started a bound sandbox is gone
        else:
            hear(house, house.connections[number])
    reap(house)
    for log in house.logs:
        bound(log)


def bound(log: str) -> None:
    """Throw away what is too much. Those that write append, so they go on behind what is left."""
    try:
        found = os.lstat(log)
        if found.st_size <= LOG_BYTES_MAX or not stat.S_ISREG(found.st_mode):
            return
        opened = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        size = os.fstat(opened).st_size
        end = os.pread(opened, LOG_BYTES_KEPT, size - LOG_BYTES_KEPT)
        os.ftruncate(opened, 0)
        os.write(opened, f"[holdfast: {size - len(end)} bytes of output were thrown away here]\n".encode() + end)
    except OSError:
        return
    finally:
        os.close(opened)


def admit(house: House) -> None:
    try:
        sock, _address = house.listener.accept()
    except OSError:
        return
    sock.setblocking(False)
    if len(house.connections) >= CONNECTIONS_MAX:
        sock.close()
        return
    house.connections[sock.fileno()] = Connection(sock)


def dismiss(house: House, connection: Connection) -> None:
    house.connections.pop(connection.sock.fileno(), None)
    connection.sock.close()
    for child in house.children.values():
        if child.owner is connection:
            child.owner = None


def hear(house: House, connection: Connection) -> None:
    try:
        packet = connection.sock.recv(PACKET_BYTES_MAX)
    except BlockingIOError:
        return
    except OSError:
        packet = b""
    if not packet:
        dismiss(house, connection)
        return
    if not answer(house, connection, packet):
        dismiss(house, connection)


def answer(house: House, connection: Connection, packet: bytes) -> bool:
    """Carry one request out. False when the connection is of no more use."""
    number: object = None
    handles: list[int] = []
    try:
        request = json.loads(packet)
        number = request["id"]
        reply = OPERATIONS[request["op"]](house, connection, request, handles)
    except (Refused, OSError) as error:
        reply = {"error": str(error)}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        # Whoever finds our socket may say anything: it must not be the end of all that runs in here.
        reply = {"error": f"not understood: {error!r}"[:1000]}
    sent = connection.send({"id": number, **reply}, handles)
    for handle in handles:
        os.close(handle)
    return sent


def reap(house: House) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        child = house.children.pop(pid, None)
        if child is not None and child.owner is not None and not child.owner.send({"ended": pid, "status": status}):
            dismiss(house, child.owner)


# --- operations -------------------------------------------------------------------------------------------------


def describe(house: House, connection: Connection, request: Json, handles: list[int]) -> Json:
    """Everything directly below process 1, spawned or left to us by its parent; a handle of ourselves comes first.

    With `adopt` this connection hears of their end from now on.
    """
    handles.append(os.pidfd_open(os.getpid()))
    children: list[Json] = []
    for pid in own_children():
        if len(handles) == HANDLES_PER_PACKET_MAX:
            break
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
        known = house.children.get(pid) or Child(pid, "", None)
        if request.get("adopt"):
            house.children[pid] = Child(pid, known.tag, connection)
        children.append({"pid": pid, "tag": known.tag})
    return {"name": house.name, "children": children, "notes": house.notes}


def own_children() -> list[int]:
    """Living processes whose parent we are. (/proc/self/task/*/children is not in every kernel.)"""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if int(parent) == os.getpid() and state not in "ZX":
            found.append(int(entry))
    return found


def note(house: House, _connection: Connection, request: Json, _handles: list[int]) -> Json:
    """Remember something about what we look after, for the next one that connects."""
    house.notes.update(request["notes"])
    return {}


def kill(house: House, _connection: Connection, request: Json, _handles: list[int]) -> Json:
    """SIGKILL to a spawned process with its group."""
    pid = int(request["pid"])
    if pid in house.children:
        os.killpg(pid, signal.SIGKILL)
    return {}


def spawn(house: House, connection: Connection, request: Json, handles: list[int]) -> Json:
    """Start a program in a session of its own."""
    argv = [str(word) for word in request["argv"]]
    environment = {str(key): str(value) for key, value in request["env"].items()}
    if not argv:
        raise Refused("no command")
    broken_read, broken_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        become(argv, environment, request["cwd"], request["log"], broken_write)
    os.close(broken_write)
    trouble = os.read(broken_read, 4096)
    os.close(broken_read)
    if trouble:
        os.waitpid(pid, 0)
        raise Refused(trouble.decode())
    handles.append(os.pidfd_open(pid))
    house.logs[request["log"]] = None
    house.children[pid] = Child(pid, str(request.get("tag", "")), connection)
    return {"pid": pid}


def become(argv: list[str], environment: dict[str, str], folder: str, log: str, broken: int) -> NoReturn:
    """In the child: turn into the program, or say why not."""
    doing = argv[0]
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.umask(0o022)
        doing = folder
        os.chdir(folder)
        doing = log
        output = _output(log)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        doing = argv[0]
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        os.write(broken, f"{doing}: {os.strerror(error.errno or 0)}".encode())
    finally:
        os._exit(127)


def _output(log: str) -> int:
    """Of a program: it may run also where the disk takes no more of what it says."""
    try:
        return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO}:
            raise
        return os.open(os.devnull, os.O_WRONLY)


def enclose(house: House, _connection: Connection, request: Json, handles: list[int]) -> Json:
    """Make a capsule within this sandbox: a PID namespace of its own, everything else shared."""
    settings = {**request["settings"], "namespaces": ["pid", "mnt"]}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    shim = os.fork()
    if shim == 0:
        leave_house(house, settings, ours, theirs)
    theirs.close()
    with ours:
        ours.settimeout(ENCLOSE_LIMIT_S)
        for _packet in range(2):
            text, received, _flags, _address = socket.recv_fds(ours, 4096, 1)
            handles.extend(received)
            message = json.loads(text) if text else {"error": "ended too early"}
            if "error" in message:
                raise Refused(message["error"])
    return {}


def leave_house(house: House, settings: Json, ours: socket.socket, theirs: socket.socket) -> NoReturn:
    """In the child that becomes the capsule: keep nothing of the outer process 1."""
    signal.set_wakeup_fd(-1)
    kept_by_house = [house.listener, ours, *([house.tie] if house.tie else [])]
    for sock in [*kept_by_house, *(connection.sock for connection in house.connections.values())]:
        sock.close()
    os.close(house.wake_read)
    try:
        retitle(settings)
        create(settings, theirs)
    except OSError as error:
        tell_failure(theirs, error)
    except BaseException:  # noqa: BLE001 - it must not go up into the loop of the outer process 1
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def retitle(settings: Json) -> None:
    """Show our own settings in the list of processes in place of those of the sandbox we were forked from."""
    with open("/proc/self/cmdline", "rb") as words, open("/proc/self/stat") as stat:
        before = words.read().index(b"{")
        first, end = (int(number) for number in stat.read().rpartition(")")[2].split()[45:47])
    title = json.dumps(settings).encode()
    room = end - first - before
    if first > 0 and len(title) < room:
        ctypes.memmove(first + before, title.ljust(room, b"\0"), room)


OPERATIONS = {"describe": describe, "note": note, "kill": kill, "spawn": spawn, "enclose": enclose}

if __name__ == "__main__":
    main()
