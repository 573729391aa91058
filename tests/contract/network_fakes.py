"""Fakes of the network drivers, for tests of what uses them.

They touch nothing of the machine; the contract tests run on them as on the real drivers.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from holdfast.errors import UserError, WorldError


@dataclass
class FakeZone:
    """A zone in the mind: `exists` False is a VM whose interface is gone."""

    interface: str = "eth0"
    own: tuple[str, ...] = ()
    exists: bool = True
    held: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)


class FakeAddresses:
    """The functions of holdfast.drivers.addresses on a FakeZone."""

    def assign(self, zone: FakeZone, address: str) -> None:
        wanted = str(_parsed(address))
        if not zone.exists:
            raise WorldError(f"cannot assign {wanted} to interface {zone.interface}: it is not there")
        if not self.holds(zone, address):
            zone.held.append(wanted)
        self.announce(zone, address)

    def withdraw(self, zone: FakeZone, address: str) -> None:
        unwanted = _parsed(address)
        zone.held = [held for held in zone.held if ip_interface(held).ip != unwanted.ip]

    def announce(self, zone: FakeZone, address: str) -> None:
        if not zone.exists:
            raise WorldError(f"cannot announce {_parsed(address).ip} on interface {zone.interface}: it is not there")
        zone.announced.append(str(_parsed(address).ip))

    def held(self, zone: FakeZone) -> frozenset[str]:
        if not zone.exists:
            raise WorldError(f"cannot find interface {zone.interface}: it is not there")
        return frozenset(zone.own) | frozenset(zone.held)

    def holds(self, zone: FakeZone, address: str) -> bool:
        return any(ip_interface(held).ip == _parsed(address).ip for held in self.held(zone))


class FakeGate:
    """holdfast.drivers.gate.Gate in the mind."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = {str(_parsed(service).ip) for service in services if service}
        self._open: dict[str, set[str]] = {}

    def guard(self, port: str) -> None:
        self._open[port] = set()

    def unguard(self, port: str) -> None:
        self._open.pop(port, None)

    def open(self, port: str, address: str) -> None:
        self._gate_of(port).add(self._declared(address))

    def shut(self, port: str, address: str) -> None:
        self._open.get(port, set()).discard(self._declared(address))

    def opened(self, port: str) -> frozenset[str]:
        return frozenset(self._gate_of(port))

    def guarded(self) -> frozenset[str]:
        return frozenset(self._open)

    def close_table(self) -> None:
        self._open.clear()

    def close(self) -> None:
        """Nothing is held."""

    def _gate_of(self, port: str) -> set[str]:
        if port not in self._open:
            raise WorldError(f"port {port} has no gate")
        return self._open[port]

    def _declared(self, address: str) -> str:
        service = str(_parsed(address).ip)
        if service not in self._services:
            raise WorldError(f"{service} is no declared service address, so no gate keeps it")
        return service


def _parsed(address: str) -> IPv4Interface | IPv6Interface:
    try:
        return ip_interface(address)
    except ValueError as error:
        raise UserError(f"{address!r} is not an address with prefix length") from error
