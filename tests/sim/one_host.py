"""A simulated machine with an agent and somebody who instructs it, for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from holdfast.lab.sim.agent import SimAgent
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.net import Net
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.programs import Programs, command, ocf_agent, runs
from holdfast.lab.sim.registry import MODULE, registry_program
from holdfast.lab.sim.sandbox import SimInit
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.lab.sim.timeline import Timeline
from holdfast.model.actions import AgentAction
from holdfast.model.events import ActionDone, ActionFailed, AgentJoined, Event
from holdfast.model.layout import Layout
from holdfast.model.names import HA, VIM, ActionId, Party, agent_party
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.link import KeptLink, Link
from holdfast.wire.link_messages import Do, Late, Leads, LinkMessage, Refused, Tell
from tests.unit.agent_host import HOST, VNFC

MS = 1_000_000
LIMIT_NS = 20_000 * MS
PROGRAMS = {
    "sleep": runs,
    "true": command(0),
    "false": command(1, said="no, thank you"),
    "/usr/lib/ocf/resource.d/heartbeat/daemon": ocf_agent(),
}
Found = TypeVar("Found", bound=Event)


class Manager:
    """Leads as one party, and keeps what it is told."""

    def __init__(self, world: "OneHost", party: Party) -> None:
        self.world = world
        self.party = party
        self.heard: list[Event] = []
        self.outcomes: dict[ActionId, ActionDone | ActionFailed] = {}
        self.joined: AgentJoined | None = None
        self._number = 0
        self._kept: KeptLink
        world.manager_loop.create_task(self._call())

    async def _call(self) -> None:
        world = self.world
        streams = SimStreams(world.exchange, world.manager_loop.process, world.manager_loop, HOST)
        place = world.folder.socket(agent_party(HOST))
        self._kept = KeptLink((place,), b"k" * 32, self.party, agent_party(HOST), self, streams)

    def call_again(self) -> None:
        self._kept.again()

    def link_opened(self, link: Link) -> None:
        link.send(Leads(0))

    def link_received(self, link: Link, message: LinkMessage) -> None:
        if isinstance(message, Late | Refused):
            return
        assert isinstance(message, Tell)
        self.heard.append(message.event)
        self.world.heard(message.event)
        if isinstance(message.event, ActionDone | ActionFailed):
            self.outcomes[message.event.action] = message.event
        elif isinstance(message.event, AgentJoined):
            self.joined = message.event

    def link_closed(self, link: Link) -> None:
        self.joined = None

    def send(self, make: Callable[[ActionId], AgentAction]) -> ActionId | None:
        """Say that it is to be done; None when nobody hears it."""
        self._number += 1
        number = ActionId(f"{self.party}/{self._number}")
        is_on_its_way = self.joined is not None and self._kept.send(Do(make(number)))
        return number if is_on_its_way else None

    def instruct(self, make: Callable[[ActionId], AgentAction]) -> ActionDone | ActionFailed:
        """Have it done, and wait for the outcome."""
        self.world.until(lambda: self.joined is not None)
        number = self.send(make)
        assert number is not None
        self.world.until(lambda: number in self.outcomes)
        return self.outcomes[number]

    def done(self, make: Callable[[ActionId], AgentAction]) -> str:
        outcome = self.instruct(make)
        assert isinstance(outcome, ActionDone), outcome
        return outcome.detail

    def event(self, kind: type[Found]) -> Found:
        """The last event of this kind, waited for if there is none."""
        self.world.until(lambda: any(isinstance(event, kind) for event in self.heard))
        return [event for event in self.heard if isinstance(event, kind)][-1]


class OneHost:
    """The world."""

    def __init__(self, layout: Layout, folder: Path, seed: int = 1) -> None:
        self.timeline = Timeline(seed)
        self.folder = RunFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder.key.touch(0o600)
        self.folder.key.write_bytes(b"k" * 32)
        self.wrong: list[tuple[str, dict[str, Any]]] = []
        net = Net(self.timeline, "one")
        self.exchange = Exchange(lambda _address: net, lambda _address: HOST)
        self.host = SimHost(self.timeline, HOST)
        self.host.switch_on()
        self.announced: list[str] = []
        self.heard: Callable[[Event], None] = lambda event: None
        """Told of all that a manager is told, at that instant."""
        self.agent_party = agent_party(HOST)
        self.host.network.announced = lambda address, _mac: self.announced.append(address)
        self.agent = SimAgent(
            self.host,
            layout,
            self.folder,
            self.exchange,
            Programs({**PROGRAMS, MODULE: registry_program(self.exchange)}),
            lambda name, context: self.wrong.append((name, context)),
        )
        outside = SimHost(self.timeline, "managers")
        outside.switch_on()
        self.manager_loop: SimLoop = loop_of(outside.spawn("managers"), lambda *said: self.wrong.append(said))
        self.agent.start()
        self.ha, self.vim = Manager(self, HA), Manager(self, VIM)

    def until(self, holds: Callable[[], bool]) -> None:
        self.timeline.run(self.timeline.now_ns + LIMIT_NS, lambda: holds() or bool(self.wrong))
        assert not self.wrong, self.wrong
        assert holds()

    def wait(self, ms: int) -> None:
        self.timeline.run(self.timeline.now_ns + ms * MS, lambda: bool(self.wrong))
        assert not self.wrong, self.wrong

    def lose_power(self) -> None:
        """And have it back; the managers, which are elsewhere, notice it at once."""
        self.host.switch_off()
        for manager in (self.ha, self.vim):
            self.manager_loop.call_soon(manager.call_again)
        self.host.switch_on()

    def restart_agent(self) -> None:
        self.agent.kill()
        self.until(lambda: self.ha.joined is None and self.vim.joined is None)
        self.agent.start()
        self.until(lambda: self.ha.joined is not None and self.vim.joined is not None)

    def capsule(self) -> SimInit:
        return self.host.sandboxes[str(self.folder.vnfc(VNFC))]

    def component(self) -> Process:
        """Its main process."""
        return next(child.process for child in self.capsule().children.values() if child.tag == "main")

    def owners(self, address: str) -> list[str]:
        return self.host.network.owners(address.partition("/")[0])

    def journal(self) -> bytes:
        return self.folder.journal(agent_party(HOST)).read_bytes()

    def end(self) -> None:
        """Let nothing wait for what will not come."""
        for process in tuple(self.host.processes.values()):
            process.end(silently=True)
        self.manager_loop.process.end()
        for loop in (*self.agent.loops, self.manager_loop):
            loop.unwind()
