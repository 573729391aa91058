"""A subscriber registry: a stateful network function, small and quick, to try Holdfast with.

In: text datagrams `<id> get <key>` and `<id> put <key> <value>`. Out: `<id> ok <owner> <epoch> [<value>]`,
`<id> none <owner> <epoch>` or `<id> refused <owner> <epoch> <reason>`, sent from the address that was asked.
What always holds: only the active one serves; a put is answered `ok` when it is as safe as `--state` says.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from holdfast import vnfc
from holdfast.errors import HoldfastError, UserError
from holdfast.lab.functions.registry_state import Checkpointed, InMemory, Keeping, Replicated, Subscribers
from holdfast.state.replication import Mode

State = Literal["replicated", "checkpoint", "none"]

USAGE = """usage: python -m holdfast.lab.functions.registry [OPTION VALUE]...
  --port 5300                 UDP port
  --state replicated          replicated | checkpoint | none
  --replication-port 7001     TCP port for standbys
  --replication synchronous   synchronous | periodic
  --replication-every 100ms   period of periodic replication
  --checkpoint-every 50ms     a duration, or `each` for every put
  --storage DIR               shared storage (else HOLDFAST_STORAGE)
  --start waiting             waiting (for a role) | serving (which is the default with --state checkpoint)
  --claim                     take the service's address oneself, whatever the agent says
  --interface eth0            where to take it
  --fail-active-if FILE       refuse to become active while FILE exists"""

DATAGRAM_BYTES_MAX = 1400
DATAGRAMS_A_TURN = 32
SOURCES_KEPT = 64
_IP_PKTINFO = 8  # the socket module has no name for it before Python 3.14
_ANCILLARY_BYTES = 64


@dataclass(frozen=True)
class Options:
    port: int = 5300
    state: State = "replicated"
    replication_port: int = 7001
    replication: Mode = "synchronous"
    replication_every_s: float = 0.1
    checkpoint_every_s: float | None = 0.05
    storage: str = ""
    starts_serving: bool = False
    claim: bool = False
    interface: str = "eth0"
    fail_active_if: str = ""


def options(words: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Options of the command line. Raises UserError."""
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        name = rest.pop(0)
        if name == "--claim":
            given[name] = "yes"
        elif f"  {name} " in USAGE and name.startswith("--") and rest:
            given[name] = rest.pop(0)
        else:
            raise UserError(f"unknown option or missing value: {name!r}", USAGE)
    state = cast(State, _choice(given, "--state", get_args(State)))
    every = given.get("--checkpoint-every", "50ms")
    start = _choice(given, "--start", ("serving", "waiting") if state == "checkpoint" else ("waiting", "serving"))
    return Options(
        port=_port(given, "--port", 5300),
        state=state,
        replication_port=_port(given, "--replication-port", 7001),
        replication=cast(Mode, _choice(given, "--replication", get_args(Mode))),
        replication_every_s=_seconds("--replication-every", given.get("--replication-every", "100ms")),
        checkpoint_every_s=None if every == "each" else _seconds("--checkpoint-every", every),
        storage=given.get("--storage", environment.get("HOLDFAST_STORAGE", "")),
        starts_serving=start == "serving",
        claim="--claim" in given,
        interface=given.get("--interface", "eth0"),
        fail_active_if=given.get("--fail-active-if", ""),
    )


def _choice(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = given.get(name, choices[0])
    if value not in choices:
        raise UserError(f"{name} is {value!r}", f"expected one of {', '.join(choices)}")
    return value


def _port(given: Mapping[str, str], name: str, default: int) -> int:
    value = given.get(name, str(default))
    if not (value.isascii() and value.isdigit() and int(value) < 65536):
        raise UserError(f"{name} is {value!r}", "expected a port number")
    return int(value)


def _seconds(name: str, text: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1.0)):
        number = text.removesuffix(unit)
        if number != text and number.isascii() and number.isdigit() and int(number) > 0:
            return int(number) * factor
    raise UserError(f"{name} is {text!r}", "expected a duration like 50ms or 1s")


class Door:
    """A UDP socket that answers from the address it was asked at, be it the service's or its own."""

    def __init__(self, family: socket.AddressFamily, port: int) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self._family = family
        self._sources: dict[bytes, list[tuple[int, int, bytes]]] = {}
        try:
            if family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                self.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            self.socket.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            self.socket.setblocking(False)
        except OSError as error:
            self.socket.close()
            raise UserError(f"cannot use UDP port {port}: {error.strerror}", "choose another with --port") from error

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def receive(self) -> tuple[bytes, list[tuple[int, int, bytes]], Any] | None:
        """The next request: what, where it was asked (for `send`), by whom."""
        try:
            data, ancillary, _, client = self.socket.recvmsg(DATAGRAM_BYTES_MAX + 1, _ANCILLARY_BYTES)
        except OSError:
            return None  # nothing there, or the news that an answer could not be delivered
        return data, self._source(ancillary), client

    def send(self, data: bytes, source: list[tuple[int, int, bytes]], client: Any) -> None:
        try:
            self.socket.sendmsg((data,), source, 0, client)
        except OSError:
            return  # the address was taken away since it was asked, or nobody takes the answer: as if lost on the way

    def _source(self, ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
        if not ancillary:
            return ancillary
        info = ancillary[0][2]
        source = self._sources.get(info)
        if source is None:
            if self._family == socket.AF_INET6:
                index = struct.unpack_from("=I", info, 16)[0] if info[:2] == b"\xfe\x80" else 0
                source = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info[:16] + struct.pack("=I", index))]
            else:
                source = [(socket.IPPROTO_IP, _IP_PKTINFO, b"\0\0\0\0" + info[4:8] + b"\0\0\0\0")]
            if len(self._sources) >= SOURCES_KEPT:
                self._sources.clear()
            self._sources[info] = source
        return source


