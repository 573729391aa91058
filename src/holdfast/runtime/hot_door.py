"""How an agent reaches the hot process of its host, as a contract; `SpawnedHot` is the kernel's way.

The hot process outlives its agent: one that is there already is found, else one is started, in a session of its own.
"""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holdfast.drivers.files import output_for
from holdfast.errors import HoldfastError, MachineLacks, UserError, WorldError
from holdfast.model.granting import VoterSet
from holdfast.runtime import voter_file
from holdfast.runtime.hot_link import connected
from holdfast.runtime.hot_words import PACKET_BYTES_MAX

CALL_AGAIN_S = 0.01

Heard = Callable[[bytes], None]
"""Gets each packet that arrives; an empty one says that the hot process is gone."""


class HotEnd(Protocol):
    """The agent's end of an open link."""

    def send(self, packet: bytes) -> None:
        """OSError when nobody takes it."""

    async def over(self) -> None:
        """Returns when the hot process is gone, and nothing of it is left."""

    def close(self) -> None: ...


class HotDoor(Protocol):
    async def reach(self, path: Path, settings: Path, log: Path, heard: Heard) -> HotEnd:
        """Connect to the hot process that listens at `path`; where none does, start one with these settings."""

    async def keep_voters(self, path: Path, voters: VoterSet) -> None:
        """As `voter_file.keep`, without holding up the caller's loop while the disk writes."""


class SpawnedHot:
    """A process of this machine."""

    async def reach(self, path: Path, settings: Path, log: Path, heard: Heard) -> HotEnd:
        try:
            return _PacketEnd(connected(path), heard)
        except OSError:
            before = log.stat().st_size if log.exists() else 0
            process = _spawn(settings, log)
        while True:
            try:
                return _PacketEnd(connected(path), heard, process)
            except OSError:
                if process.poll() is not None:
                    raise _ended(process.returncode, log, before) from None
                await asyncio.sleep(CALL_AGAIN_S)

    async def keep_voters(self, path: Path, voters: VoterSet) -> None:
        await asyncio.to_thread(voter_file.keep, path, voters)


def _ended(status: int, log: Path, before: int) -> HoldfastError:
    """What it said before it ended, as if we had said it."""
    said = log.read_bytes()[before:].decode(errors="replace")
    message, _, hint = said.rpartition("hint: ") if "hint: " in said else (said, "", "")
    words = message.strip().rpartition("\n")[2] or f"status {status}, without a word"
    kinds: dict[int, type[HoldfastError]] = {kind.exit_status: kind for kind in (UserError, MachineLacks)}
    return kinds.get(status, WorldError)(f"the hot process cannot start: {words}", hint.strip() or f"see {log}")


def _spawn(settings: Path, log: Path) -> "subprocess.Popen[bytes]":
    file = output_for(log)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "holdfast.runtime.hot_main", "--settings", str(settings), "--host", settings.stem],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    finally:
        os.close(file)


_PEER = struct.Struct("3i")
"""`struct ucred` of unix(7): process, user, group."""


class _PacketEnd:
    def __init__(self, opened: socket.socket, heard: Heard, child: "subprocess.Popen[bytes] | None" = None) -> None:
        """
        Args:
            child: the hot process, where it was started here.
        """
        self._child = child
        pid, _, _ = _PEER.unpack(opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        try:
            self._process: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._process = None  # The next read says so.
        self._socket = opened
        self._heard = heard
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._read)

    def _read(self) -> None:
        while self._is_open:
            try:
                packet = self._socket.recv(PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            self._heard(packet)
            if not packet:
                return

    def send(self, packet: bytes) -> None:
        self._socket.send(packet)

    async def over(self) -> None:
        if self._process is None:
            return
        gone = asyncio.Event()
        self._loop.add_reader(self._process, gone.set)
        try:
            await gone.wait()
        finally:
            self._loop.remove_reader(self._process)
        if self._child is not None:
            self._child.wait()

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            if self._process is not None:
                os.close(self._process)


SPAWNED_HOT = SpawnedHot()
