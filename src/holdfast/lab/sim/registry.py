"""The registry of the lab as a simulated program: its own code, its state library, requests from the simulated network.

In:   requests at its VM, by `SimDoor`. Out: answers to whoever asked.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import WorldError
from holdfast.lab.functions.registry import Registry, options
from holdfast.lab.sim.client import Request
from holdfast.lab.sim.component import ComponentLoop, SimSocket
from holdfast.lab.sim.network import Interface
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.programs import Program, Running
from holdfast.lab.sim.streams import Exchange
from holdfast.lab.sim.window import plain
from holdfast.vnfc.process import prepare

DATAGRAMS_MAX = 500
MODULE = "holdfast.lab.functions.registry"


class SimDoor:
    """Where a function's requests arrive; in place of its UDP socket."""

    def __init__(self, loop: ComponentLoop, port: int) -> None:
        self.socket = SimSocket(loop)
        self.port = port
        self._waiting: deque[Request] = deque()
        self._loop = loop

    def put(self, request: Request) -> None:
        if len(self._waiting) < DATAGRAMS_MAX:
            self._waiting.append(request)
            self.socket.received = bytearray(b".")  # Something is there.
            self._loop.look()

    def receive(self) -> tuple[bytes, str, Any] | None:
        if not self._waiting:
            self.socket.received = bytearray()
            return None
        request = self._waiting.popleft()
        return request.data, request.asked_at, request

    def send(self, data: bytes, source: str, client: Any) -> None:
        client.answer(data, source)


class SimRegistry(Registry):
    """With the simulated network in place of the sockets for requests."""

    running: Running | None = None
    """Where an agent has started it."""

    def _open_doors(self) -> None:
        loop = self.loop
        assert isinstance(loop, ComponentLoop)
        door: Any = SimDoor(loop, self.options.port)
        self.doors = [door]
        loop.on_readable(door.socket, lambda: self._serve(door))

    def take_address(self, address: str) -> None:
        """Announced once: the agent announces again when it has seen the address there."""
        running, interface = self._interface()
        interface.addresses[plain(address)] = address
        running.host.network.announce(interface, plain(address))

    def leave_address(self, address: str) -> None:
        _running, interface = self._interface()
        interface.addresses.pop(plain(address), None)

    def _interface(self) -> tuple[Running, Interface]:
        running = self.running
        interface = running.init.namespace.interface if running is not None else None
        if running is None or interface is None:
            raise WorldError(f"there is no interface {self.options.interface}")
        return running, interface


def start_registry(
    process: Process,
    exchange: Exchange,
    host: str,
    addresses: tuple[str, ...],
    words: Sequence[str],
    environment: Mapping[str, str],
) -> SimRegistry:
    """Run the registry in that process; its door is `doors[0]` from then on."""
    loop = ComponentLoop(process, exchange, host, addresses)
    component = SimRegistry(options(words, environment))

    def begin() -> None:
        prepare(component, environment, loop)
        component.start()
        if component.session is not None:
            component.session.connect()

    # The kernel closes the files of a process that ends, and its locks go with them.
    process.when_over(lambda: component.keeping.let_go())
    loop.call_soon(begin)
    return component


def registry_program(exchange: Exchange) -> Program:
    """`python -m holdfast.lab.functions.registry OPTION…`, found by the name of its module."""

    def begin(running: Running) -> None:
        words = running.argv[running.argv.index(MODULE) + 1 :]
        addresses = tuple(filter(exchange.is_fixed, running.addresses))
        component = start_registry(running.process, exchange, running.host.name, addresses, words, running.env)

        component.running = running

        def asked(request: Request) -> None:
            for door in component.doors:
                door.put(request)  # type: ignore[attr-defined]

        running.open_door(component.options.port, asked)

    return begin
