"""Mistakes that only late messages show, and the sessions of agents, which keep late messages away from the grants.

Without sessions alone nothing goes wrong: the grants' own rules suffice. So these are planted together with that.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from holdfast.core import ha_planning, ha_roles
from holdfast.core.ha_turn import Turn
from holdfast.core.suspicion import Suspicion
from holdfast.model.names import GroupName, ServiceName, VnfcName
from holdfast.runtime.hot_grants import GrantRider
from holdfast.wire import datagrams
from holdfast.wire.datagrams import DATA, MAC_BYTES, Datagrams, Opened
from tests.plants.planting import Ground, Guard


class Older(int):
    """A life whose datagrams no session takes any more, or takes no more of."""


def without_sessions(ground: Ground) -> None:
    """Grants hear whatever is authentic. Suspicion goes by sessions as before: it is not what is planted here."""
    ground.around(Datagrams, "open", _open_anything)
    ground.around(Suspicion, "receive", _receive_nothing_older)
    ground.around(GrantRider, "received", _of_any_life)


def _open_anything(right: Callable[..., Any]) -> Callable[..., Any]:
    def open_(self: Datagrams, datagram: bytes, network: int, now_ns: int = 0) -> Opened | None:
        opened: Opened | None = right(self, datagram, network, now_ns)
        return opened if opened is not None else _late(self, datagram)

    return open_


def _late(self: Datagrams, datagram: bytes) -> Opened | None:
    if len(datagram) < datagrams._HEAD.size + MAC_BYTES:
        return None
    _, kind, _, sender, receiver, life, _, _ = datagrams._HEAD.unpack_from(datagram)
    text, peer = datagram[:-MAC_BYTES], self._names.get(sender)
    is_ours = kind == DATA and receiver == self._me and self._is_authentic(text, datagram[-MAC_BYTES:])
    return Opened(peer, Older(life), text[datagrams._HEAD.size :]) if is_ours and peer is not None else None


def _of_any_life(right: Callable[..., None]) -> Callable[..., None]:
    def received(self: GrantRider, peer: Any, incarnation: int, *more: Any) -> None:
        right(self, peer, int(incarnation), *more)

    return received


def _receive_nothing_older(right: Callable[..., None]) -> Callable[..., None]:
    def receive(self: Suspicion, peer: Any, network: int, incarnation: int, *more: Any) -> None:
        if not isinstance(incarnation, Older):
            right(self, peer, network, incarnation, *more)

    return receive


SESSIONS = Guard(
    "sessions, which refuse what is from or for a former life, or older than what has come",
    "wire/datagrams",
    without_sessions,
)


def resumed(ground: Ground) -> None:
    """A VNFC that had a service is started again under the number of before, and gets the service under that."""
    ground.around(ha_planning, "_start", _start_as_before)
    ground.around(ha_roles, "epoch_floor", _floor_of_others)


def _start_as_before(right: Callable[..., None]) -> Callable[..., None]:
    def start(turn: Turn, group: GroupName, name: VnfcName) -> None:
        before = turn.vnfc(name).epoch
        right(turn, group, name)
        if any((one.last, one.epoch) == (name, before) for one in turn.groups[group].services.values()):
            turn.put(name, replace(turn.vnfc(name), epoch=before))

    return start


def _floor_of_others(right: Callable[..., int]) -> Callable[..., int]:
    def floor(turn: Turn, name: ServiceName) -> int:
        service = turn.service(name)
        resumes = service.last is not None and turn.vnfc(service.last).epoch == service.epoch
        return service.epoch - 1 if resumes else right(turn, name)

    return floor
