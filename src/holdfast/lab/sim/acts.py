"""Deeds done to a simulated world: the contract of `lab/acts.py`."""

from collections.abc import Iterator

from holdfast.lab.acts import FaultFailed, Stuck
from holdfast.lab.members import BESIDE
from holdfast.lab.sim.controller import MANAGERS, Controller
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.node import Node
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.sandbox import SimInit
from holdfast.lab.sim.second import SimSecond
from holdfast.lab.sim.talk import ask, status, switch_over
from holdfast.lab.sim.world import SimWorld
from holdfast.model.names import HA, VIM, HostName, VmName, VnfcName, VnfName
from holdfast.runtime.given import parties_of
from holdfast.wire.link_messages import AskLock, AskUnlock

NS = 1_000_000_000
SUPERVISOR = "supervisor"
STARVED_NS = (5_000_000, 400_000_000)
"""How long a starved process waits for a processor."""
SWITCHOVER_LIMIT_S = 30.0
COMMAND_LIMIT_S = 2.0
MOVE_LIMIT_NS = 5 * NS


class SimActs:
    """Of one world."""

    def __init__(self, world: SimWorld, second: SimSecond | None = None) -> None:
        self._world = world
        self._second = second
        self._timeline = world.timeline
        self._cuts: list[tuple[Net, str, str]] = []

    def now(self) -> float:
        return self._timeline.now_ns / NS

    def let_pass(self, seconds: float) -> None:
        self._timeline.run(self._timeline.now_ns + round(seconds * NS))

    # --- components and VMs

    def _sandbox(self, node: Node, folder: str, what: str) -> SimInit:
        init = node.host.sandboxes.get(folder)
        if init is None:
            raise FaultFailed(f"{what} has no processes")
        return init

    def _capsule(self, name: VnfcName) -> SimInit:
        node = self._world.nodes[self._world.layout.vnfcs[name].host]
        return self._sandbox(node, str(node.folder.vnfc(name)), f"VNFC {name}")

    def kill_vnfc(self, name: VnfcName) -> None:
        for child in tuple(self._capsule(name).children.values()):
            child.process.end()

    def freeze_vnfc(self, name: VnfcName) -> None:
        self._capsule(name).freeze()

    def has_processes(self, name: VnfcName) -> bool:
        node = self._world.nodes[self._world.layout.vnfcs[name].host]
        init = node.host.sandboxes.get(str(node.folder.vnfc(name)))
        return init is not None and bool(init.children)

    def kill_vm(self, name: VmName) -> None:
        node = self._world.nodes[self._world.layout.vms[name].host]
        self._sandbox(node, str(node.folder.vm(name)), f"VM {name}").kill()

    def put_file(self, name: VnfcName, file: str) -> None:
        node = self._world.nodes[self._world.layout.vnfcs[name].host]
        (node.folder.vnfc(name) / file).touch()

    def take_file(self, name: VnfcName, file: str) -> None:
        node = self._world.nodes[self._world.layout.vnfcs[name].host]
        (node.folder.vnfc(name) / file).unlink()

    # --- hosts and agents

    def host_off(self, name: HostName) -> None:
        self._world.switch_off(name)

    def host_on(self, name: HostName) -> None:
        self._world.switch_on(name)

    def is_on(self, name: HostName) -> bool:
        return self._world.is_on(name)

    def freeze_host(self, name: HostName) -> None:
        self._world.nodes[name].host.stop()

    def thaw_host(self, name: HostName) -> None:
        self._world.nodes[name].host.go_on()

    def _agent(self, name: HostName) -> Process:
        process = self._world.nodes[name].agent.process
        if process is None or not process.is_alive:
            raise FaultFailed(f"host {name} has no agent")
        return process

    def _agent_and_hot(self, name: HostName) -> Iterator[Process]:
        yield self._agent(name)
        hot = self._world.site.hot.running.get(name)
        if hot is not None and hot.process.is_alive:
            yield hot.process

    def kill_agent(self, name: HostName) -> None:
        self._agent(name).end()

    def stick_agent(self, name: HostName) -> None:
        self._agent(name).stop()

    def freeze_agent(self, name: HostName) -> None:
        for process in self._agent_and_hot(name):
            process.stop()

    def thaw_agent(self, name: HostName) -> None:
        for process in self._agent_and_hot(name):
            process.go_on()

    def starve_agent(self, name: HostName) -> str:
        for process in self._agent_and_hot(name):
            process.starve(STARVED_NS)
        low, high = (ns / 1e6 for ns in STARVED_NS)
        return f"runs {low:g} to {high:g} ms after it is woken"

    def feed_agent(self, name: HostName) -> None:
        for process in self._agent_and_hot(name):
            process.feed()

    # --- managers and store

    def _managers(self, which: str) -> list[Process]:
        if self._world.controller is not None:
            return self._world.controller.processes(which)
        found = [node.manager for node in self._world.nodes.values()]
        return [process for process in found if process is not None and process.is_alive]

    def kill_managers(self, which: str) -> None:
        for process in self._managers(which):
            process.end()

    def hold_managers(self, which: str) -> None:
        if which == SUPERVISOR and self._world.controller is not None:
            self._world.controller.hold()
        for process in self._managers(which):
            process.stop()

    def release_managers(self, which: str) -> None:
        if which == SUPERVISOR and self._world.controller is not None:
            self._world.controller.release()
        for process in self._managers(which):
            process.go_on()

    @property
    def leader(self) -> Node | Controller | None:
        """The machine whose manager listens as the HA manager: only one that leads does."""
        for node in self._world.managed:
            if self._world.site.exchange.is_taken(node.folder.socket(HA)):
                return node
        return None

    def has_leader(self) -> bool:
        return self.leader is not None

    def leads_at(self, name: HostName) -> bool:
        node = self.leader
        return node is not None and node.name == name

    def kill_leader(self) -> None:
        node = self.leader
        if not isinstance(node, Node) or node.manager is None:
            raise FaultFailed("nobody leads the managers")
        node.manager.end()

    def move_store_leader(self, name: HostName) -> None:
        etcd = self._world.site.etcd
        until_ns = self._timeline.now_ns + MOVE_LIMIT_NS
        while not etcd.move_leader(name) or etcd.leader != name:
            if self._timeline.now_ns > until_ns:
                raise FaultFailed(f"the store's leader did not come to {name}")
            self.let_pass(0.02)

    def kill_store(self, name: HostName) -> None:
        process = self._world.nodes[name].store
        if process is None or not process.is_alive:
            raise FaultFailed(f"host {name} has no member of the store")
        process.end()

    def start_store(self, name: HostName) -> None:
        self._world.nodes[name].start_store()

    def is_controlled(self) -> bool:
        node = self.leader
        if node is None:
            return False
        for party in parties_of(self._world.layout):
            told = status(self._world.site, node, party)
            if told is None:
                return False
            agents = told["agents"]
            if not all(joined for host, joined in agents.items() if self._world.is_on(HostName(host))):
                return False
        return True

    def switch_over(self, vnf: VnfName, to: VnfcName | None = None) -> None:
        node = self.leader
        if node is None:
            raise Stuck("no manager leads that could be asked for a switchover")
        switch_over(self._world.site, node, vnf, SWITCHOVER_LIMIT_S, to)

    def lock(self, name: HostName) -> None:
        self._say_of_host(AskLock(name))

    def unlock(self, name: HostName) -> None:
        self._say_of_host(AskUnlock(name))

    def _say_of_host(self, question: AskLock | AskUnlock) -> None:
        node = self.leader
        answer = ask(self._world.site, node, VIM, question, COMMAND_LIMIT_S) if node is not None else None
        if answer is None or answer.refused:
            said = answer.refused if answer is not None else "no manager that leads answers"
            raise Stuck(f"{type(question).__name__} of {question.host}: {said}")

    # --- network, power, all of it

    def cut(self, name: HostName, other: HostName | None, network: str) -> None:
        others = (
            [other] if other is not None else [one for one in (*self._world.nodes, BESIDE, MANAGERS) if one != name]
        )
        nets = self._world.site.nets
        if network and network not in nets:
            raise FaultFailed(f"there is no {network} network here", "the layout needs network.second-subnet")
        for net in [nets[network]] if network else list(nets.values()):
            for one in others:
                for sender, receiver in ((name, one), (one, name)):
                    net.cut(sender, receiver)
                    self._cuts.append((net, sender, receiver))

    def heal(self) -> None:
        for net, sender, receiver in self._cuts:
            net.heal(sender, receiver)
        self._cuts.clear()

    def second_client(self) -> None:
        self._other_client().join()

    def mislead(self, name: VnfcName) -> None:
        self._other_client().mislead(name)

    def _other_client(self) -> SimSecond:
        if self._second is None:
            raise FaultFailed("there is no second client in this run")
        return self._second

    def set_fence_mode(self, name: HostName, mode: str, level: str) -> None:
        self._world.power.set_mode(name, mode, level)

    def down_and_up(self) -> None:
        for name in self._world.nodes:
            self._world.switch_off(name)
        if self._world.controller is not None:
            self._world.controller.switch_off()
        self._world.open()
