"""The power switch of the lab: what its fence device speaks to, with the faults that such devices have.

In:   a line for each connection: action (on, off, status), host, level of the device, mode, delay in milliseconds.
Out:  `ok` or `failed ...`; for status `on` or `off`.
Always: a mode set here (by a step of a scenario) goes before the one that the descriptor gives to the device.
"""

import socket
import threading
from pathlib import Path
from typing import IO, Literal, Protocol, get_args

from holdfast.errors import WorldError
from holdfast.model.names import HostName

FenceMode = Literal["works", "slow", "lies", "lies-fully", "hangs", "stays-off"]
"""slow: answers after its delay; lies: says that it is done and does nothing, but tells the status as it is;
lies-fully: tells the status as it should be; hangs: answers nothing;
stays-off: switches off, and cannot switch on."""
MODES: tuple[str, ...] = get_args(FenceMode)


class Powered(Protocol):
    """Whose hosts are switched."""

    def switch_on(self, name: HostName) -> None: ...

    def switch_off(self, name: HostName) -> None: ...

    def is_on(self, name: HostName) -> bool: ...


class PowerSwitch:
    """All fence devices of a world."""

    def __init__(self, path: Path, world: Powered) -> None:
        self._path = path
        self._world = world
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, name="power-switch", daemon=True)
        self._one_at_a_time = threading.Lock()
        self._ends = threading.Event()
        self._modes: dict[tuple[str, str], str] = {}
        self._claimed: dict[tuple[str, str], str] = {}
        """What a device that lies fully says of its host."""

    def start(self) -> None:
        self._sock.bind(str(self._path))
        self._sock.listen(16)
        self._thread.start()

    def set_mode(self, host: HostName, mode: str, level: str = "") -> None:
        """For one level of the host's devices, or for all."""
        if mode not in MODES:
            raise WorldError(f"a fence device has no mode {mode!r}", f"expected one of {', '.join(MODES)}")
        if not level:
            self._modes = {key: known for key, known in self._modes.items() if key[0] != host}
        self._modes[host, level] = mode

    def stop(self) -> None:
        self._ends.set()
        if self._thread.ident is None:  # never started
            self._sock.close()
            return
        # Shutting down wakes the accepting thread; closing alone would not.
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()

    def _serve(self) -> None:
        answering: list[threading.Thread] = []
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                break
            # One that hangs holds up no other.
            answering = [thread for thread in answering if thread.is_alive()]
            answering.append(threading.Thread(target=self._converse, args=(connection,), daemon=True))
            answering[-1].start()
        for thread in answering:
            thread.join()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rw") as words:
                self._answer(words)
        except OSError:
            return  # Its fence agent was given up, and has ended.

    def _answer(self, words: IO[str]) -> None:
        fields = words.readline().split()
        if len(fields) != 5:
            return
        action, plug, level, mode, delay_ms = fields
        mode = self._modes.get((plug, level)) or self._modes.get((plug, "")) or mode
        if mode == "hangs":
            self._ends.wait()
            return
        if mode == "slow" and self._ends.wait(int(delay_ms) / 1000):
            return
        words.write(f"{self._acted(action, HostName(plug), level, mode)}\n")
        words.flush()

    def _acted(self, action: str, host: HostName, level: str, mode: str) -> str:
        with self._one_at_a_time:
            if action == "status":
                truth = "on" if self._world.is_on(host) else "off"
                return self._claimed.get((host, level), truth) if mode == "lies-fully" else truth
            self._claimed[host, level] = action
            if (mode, action) == ("stays-off", "on"):
                return "failed: the machine does not come on"
            if mode in ("lies", "lies-fully"):
                return "ok"
            try:
                (self._world.switch_on if action == "on" else self._world.switch_off)(host)
            except WorldError as error:
                return f"failed {error}"
            return "ok"
