"""A simulated etcd of one, three or five members, and the way of its clients to it.

In:   processes on which members run; faults: processes stopped and killed, hosts cut off (`net.py`), slow disks, a
store that is restored from an older snapshot.
Out:  what a real one answers, over simulated streams: clients run unchanged (`store/etcd_client.py`).
Always: see `etcd_group.py`. What is on a member's disk outlives its process.
"""

import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple

from holdfast.errors import Bug
from holdfast.lab.sim.etcd_disk import Disk
from holdfast.lab.sim.etcd_group import OWN, Group, Timing
from holdfast.lab.sim.etcd_keys import Keys
from holdfast.lab.sim.etcd_member import Member
from holdfast.lab.sim.etcd_server import Server
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.plain import PlainLoop
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.timeline import Timeline
from holdfast.model.limits import ETCD_LIMIT_S
from holdfast.runtime.sockets import Endpoint as Place
from holdfast.store.etcd_http import Dial, Rider
from holdfast.store.etcd_target import Endpoint, Target


class Snapshot(NamedTuple):
    """A backup, as `etcdctl snapshot save` makes it."""

    keys: Keys


class Etcd:
    """The cluster."""

    def __init__(self, timeline: Timeline, net: Net, endpoints: Mapping[str, Endpoint], timing: Timing = OWN) -> None:
        """
        Args:
            timeline: of the world.
            net: by which the members reach each other.
            endpoints: where clients reach each member, by its name.
            timing: how fast members doubt their leader.
        """
        self._timeline = timeline
        self._net = net
        self._timing = timing
        self.endpoints = dict(endpoints)
        self.disks = {name: Disk(timeline) for name in endpoints}
        self.group = self._grouped(Keys())

    def _grouped(self, keys: Keys) -> Group:
        return Group(self._timeline, self._net, self.disks, self._timing, keys)

    def start(self, name: str, process: Process, exchange: Exchange, host: str) -> Member:
        """Let this process of that host be the member; it ends with the process."""
        if name in self.group.running:
            raise Bug(f"etcd member {name} runs already")
        loop = PlainLoop(process)
        member = Member(self.group, name, host, loop)
        endpoint = self.endpoints[name]
        streams = SimStreams(exchange, process, loop, host).patient()
        streams.listen_now(Place(endpoint.host, endpoint.port), lambda: Server(member))
        member.start()
        return member

    def target(self, name: str) -> Target:
        """For the clients of the deployment of that name."""
        return Target(tuple(self.endpoints.values()), f"/holdfast/{name}")

    @property
    def leader(self) -> str | None:
        """Who leads and is followed by a majority; None while there is no such member."""
        for name, member in self.group.running.items():
            followers = [one for one in self.group.running.values() if one.leader == name]
            if member.leading is not None and len(followers) >= self.group.majority:
                return name
        return None

    def move_leader(self, name: str) -> bool:
        """As a person does by `etcdctl`; whether it could be done."""
        return self.leader == name or (name in self.group.running and self.group.move(self.group.running[name]))

    def compact(self, revision: int) -> None:
        """Forget what was before a revision, as `etcdctl compact` does."""
        self.group.keys.compact(revision)

    def snapshot(self, name: str) -> Snapshot:
        """What that member has now."""
        member = self.group.running[name]
        return Snapshot(self.group.keys.copy(member.header().revision))

    def restore(self, snapshot: Snapshot) -> None:
        """Begin a new cluster with that. No member may run; they are to be started afterwards."""
        if self.group.running:
            raise Bug(f"etcd members {', '.join(self.group.running)} run while their store is restored")
        for disk in self.disks.values():
            disk.wipe()
        self.group = self._grouped(snapshot.keys.copy(snapshot.keys.revision))


def dial_over(streams: SimStreams) -> Dial:
    """The way of a simulated client to its members; a simulated network needs no TLS."""
    patient = streams.patient()

    async def dial(endpoint: Endpoint, tls: ssl.SSLContext | None, made: Callable[[], Rider]) -> Rider:
        return await patient.call(Place(endpoint.host, endpoint.port), made, ETCD_LIMIT_S)

    return dial
