"""What runs on one simulated machine: agent, candidate of the managers, store member; started again when they end, as a
supervisor does. Hot process, VMs and components are started by the agent.

In:   power, kills. Out: processes with the real compositions of the runtime in them.
"""

from collections.abc import Callable

from holdfast.lab.sim.agent import SimAgent
from holdfast.lab.sim.hot import SimHotDoor
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.manager import SimCandidate, Start
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.site import Site
from holdfast.lab.sim.streams import SimStreams
from holdfast.lab.sim.window import plain
from holdfast.model.names import HostName
from holdfast.runtime.manager import SetPower

START_NS = (120_000_000, 260_000_000)
"""From the start of a Python process to its first line of ours."""
AGAIN_NS = 50_000_000
"""A supervisor waits so long before it starts a process again."""


class Node:
    """One machine of the site."""

    def __init__(self, site: Site, name: HostName, power: SetPower, *, has_manager: bool) -> None:
        """
        Args:
            site: where it stands.
            name: its own.
            power: what a manager on it switches hosts with.
            has_manager: whether a candidate of the managers is on it, and a member of the store if there is one.
        """
        self._has_manager = has_manager
        self.site = site
        self.name = name
        self.power = power
        self.host = site.machine(name)
        self.host.network.announced = lambda address, mac: site.announced(name, address, mac)
        self.folder = site.folder_of(name)
        self.agent = SimAgent(
            self.host,
            site.layout,
            self.folder,
            site.exchange,
            site.programs,
            site.went_wrong,
            site.ended,
            hot=lambda process, loop: SimHotDoor(site.hot, self.host, process, loop),
        )
        self.manager: Process | None = None
        self.store: Process | None = None
        self.loops: list[SimLoop] = []
        self.is_supervised = True
        self.is_held = False

    def stop_supervising(self) -> None:
        """Nothing is started again from now on; the managers end."""
        self.is_supervised = False
        if self.manager is not None:
            self.manager.end()

    def hold_manager(self) -> None:
        """It ends, and is not started again until released."""
        self.is_held = True
        if self.manager is not None:
            self.manager.end()

    def release_manager(self) -> None:
        if self.is_held:
            self.is_held = False
            self.start_manager()

    # --- power

    def switch_on(self) -> None:
        if self.host.is_on:
            return
        self.host.switch_on()
        for net in self.site.nets.values():
            net.switch(self.name, on=True)
        # As prepared hosts have it, and lab hosts: the bridge is there before any of ours.
        machine = self.site.layout.hosts[self.name]
        self.host.network.make_bridge(machine.bridge, [(plain(address), address) for address in machine.addresses])
        self.start_agent()
        if self._has_manager:
            self.start_store()
            self.start_manager()

    def switch_off(self) -> None:
        for net in self.site.nets.values():
            net.switch(self.name, on=False)
        self.host.switch_off()

    # --- processes

    def start_store(self) -> None:
        """The member of the store; nobody starts it again by itself."""
        if self.name not in self.site.etcd.endpoints or (self.store is not None and self.store.is_alive):
            return
        self.store = self.host.spawn(f"etcd-{self.name}")
        self.site.etcd.start(self.name, self.store, self.site.exchange, self.name)

    def start_agent(self) -> None:
        self.agent.start()
        if self.agent.process is not None:
            self._again(self.agent.process, self.start_agent)

    def start_manager(self) -> None:
        if self.is_held or (self.manager is not None and self.manager.is_alive):
            return
        process = self.manager = self.host.spawn(f"manager-{self.name}")
        loop = self._loop(process)
        self._again(process, self.start_manager)
        site, timeline = self.site, self.site.timeline
        goes_on = process.run

        def begin() -> None:
            process.run = goes_on
            streams = SimStreams(site.exchange, process, loop, self.name)
            own = set(self.site.layout.hosts[self.name].reached_at)
            start = Start(
                site.layout, self.folder, site.target.own_first(own.__contains__), self.name, self.power, site.wall_s
            )
            SimCandidate(self.host, loop, streams, start, site.ended)

        process.run = begin
        timeline.after(self.host.start_ns(START_NS), process.wake)

    def _loop(self, process: Process) -> SimLoop:
        loop = loop_of(process, self.site.went_wrong)
        self.loops.append(loop)
        return loop

    def _again(self, process: Process, start: Callable[[], None]) -> None:
        life = self.host.starts

        def again() -> None:
            if self.is_supervised and self.host.is_on and self.host.starts == life:
                start()

        process.when_over(lambda: self.site.after(AGAIN_NS, again))
