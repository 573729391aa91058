"""What the kernel of a simulated machine forwards and answers: bridges, ports of VMs, their gates, addresses.

In:   what an agent does to them (premises_network.py); the windows of its hot process; questions from the network.
Out:  who answers for an address at this instant; requests, put to the component behind it; announcements.
Always: an address answers iff it is on an interface, the port before that lets things pass, every gate on the port is
open for it, and the window that keeps bridge or port lets it. A VM's interface lives as long as a process in the VM,
or a zone of a living agent; what stays then is what the agent has not taken away.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from holdfast.drivers.ports import mac_of
from holdfast.lab.sim.client import Request
from holdfast.lab.sim.timeline import Timeline
from holdfast.lab.sim.window import SimWindow

VANISHES_NS = (1_000_000, 10_000_000)
"""From the last user of a network namespace to the end of its interface."""

Door = Callable[[Request], None]


class Interface:
    """Carries addresses: a bridge, or the inner end of a VM's port."""

    __slots__ = ("addresses", "is_there", "mac", "name", "port")

    def __init__(self, name: str, mac: str, port: "Port | None" = None) -> None:
        self.name = name
        self.mac = mac
        self.port = port
        """None: it is a bridge."""
        self.addresses: dict[str, str] = {}
        """Without prefix length → with it."""
        self.is_there = True


class Namespace:
    """The network of a VM, or of the machine itself."""

    def __init__(self, network: "SimNetwork") -> None:
        self.doors: dict[int, Door] = {}
        """Who takes datagrams, by port."""
        self.interface: Interface | None = None
        """Of a VM; the machine's own are bridges."""
        self._network = network
        self._users = 0

    def use(self) -> None:
        self._users += 1

    def leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            chance = self._network.timeline.chance
            self._network.timeline.after(chance.randint(*VANISHES_NS), self._vanish)

    def _vanish(self) -> None:
        if self._users == 0 and self.interface is not None and self.interface.port is not None:
            self._network.remove(self.interface.port)


class Port:
    """A VM's, at a bridge."""

    __slots__ = ("bridge", "inner", "is_up", "name", "namespace")

    def __init__(self, name: str, namespace: Namespace, inner_name: str, inner_mac: str) -> None:
        self.name = name
        self.namespace = namespace
        self.inner = Interface(inner_name, inner_mac, self)
        self.bridge = ""
        """That it is on, if any."""
        self.is_up = False


class GateTable:
    """The gates of one agent."""

    __slots__ = ("declared", "opened")

    def __init__(self) -> None:
        self.declared: set[str] = set()
        self.opened: dict[str, set[str]] = {}
        """By port, which has a gate iff it is in here."""


class SimNetwork:
    """Of one machine, since it was switched on."""

    def __init__(
        self, timeline: Timeline, windows: Mapping[str, SimWindow], changed: Callable[[], None] = lambda: None
    ) -> None:
        """
        Args:
            windows: in the kernel, by the bridge or port that they keep.
            changed: told when an address may be answered that was not before.
        """
        self.changed = changed
        self.timeline = timeline
        self._windows = windows
        self.announced: Callable[[str, str], None] = _unheard
        """Told of each announcement that gets out: address and MAC."""
        self.clear()

    def clear(self) -> None:
        """As after a cold start."""
        self.bridges: dict[str, Interface] = {}
        self.ports: dict[str, Port] = {}
        self.tables: dict[str, GateTable] = {}
        self.own = Namespace(self)

    # --- what an agent does to it

    def make_bridge(self, name: str, own: Sequence[tuple[str, str]]) -> None:
        """With the machine's own addresses there (without prefix length, with it), unless it is there already."""
        if name not in self.bridges:
            mac = mac_of("bridge", name, *(address for _plain, address in own)).hex(":")
            self.bridges[name] = Interface(name, mac)
        self.bridges[name].addresses.update(own)

    def add(self, port: Port) -> None:
        """Instead of any of that name."""
        before = self.ports.get(port.name)
        if before is not None:
            self.remove(before)
        self.ports[port.name] = port
        port.namespace.interface = port.inner

    def remove(self, port: Port) -> None:
        port.is_up = False
        port.inner.is_there = False
        port.inner.addresses.clear()
        if port.namespace.interface is port.inner:
            port.namespace.interface = None
        if self.ports.get(port.name) is port:
            del self.ports[port.name]

    def announce(self, interface: Interface, address: str) -> None:
        if self.lets(interface, address):
            self.announced(address, interface.mac)

    # --- what the network asks

    def owners(self, address: str) -> list[str]:
        """The MACs that answer a question for the address (without prefix length) at this instant."""
        return [
            interface.mac
            for interface in self._interfaces()
            if address in interface.addresses and self.lets(interface, address)
        ]

    def deliver(self, mac: str, port: int, request: Request) -> None:
        """A request has arrived for that MAC; dropped where nobody takes it."""
        for interface in self._interfaces():
            if interface.mac == mac and request.asked_at in interface.addresses:
                namespace = interface.port.namespace if interface.port is not None else self.own
                door = namespace.doors.get(port)
                if door is not None and self.lets(interface, request.asked_at):
                    door(Request(request.data, request.asked_at, self._way_back(interface, request)))

    def _way_back(self, interface: Interface, request: Request) -> Callable[[bytes, str], None]:
        """An answer passes as the request did: what was taken away or shut meanwhile lets it get lost."""

        def answer(data: bytes, source: str) -> None:
            if source in interface.addresses and self.lets(interface, source):
                request.answer(data, source)

        return answer

    def lets(self, interface: Interface, address: str) -> bool:
        """Whether what is about the address may pass between the interface and everybody else."""
        port = interface.port
        if port is None:
            window = self._windows.get(interface.name)
            return interface.is_there and (window is None or not window.keeps(address) or window.lets(address))
        if not port.is_up or port.bridge not in self.bridges:
            return False
        window = self._windows.get(port.name)
        if window is not None and window.keeps(address) and not window.lets(address):
            return False
        for table in self.tables.values():
            opened = table.opened.get(port.name)
            if opened is not None and address in table.declared and address not in opened:
                return False
        return True

    def _interfaces(self) -> Iterator[Interface]:
        yield from self.bridges.values()
        for port in self.ports.values():
            yield port.inner


def _unheard(address: str, mac: str) -> None:
    return
