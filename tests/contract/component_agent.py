"""An agent as components see it, for tests: the component protocol over a real UNIX socket, and nothing behind it.

Components, agent and clients share one loop, which `until` turns until something is the case.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.vnfc import Component, Loop, prepare
from holdfast.wire.component import (
    BecomeActive,
    BecomeStandby,
    Check,
    Decoder,
    Failed,
    FromComponent,
    Hello,
    Lost,
    Ok,
    Quiesce,
    Recorded,
    Request,
    Stop,
    Synced,
    Unwell,
    Welcome,
    encode,
    from_component,
)

LIMIT_S = 30.0


class Conversation:
    """One component as its agent knows it."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.hellos = 0
        self.answers: dict[int, Ok | Failed | Unwell] = {}
        self.told: list[Lost | Synced | Unwell] = []
        self.connection: socket.socket | None = None


class Agent:
    def __init__(self, loop: Loop, path: str) -> None:
        self.loop = loop
        self.path = path
        self.components: dict[str, Conversation] = {}
        self._number = 0
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self.loop.on_readable(self._listener, self._accept)

    def close(self) -> None:
        """As an agent that is killed: its socket's file stays."""
        if self._listener is not None:
            self.loop.forget(self._listener)
            self._listener.close()
            self._listener = None
        for conversation in self.components.values():
            self._hang_up(conversation)

    def reopen(self) -> None:
        os.unlink(self.path)
        self.open()

    def until(self, is_so: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Turn the loop until something is so."""
        until(self.loop, is_so, limit_s)

    def joined(self, name: str) -> Conversation:
        """The component, once it has said hello."""
        self.until(lambda: name in self.components)
        return self.components[name]

    def ask(self, name: str, make: Callable[[int], Request]) -> Callable[[], Ok | Failed | Unwell | None]:
        """Send a request; what is returned gives the answer once it is there."""
        self._number += 1
        number = self._number
        conversation = self.components[name]
        assert conversation.connection is not None
        conversation.connection.send(encode(make(number)))
        return lambda: conversation.answers.get(number)

    def answer(self, name: str, make: Callable[[int], Request]) -> Ok | Failed | Unwell:
        """Send a request and wait for its answer."""
        answer = self.ask(name, make)
        self.until(lambda: answer() is not None)
        found = answer()
        assert found is not None
        return found

    def active(
        self, name: str, epoch: int, *in_sync: str, address: str = "", claim: bool = False
    ) -> Ok | Failed | Unwell:
        return self.answer(name, lambda n: BecomeActive(n, "registry", epoch, in_sync, address, claim))

    def standby(self, name: str, epoch: int, active: str, peer: str = "") -> Ok | Failed | Unwell:
        return self.answer(name, lambda n: BecomeStandby(n, "registry", epoch, active, peer))

    def quiesce(self, name: str, epoch: int) -> Ok | Failed | Unwell:
        return self.answer(name, lambda n: Quiesce(n, "registry", epoch))

    def check(self, name: str) -> Ok | Failed | Unwell:
        return self.answer(name, Check)

    def recorded(self, name: str, standby: str) -> Ok | Failed | Unwell:
        return self.answer(name, lambda n: Recorded(n, standby))

    def stop(self, name: str) -> Ok | Failed | Unwell:
        return self.answer(name, Stop)

    def _accept(self) -> None:
        assert self._listener is not None
        connection, _ = self._listener.accept()
        self.loop.on_readable(connection, lambda: self._read(connection, decoder))
        decoder = from_component()

    def _read(self, connection: socket.socket, decoder: Decoder[FromComponent]) -> None:
        data = connection.recv(65536)
        if not data:
            self.loop.forget(connection)
            connection.close()
            return
        for message in decoder.feed(data):
            self._take(connection, message)

    def _take(self, connection: socket.socket, message: FromComponent) -> None:
        if isinstance(message, Hello):
            conversation = self.components.setdefault(message.name, Conversation())
            self._hang_up(conversation)
            conversation.hello, conversation.connection = message, connection
            conversation.hellos += 1
            connection.send(encode(Welcome()))
            return
        [conversation] = [known for known in self.components.values() if known.connection is connection]
        if isinstance(message, Lost | Synced) or (isinstance(message, Unwell) and message.id is None):
            conversation.told.append(message)
        else:
            conversation.answers[message.id or 0] = message

    def _hang_up(self, conversation: Conversation) -> None:
        if conversation.connection is not None and conversation.connection.fileno() >= 0:
            self.loop.forget(conversation.connection)
            conversation.connection.close()
        conversation.connection = None


def until(loop: Loop, is_so: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    ends = loop.now() + limit_s
    while not is_so():
        assert loop.now() < ends, f"not so within {limit_s} s"
        loop.turn(0.05)


class Stage:
    """An agent and components in one loop."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.loop = Loop()
        self.agent = Agent(self.loop, os.path.join(folder, "agent.sock"))
        self.components: list[Component] = []

    def begin(self, component: Component, name: str, **environment: str) -> None:
        """Start a component as `run` does, in our loop."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        given = {"HOLDFAST_VNFC": name, "HOLDFAST_SOCKET": self.agent.path, "HOLDFAST_DIR": folder} | environment
        prepare(component, given, self.loop)
        component.start()
        self.components.append(component)
        assert component.session is not None
        component.session.connect()
        before = self.agent.components[name].hellos if name in self.agent.components else 0
        self.agent.until(lambda: name in self.agent.components and self.agent.components[name].hellos > before)

    def end(self, component: Component) -> None:
        """As `run` does at the end. What the component has on disk stays."""
        component.stop()
        assert component.session is not None
        component.session.close()
        self.components.remove(component)


@contextmanager
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="hf") as folder:  # short: the path of a UNIX socket has 107 bytes
        made = Stage(folder)
        try:
            yield made
        finally:
            for component in list(made.components):
                made.end(component)
            made.agent.close()
            made.loop.close()