class Registry(vnfc.Component):
    def __init__(self, chosen: Options) -> None:
        self.options = chosen
        self.subscribers = Subscribers()
        self.doors: list[Door] = []
        self._keeping: Keeping = InMemory(self.subscribers)
        self._is_alone = False
        self._claimed = ""
        self._signature = b""

    @property
    def keeping(self) -> Keeping:
        return self._keeping

    def start(self) -> None:
        chosen = self.options
        self._sign(self.epoch)
        if chosen.state == "checkpoint":
            if not chosen.storage:
                raise UserError("checkpoints need shared storage", "give --storage DIR or set HOLDFAST_STORAGE")
            folder = os.path.join(chosen.storage, "subscribers")
            checkpointed = Checkpointed(self, self.subscribers, folder, chosen.checkpoint_every_s)
            if chosen.starts_serving:
                checkpointed.claim(self.epoch)
            self._keeping = checkpointed
        elif chosen.state == "replicated":
            self._keeping = Replicated(
                self, self.subscribers, chosen.replication_port, chosen.replication, chosen.replication_every_s
            )
        self._is_alone = chosen.starts_serving
        self._open_doors()

    def stop(self) -> None:
        self._release()
        self._keeping.close()
        for door in self.doors:
            self.loop.forget(door.socket)
            door.socket.close()
        self.doors = []

    def become_active(self, role: vnfc.Role) -> None:
        if self.options.fail_active_if and os.path.exists(self.options.fail_active_if):
            raise vnfc.RoleFailed(f"{self.options.fail_active_if} exists")
        self._keeping.become_active(role)
        self._sign(role.epoch)
        if role.address and (role.claim or self.options.claim):
            self.take_address(role.address)
            self._claimed = role.address

    def become_standby(self, role: vnfc.Role) -> None:
        self._is_alone = False
        self._release()
        self._keeping.become_standby(role)
        self._sign(role.epoch)

    def quiesce(self, role: vnfc.Role) -> vnfc.Later | None:
        self._is_alone = False
        answer = role.outcome

        def quiesced(is_ok: bool, reason: str) -> None:
            if is_ok:
                self._release()
            answer(is_ok, reason)

        role.outcome = quiesced
        later = self._keeping.quiesce(role)
        if later is None:
            self._release()
        return later

    def check(self) -> str | None:
        return self._keeping.wrong()

    def position(self) -> vnfc.Position | None:
        return self._keeping.position()

    def recorded(self, standby: str) -> None:
        self._keeping.recorded(standby)

    def connected(self) -> None:
        self._keeping.connected()

    def _sign(self, epoch: int) -> None:
        self._signature = f" {self.name} {epoch}".encode()

    def _release(self) -> None:
        if self._claimed:
            self.leave_address(self._claimed)
            self._claimed = ""

    def take_address(self, address: str) -> None:
        vnfc.claim_address(address, self.options.interface, self.loop)

    def leave_address(self, address: str) -> None:
        vnfc.release_address(address, self.options.interface)

    def _open_doors(self) -> None:
        self.doors = [Door(socket.AF_INET, self.options.port)]
        if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"):
            self.doors.append(Door(socket.AF_INET6, self.doors[0].port))
        for door in self.doors:
            self.loop.on_readable(door.socket, lambda door=door: self._serve(door))  # type: ignore[misc]

    def _serve(self, door: Door) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            request = door.receive()
            if request is None:
                return
            data, source, client = request
            words = data.split()
            if len(words) < 2 or len(data) > DATAGRAM_BYTES_MAX:
                continue  # nobody can be told: there is no id to answer to
            answer = self._answer(door, words, source, client)
            if answer is not None:
                door.send(answer, source, client)

    def _answer(
        self, door: Door, words: list[bytes], source: list[tuple[int, int, bytes]], client: Any
    ) -> bytes | None:
        """The answer, None if it comes later."""
        number = words[0]
        if self.role != "active" and not self._is_alone:
            return number + b" refused" + self._signature + b" not-active"
        if self._keeping.wrong() is not None:
            return number + b" refused" + self._signature + b" unwell"
        if words[1] == b"get" and len(words) == 3:
            value = self.subscribers.values.get(words[2])
            if value is None:
                return number + b" none" + self._signature
            return number + b" ok" + self._signature + b" " + value
        if words[1] != b"put" or len(words) != 4:
            return number + b" refused" + self._signature + b" malformed"

        def done(is_safe: bool) -> None:
            # Where it is not known whether the put will hold, silence is the only true answer.
            if is_safe:
                door.send(number + b" ok" + self._signature, source, client)

        if self._keeping.put(words[2] + b" " + words[3], done):
            return None
        return number + b" refused" + self._signature + b" busy"


def main() -> None:
    if "--help" in sys.argv:
        print(USAGE)
        return
    try:
        chosen = options(sys.argv[1:], os.environ)
    except HoldfastError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        sys.exit(error.exit_status)
    vnfc.run(Registry(chosen))


if __name__ == "__main__":
    main()
