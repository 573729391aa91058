"""What all machines of a simulated world share: time, networks, places, the store, the deployment, and what went wrong.

In:   a layout, a seed, a folder for the machines' disks.
Out:  the parts that machines (`node.py`) are made of.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from holdfast.lab.members import BESIDE, store_members
from holdfast.lab.sim.clocks import Clock
from holdfast.lab.sim.etcd import Etcd
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.hot import Ether, HotProcesses
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.programs import Programs
from holdfast.lab.sim.registry import MODULE, registry_program
from holdfast.lab.sim.stateless import DNSMASQ, NGINX_AGENT, dnsmasq_program, nginx_program
from holdfast.lab.sim.streams import Exchange
from holdfast.lab.sim.timeline import Timeline
from holdfast.lab.sim.window import plain
from holdfast.model.layout import NETWORKS, Layout
from holdfast.model.names import HostName, VnfName
from holdfast.runtime.folder import RunFolder
from holdfast.store.etcd_target import CLIENT_PORT, Endpoint

NS = 1_000_000_000
WALL_S = 1_800_000_000.0
"""Where the calendar of the simulated world begins; nothing depends on it."""
KEY = b"the key of a simulated deployment"[:32]
FIRST = NETWORKS[0]
UPTIME_NS = 77 * NS
BESIDE_ADDRESS = "10.77.0.251"


class Trouble(NamedTuple):
    """Something that should not have happened whatever the faults."""

    at_ns: int
    process: str
    text: str


class Site:
    """One deployment on simulated machines."""

    def __init__(self, layout: Layout, seed: int, root: Path) -> None:
        self.layout = layout
        self.root = root
        self.timeline = Timeline(seed)
        self.is_one_machine = layout.grants is None
        """Its hosts have one clock, one disk, and reach each other at paths."""
        self._clock = Clock(self.timeline, UPTIME_NS) if self.is_one_machine else None
        has_second = any(host.second for host in layout.hosts.values())
        self.nets = {name: Net(self.timeline, name) for name in (NETWORKS if has_second else NETWORKS[:1])}
        self._hosts = {plain(address): name for name, host in layout.hosts.items() for address in host.addresses}
        self._second = {plain(host.second): name for name, host in layout.hosts.items() if host.second}
        self._hosts |= self._second
        self._hosts |= {plain(address): vm.host for vm in layout.vms.values() for address in vm.addresses}
        self.exchange = Exchange(self._net_of, self._hosts.__getitem__)
        self.ether = Ether(self._net_of, self._hosts.__getitem__)
        self.hot = HotProcesses(self.ether)
        self.key = KEY
        self.programs = Programs(
            {
                MODULE: registry_program(self.exchange),
                DNSMASQ: dnsmasq_program(self.exchange),
                NGINX_AGENT: nginx_program(self.exchange),
            }
        )
        self.announced: Callable[[str, str, str], None] = lambda host, address, mac: None
        """Told of each announcement that a machine makes: host, address, MAC."""
        self.troubles: list[Trouble] = []
        self.said: list[Trouble] = []
        """What processes that ended had to say."""
        members = store_members(layout, BESIDE_ADDRESS)
        self._hosts[BESIDE_ADDRESS] = BESIDE
        endpoints = {str(name): Endpoint(addresses[0], CLIENT_PORT) for name, addresses in members.items()}
        self.etcd = Etcd(self.timeline, self.nets[FIRST], endpoints)
        self.target = self.etcd.target(layout.name)

    def machine(self, name: str) -> SimHost:
        """One that stands here, switched off. Without grants all are parts of one machine, as in the lab."""
        return SimHost(self.timeline, name, self._clock)

    def _net_of(self, address: str) -> Net:
        return self.nets["second" if address in self._second else FIRST]

    def folder_of(self, host: HostName) -> RunFolder:
        """The disk of a machine; it outlives what runs there."""
        folder = RunFolder(self.root / (self.layout.name if self.is_one_machine else host))
        if not folder.key.exists():
            for part in ("journal", "log"):
                (folder.root / part).mkdir(parents=True, exist_ok=True)
            folder.layout.write_bytes(msgspec.json.encode(self.layout))
            folder.key.touch(0o600)
            folder.key.write_bytes(self.key)
            # What VNFs share is on storage of the site, not on a machine's disk.
            storage = self.root / "storage"
            storage.mkdir(exist_ok=True)
            folder.storage(VnfName("any")).parent.symlink_to(storage)
        return folder

    def wall_s(self) -> float:
        return WALL_S + self.timeline.now_ns / NS

    def went_wrong(self, process: str, context: dict[str, Any]) -> None:
        """Asyncio reports what nobody has handled: a fault of ours."""
        text = str(context.get("message", ""))
        error = context.get("exception")
        self.troubles.append(Trouble(self.timeline.now_ns, process, f"{text}: {error!r}"))

    def ended(self, process: Process, error: BaseException | None) -> None:
        """A process ended by an error; those it may end by are in the journals as well."""
        self.said.append(Trouble(self.timeline.now_ns, process.name, repr(error)))

    def after(self, wait_ns: int, call: Callable[[], None]) -> None:
        self.timeline.after(wait_ns, call)
