"""Hosts for the contract tests of the hot loop: namespaces joined by one or two bridges, a hot process in each.

Everything ends with the test, in whatever way: the sandboxes are bound to this process, and the bridges live in a
namespace that only a file descriptor keeps.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from holdfast.drivers import ports
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.nft import Nft
from holdfast.drivers.sandbox import Sandbox
from holdfast.model.names import HostName
from holdfast.runtime.hot_clock import now_ns
from holdfast.runtime.hot_link import connected
from holdfast.runtime.hot_words import (
    PACKET_BYTES_MAX,
    HotCommand,
    HotEvent,
    HotNetwork,
    HotPeer,
    HotSettings,
    event,
    packed,
)
from tests.contract.network import namespace

LIMIT_S = 60.0
MS = 1_000_000
ROOT = Path(__file__).resolve().parents[2]


class HotHost:
    """One host: its namespaces, its hot process, and the agent's end of the link, on which a test reads events."""

    def __init__(self, net: "HotNet", name: str, number: int) -> None:
        self.name = HostName(name)
        self.number = number
        self._net = net
        self.folder = net.folder / name
        self.sandbox = Sandbox.start(name, self.folder, namespaces=("pid", "net", "mnt"), bound=True)
        net.stack.callback(self._end)
        descriptor = self.sandbox.netns_fd
        self.netns_fd = descriptor
        net.stack.callback(os.close, descriptor)
        for place, bridge in enumerate(net.bridges):
            ports.make_port(
                net.netlink,
                bridge,
                self.port(place),
                descriptor,
                inner=f"eth{place}",
                addresses=[f"{self.address(place)}/24"],
            )

    def port(self, place: int) -> str:
        return f"hf-{self.name}{place}"

    def address(self, place: int) -> str:
        return f"10.77.{place}.{self.number}"

    def _end(self) -> None:
        self.sandbox.kill()
        assert self.sandbox.wait_gone(LIMIT_S)
        self.sandbox.close()

    def start(self) -> None:
        """Start the hot process, and connect to it as its agent."""
        net = self._net
        settings = HotSettings(
            cluster="test",
            me=self.name,
            networks=tuple(HotNetwork(f"net{n}", self.address(n)) for n in range(len(net.bridges))),
            peers={
                other.name: HotPeer(tuple(other.address(n) for n in range(len(net.bridges))))
                for other in net.hosts.values()
                if other is not self
            },
            heartbeat_ns=net.heartbeat_ns,
            key_file=str(net.key),
            socket=str(self.folder / "hot.sock"),
            pulse_ns=300 * MS,
        )
        path = self.folder / "settings.json"
        path.write_bytes(msgspec.json.encode(settings))
        self.log = self.folder / "hot.log"
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-m", *net.program, "--settings", str(path)]
        self.process = self.sandbox.spawn(argv, environment, ROOT, self.log)
        net.stack.callback(self.process.close)

    def connect(self) -> None:
        self.link = net_link(self.folder / "hot.sock", self.log)
        self._net.stack.enter_context(self.link)

    def signal(self, number: int) -> int:
        """Send it to the hot process; answers when."""
        at_ns = now_ns()
        signal.pidfd_send_signal(self.process.pidfd, number)
        return at_ns

    def tell(self, command: HotCommand) -> None:
        self.link.send(packed(command))

    def next(self) -> HotEvent:
        return event(self.link.recv(PACKET_BYTES_MAX))

    def until(self, is_it: Callable[[HotEvent], bool]) -> list[HotEvent]:
        """Events up to the one that is meant, which is the last."""
        seen: list[HotEvent] = []
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            seen.append(self.next())
            if is_it(seen[-1]):
                return seen
        raise AssertionError(f"{self.name}: not seen within {LIMIT_S:g} s; the last was {seen[-1]}")


class HotNet:
    """The hosts, and ways to cut them off from one another."""

    def __init__(
        self, stack: ExitStack, folder: Path, *, networks: int = 1, heartbeat_ns: int, program: list[str]
    ) -> None:
        self.stack = stack
        self.folder = folder
        self.heartbeat_ns = heartbeat_ns
        self.program = program
        self.key = folder / "key"
        self.key.write_bytes(os.urandom(32))
        self.key.chmod(0o600)
        self.middle = namespace(stack)
        self.netlink = stack.enter_context(Netlink.open(self.middle))
        self.bridges = [f"br{n}" for n in range(networks)]
        for bridge in self.bridges:
            ports.make_bridge(self.netlink, bridge)
        self.hosts: dict[str, HotHost] = {}
        for number, name in enumerate("abc", 11):
            self.hosts[name] = HotHost(self, name, number)
        for host in self.hosts.values():
            host.start()
        for host in self.hosts.values():
            host.connect()

    def cut(self, name: str, place: int = 0) -> int:
        """Nothing passes this host's port any more; answers when."""
        at_ns = now_ns()
        self.netlink.down(self.hosts[name].port(place))
        return at_ns

    def heal(self, name: str, place: int = 0) -> None:
        self.netlink.up(self.hosts[name].port(place))

    def deafen(self, receiver: str, sender: str) -> int:
        """What `sender` sends does not reach `receiver`, on any network; answers when."""
        filter_ = self.stack.enter_context(Nft(self.hosts[receiver].netns_fd))
        source = self.hosts[sender]
        sources = ", ".join(source.address(place) for place in range(len(self.bridges)))
        at_ns = now_ns()
        filter_.run(
            "add table inet cut; add chain inet cut input { type filter hook input priority -300; }; "
            f"add rule inet cut input ip saddr {{ {sources} }} drop"
        )
        return at_ns

    def hear(self, receiver: str) -> None:
        """Everything reaches `receiver` again."""
        self.stack.enter_context(Nft(self.hosts[receiver].netns_fd)).run("delete table inet cut")


def net_link(path: Path, log: Path) -> socket.socket:
    """Connect as soon as it listens."""
    end = time.monotonic() + LIMIT_S
    while True:
        try:
            return connected(path, LIMIT_S)
        except OSError:
            if time.monotonic() > end:
                raise AssertionError(f"{path} does not listen: {log.read_text()}") from None
            os.sched_yield()
