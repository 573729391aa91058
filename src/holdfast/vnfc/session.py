"""The connection of a component with its agent: kept up, and turned into calls of the component's methods.

In: lines of the agent. Out: calls, and the lines that answer them. What always holds: when the agent goes
away the component keeps its role and says hello with it as soon as the agent is back; an instruction that
comes twice is carried out once; one with an older epoch than was seen is refused.
"""

from __future__ import annotations

import sys
import traceback

from holdfast.errors import HoldfastError, PeerError
from holdfast.vnfc.component import Component, Later, Role
from holdfast.vnfc.loop import Loop
from holdfast.vnfc.sockets import Connection
from holdfast.wire.component import (
    VERSION,
    BecomeActive,
    BecomeStandby,
    Check,
    Failed,
    FromAgent,
    FromComponent,
    Hello,
    Ok,
    Quiesce,
    Recorded,
    Stop,
    Unwell,
    Welcome,
    encode,
    from_agent,
)

RETRY_S = 0.02
"""Pause between two attempts to reach the agent."""
UNSENT_BYTES_MAX = 64 * 1024
"""An agent that takes no more is taken for gone: the connection is made anew."""
READ_BYTES = 16 * 1024


class Session:
    def __init__(self, loop: Loop, component: Component, path: str) -> None:
        self._loop = loop
        self._component = component
        self._path = path
        self._socket: Connection | None = None
        self._welcomed = False
        self._connections = 0
        self._unsent = b""
        self._pending: Role | None = None
        self._pending_numbers: list[tuple[int, int]] = []
        """Connection and number of each request that waits for the pending role."""
        self._settled: Role | None = None
        """The last instruction that succeeded; the same one again is answered without being carried out again."""
        self._epoch_seen = 0

    @property
    def is_connected(self) -> bool:
        return self._welcomed

    def connect(self) -> None:
        """Reach for the agent, again and again until it is there."""
        try:
            opened = self._loop.sockets.reach(self._path)
        except (FileNotFoundError, ConnectionError, BlockingIOError):
            self._loop.call_later(RETRY_S, self.connect)
            return
        self._socket = opened
        self._connections += 1
        self._decoder = from_agent()
        self._loop.on_readable(opened, self._read)
        component = self._component
        role = component.role
        epoch = self._epoch_seen if role != "none" else 0
        self._write(Hello(component.name, VERSION, component.position(), role, component.service, epoch))

    def say(self, message: FromComponent) -> None:
        """Say it now; while the agent is away it is dropped, `Component.connected` is there to repeat it."""
        if self._welcomed:
            self._write(message)

    def close(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket.close()
            self._socket = None
        self._welcomed = False
        self._unsent = b""

    def _lost(self) -> None:
        self.close()
        self._loop.call_later(RETRY_S, self.connect)

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._lost()
            return
        try:
            messages = self._decoder.feed(data)
        except PeerError as error:
            print(f"agent: {error.message}", file=sys.stderr, flush=True)
            self._lost()
            return
        connection = self._connections
        for message in messages:
            if connection == self._connections:
                self._take(message)

    def _take(self, message: FromAgent) -> None:
        match message:
            case Welcome(version):
                if version != VERSION:
                    print(f"agent speaks version {version}, expected {VERSION}", file=sys.stderr, flush=True)
                    self._lost()
                    return
                self._welcomed = True
                self._component.connected()
            case Check(number):
                wrong = self._component.check()
                if wrong is None:
                    self._write(Ok(number, self._component.position()))
                else:
                    self._write(Unwell(wrong, number))
            case Recorded(number, standby):
                self._component.recorded(standby)
                self._write(Ok(number))
            case Stop(number):
                self._component.stop()
                self._write(Ok(number))
                self._loop.stop()
            case BecomeActive() | BecomeStandby() | Quiesce():
                self._instructed(message)

    def _instructed(self, message: BecomeActive | BecomeStandby | Quiesce) -> None:
        if message.epoch < self._epoch_seen:
            self._write(Failed(message.id, f"epoch {message.epoch} is older than {self._epoch_seen}"))
            return
        role = self._role(message)
        if self._pending is None and self._settled is not None and self._settled.asks_the_same(role):
            self._write(Ok(message.id, self._component.position()))
            return
        waiting = (self._connections, message.id)
        if self._pending is not None and self._pending.asks_the_same(role):
            self._pending_numbers.append(waiting)
            return
        self._settle_superseded()
        self._epoch_seen = role.epoch
        self._pending = role
        self._pending_numbers = [waiting]
        self._settled = None
        component = self._component
        act = {
            "active": component.become_active,
            "standby": component.become_standby,
            "quiescing": component.quiesce,
        }[role.kind]
        try:
            answer = act(role)
        except HoldfastError as error:
            self._settle(role, False, error.message)
        except Exception as error:  # noqa: BLE001 the author's code may raise anything; the agent decides what follows
            traceback.print_exc()
            self._settle(role, False, f"{type(error).__name__}: {error}")
        else:
            if not isinstance(answer, Later):
                self._settle(role, True, "")

    def _role(self, message: BecomeActive | BecomeStandby | Quiesce) -> Role:
        def outcome(is_ok: bool, reason: str) -> None:
            self._settle(role, is_ok, reason)

        match message:
            case BecomeActive(_, service, epoch, in_sync, address, claim):
                role = Role("active", service, epoch, outcome, in_sync=in_sync, address=address, claim=claim)
            case BecomeStandby(_, service, epoch, active, peer):
                role = Role("standby", service, epoch, outcome, active=active, peer=peer)
            case Quiesce(_, service, epoch):
                role = Role("quiescing", service, epoch, outcome)
        return role

    def _settle(self, role: Role, is_ok: bool, reason: str) -> None:
        """Answer everybody who waits for this role; an answer that is no longer asked for is dropped."""
        if role is not self._pending:
            return
        self._pending = None
        component = self._component
        if is_ok:
            component.role, component.service = role.kind, role.service
            self._settled = role
        for connection, number in self._pending_numbers:
            if connection == self._connections and self._welcomed:
                self._write(Ok(number, component.position()) if is_ok else Failed(number, reason))

    def _settle_superseded(self) -> None:
        if self._pending is not None:
            self._settle(self._pending, False, "another instruction came before it was done")

    def _write(self, message: FromComponent) -> None:
        if self._socket is None:
            return
        self._unsent += encode(message)
        self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self._lost()
            return
        self._unsent = self._unsent[sent:]
        if len(self._unsent) > UNSENT_BYTES_MAX:
            self._lost()
            return
        self._loop.on_writable(self._socket, self._flush if self._unsent else None)
