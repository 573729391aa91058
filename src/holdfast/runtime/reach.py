"""How the managers of one process reach everybody else: links to agents, to other managers, from operators.

In:   the pump's actions and messages.
Out:  events for the pump, with the time at which they arose.
Always: an agent is sent nothing but the term before it has joined (its facts come first); a link that opens is given
all that is outstanding for its other end.
"""

import asyncio
import math
import sys
from collections.abc import Callable
from functools import partial

import msgspec

from holdfast.errors import UserError
from holdfast.model.actions import Action, AgentAction, Decision, Send
from holdfast.model.events import (
    AgentJoined,
    AgentLost,
    HostFailed,
    HostLocked,
    HostReturned,
    HostUnlocked,
    LossAccepted,
    NetworkSilent,
    Received,
    SwitchoverAsked,
)
from holdfast.model.layout import NETWORKS, Layout
from holdfast.model.names import LAB, OPERATOR, HostName, Party, agent_party
from holdfast.runtime.answers import refusals_of, status_of
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import layout_print, parties_of, places_to_call
from holdfast.runtime.link import LINK_CUT, KeptLink, Link, listen
from holdfast.runtime.manager import Pump, Reach, SetPower
from holdfast.runtime.refusals import LINKS
from holdfast.runtime.seat import Seat
from holdfast.runtime.streams import SOCKETS, Listening, Streams
from holdfast.wire.link_messages import (
    Answer,
    Ask,
    AskAcceptLoss,
    AskLock,
    AskStatus,
    AskSwitchover,
    AskUnlock,
    Do,
    Late,
    Leads,
    LinkMessage,
    NewestTerm,
    OtherLayout,
    Pass,
    Refused,
    StillSilent,
    Taken,
    Tell,
    Took,
    answer_with,
)

Outdated = Callable[[HostName, int], None]
"""`outdated(host, term)`: the agent there follows a newer term than ours, or another leader of the same one."""


class Links:
    """All links of a process that holds managers; `term` is the one it leads under, 0 without a shared store."""

    def __init__(
        self,
        layout: Layout,
        folder: RunFolder,
        key: bytes,
        power: SetPower,
        outdated: Outdated,
        term: int = 0,
        streams: Streams = SOCKETS,
        leader: str = "",
    ) -> None:
        self._streams = streams
        self.leader = leader
        """Which candidature holds that term."""
        self._layout = layout
        self._folder = folder
        self._key = key
        self.outdated = outdated
        self._term = term
        self.layout_print = layout_print(folder)
        self._otherwise: dict[HostName, None] = {}
        self.misfit: Callable[[UserError], None] = lambda _: None
        """Told when most hosts were prepared with another layout than this one."""
        self.reach = Reach(self._to_agent, self._to_manager, power)
        self._agents: dict[tuple[Party, HostName], _ToAgent] = {}
        self._lost_s: dict[HostName, float] = {}
        """Since when an agent is out of reach that was within it; not of hosts that have failed."""
        self._failed_s: dict[tuple[Party, HostName], float] = {}
        """When a host was found failed last, by the party that heard of it."""
        self._managers: dict[tuple[Party, Party], _ToPeer] = {}
        self._servers: list[Listening] = []
        self._accepted: list[_FromOthers] = []
        self.refused: dict[str, dict[str, int]] = {}
        """What each agent, and this process itself, has refused to hear."""
        self.late: dict[str, Late] = {}
        """How late each agent that is joined was itself."""

    async def open(self, pump: Pump) -> None:
        """Listen for every party of the pump, and begin to call agents and the other managers."""
        for seat in pump.seats.values():
            others = _FromOthers(pump, seat, self)
            self._accepted.append(others)
            self._servers.append(
                await listen(
                    self._folder.socket(seat.party),
                    self._key,
                    seat.party,
                    others,
                    self._streams,
                    partial(self._refused, seat.party),
                )
            )
            for host in self._layout.hosts:
                agent = _ToAgent(pump, seat, host, self._term, self)
                places = places_to_call(self._layout, self._folder, host)
                agent.kept = KeptLink(places, self._key, seat.party, agent_party(host), agent, self._streams)
                self._agents[seat.party, host] = agent
            for party in parties_of(self._layout):
                if party not in pump.seats:
                    manager = _ToPeer(pump, seat)
                    manager.kept = self._kept(seat.party, party, manager)
                    self._managers[seat.party, party] = manager

    def _refused(self, party: Party, kind: str) -> None:
        counts = self.refused.setdefault(str(party), {})
        name = f"{LINKS}:{kind}"
        counts[name] = counts.get(name, 0) + 1

    def was_prepared_otherwise(self, host: HostName) -> None:
        """One host that differs from the others is left out; if it is our own, somebody else has to lead."""
        self._otherwise[host] = None
        if len(self._otherwise) * 2 > len(self._layout.hosts):
            others = ", ".join(self._otherwise)
            self.misfit(
                UserError(
                    f"hosts {others} were prepared with another layout than this one ({self.layout_print})",
                    "prepare this host with their descriptor (docs/several-hosts.md)",
                )
            )

    def out_of_reach(self, for_s: float) -> tuple[HostName, ...]:
        """Hosts whose agent this process alone seems not to reach: not found failed by the others, for so long now."""
        now = asyncio.get_running_loop().time()
        return tuple(host for host, since in self._lost_s.items() if now - since >= for_s)

    def reached(self, host: HostName, *, now: bool) -> None:
        """Its agent has joined; or its link has ended."""
        if now:
            self._lost_s.pop(host, None)
        else:
            self._lost_s.setdefault(host, asyncio.get_running_loop().time())

    def _kept(self, me: Party, to: Party, owner: "_ToPeer") -> KeptLink:
        return KeptLink((self._folder.socket(to),), self._key, me, to, owner, self._streams)

    def host_changed(self, party: Party, host: HostName, failed: bool) -> None:
        """The host has failed, or is heard again: a link from before knows nothing of it for seconds."""
        agent = self._agents.get((party, host))
        if agent is None or agent.kept is None:
            return
        if failed:
            self._lost_s.pop(host, None)
        elif not agent.is_joined:
            self.reached(host, now=False)
        if failed:
            self._failed_s[party, host] = asyncio.get_running_loop().time()
            agent.kept.again()
        elif agent.kept.opened_s < self._failed_s.get((party, host), -math.inf):
            agent.kept.again()

    def avoid(self, host: HostName, network: str) -> None:
        """Nothing of the host comes through on this network: whoever speaks with its agent there goes to another."""
        place = dict(zip(NETWORKS, places_to_call(self._layout, self._folder, host), strict=False)).get(network)
        for (_, of_host), agent in self._agents.items():
            if of_host == host and agent.kept is not None and place is not None:
                agent.kept.avoid(place)

    def _to_agent(self, seat: Seat, host: HostName, action: Action) -> bool:
        agent = self._agents.get((seat.party, host))
        if agent is None or not agent.is_joined or agent.kept is None or not isinstance(action, AgentAction):
            return False
        return agent.kept.send(Do(action))

    def _to_manager(self, seat: Seat, action: Send) -> bool:
        manager = self._managers.get((seat.party, action.to))
        if manager is None or manager.kept is None:
            return False
        return manager.kept.send(Pass(action.id, seat.party, action.message, asyncio.get_running_loop().time()))

    def status(self, seat: Seat) -> bytes:
        """The party's answer to AskStatus, as JSON."""
        joined = {host: self._agents[seat.party, host].is_joined for host in self._layout.hosts}
        kept = {host: self._agents[seat.party, host].kept for host, is_joined in joined.items() if not is_joined}
        unreached = {host: link.trouble for host, link in kept.items() if link is not None}
        here = {str(agent_party(host)) for host, is_joined in joined.items() if is_joined}
        late = {name: one for name, one in self.late.items() if name in here}
        return msgspec.json.encode(status_of(self._layout, seat, joined, unreached, seat.now(), self.refused, late))

    async def close(self) -> None:
        """Close every link and socket."""
        for server in self._servers:
            server.close()
        for others in self._accepted:
            await others.close()
        called: list[_ToAgent | _ToPeer] = [*self._agents.values(), *self._managers.values()]
        for other in called:
            if other.kept is not None:
                await other.kept.close()


class _ToAgent:
    """A party's link to one host's agent."""

    def __init__(self, pump: Pump, seat: Seat, host: HostName, term: int, links: Links) -> None:
        self._pump = pump
        self._seat = seat
        self._host = host
        self._term = term
        self._links = links
        self.kept: KeptLink | None = None
        self.is_joined = False
        self._newest: Link | None = None
        self._opened_s = 0.0

    def link_opened(self, link: Link) -> None:
        self.is_joined = False
        self._newest = link
        self._opened_s = asyncio.get_running_loop().time()
        link.send(Leads(self._term, self._links.leader, self._links.layout_print))

    def link_received(self, link: Link, message: LinkMessage) -> None:
        if isinstance(message, NewestTerm) and message.term >= self._term:
            self._links.outdated(self._host, message.term)
            return
        if isinstance(message, OtherLayout):
            ours = self._links.layout_print
            link.refuse(f"the host was prepared with another layout ({message.layout}; here it is {ours})")
            self._links.was_prepared_otherwise(self._host)
            return
        if isinstance(message, Refused):
            self._links.refused[str(agent_party(self._host))] = message.counts
        if isinstance(message, Late):
            self._links.late[str(agent_party(self._host))] = message
        if not isinstance(message, Tell):
            return
        # What it told before it was called anew is no older than that: or an end of the link before, noticed late
        # because this manager stood still, would be taken for that of the present one.
        at = max(message.at, self._opened_s)
        if isinstance(message.event, AgentJoined):
            # What it has refused, and cannot write down, it says behind its facts.
            self._links.refused.pop(str(agent_party(self._host)), None)
            # From here on actions may go out; the pump sends the outstanding ones when it has heard the facts.
            self._pump.push(self._seat, message.event, at, before=self._joined)
            return
        if isinstance(message.event, HostFailed) and not message.is_now:
            # It may have waited on its way, while this manager was cut off itself or stood still, and be over by now.
            link.send(StillSilent(message.event))
            return
        if isinstance(message.event, HostFailed | HostReturned) and message.event.host != self._host:
            self._links.host_changed(self._seat.party, message.event.host, isinstance(message.event, HostFailed))
        elif isinstance(message.event, NetworkSilent) and link.is_local:
            # The agent beside us does not hear it there, so neither do we.
            self._links.avoid(message.event.host, message.event.network)
        if message.number == 0:
            self._pump.push(self._seat, message.event, at)
            return
        took = Took((message.number,))
        self._pump.push(self._seat, message.event, at, lambda _: link.send(took))

    def _joined(self) -> None:
        self.is_joined = self.kept is not None and self.kept.link is not None and self.kept.link.is_open
        if self.is_joined:
            self._links.reached(self._host, now=True)

    def link_closed(self, link: Link) -> None:
        _mark_cut(self._seat, link)
        if link is not self._newest:
            return  # Called anew meanwhile: that an older one ends says nothing about the agent.
        if self.is_joined:
            self._links.reached(self._host, now=False)
        self.is_joined = False
        self._pump.push(self._seat, AgentLost(self._host), asyncio.get_running_loop().time())


class _ToPeer:
    """A party's link to a manager in another process; it only asks, answers come as Taken."""

    def __init__(self, pump: Pump, seat: Seat) -> None:
        self._pump = pump
        self._seat = seat
        self.kept: KeptLink | None = None

    def link_opened(self, link: Link) -> None:
        # `kept.link` is this link only when connecting is complete, hence not in this very call.
        asyncio.get_running_loop().call_soon(self._pump.send_messages, self._seat, link.peer)

    def link_received(self, link: Link, message: LinkMessage) -> None:
        if isinstance(message, Taken):
            self._pump.message_taken(self._seat, message.id)

    def link_closed(self, link: Link) -> None:
        _mark_cut(self._seat, link)


class _FromOthers:
    """Links that others opened to a party of this process: managers with messages, operators with questions."""

    def __init__(self, pump: Pump, seat: Seat, links: Links) -> None:
        self._pump = pump
        self._seat = seat
        self._links = links
        self._open: dict[Link, None] = {}

    def link_opened(self, link: Link) -> None:
        self._open[link] = None

    def link_closed(self, link: Link) -> None:
        _mark_cut(self._seat, link)
        self._open.pop(link, None)

    async def close(self) -> None:
        for link in list(self._open):
            link.close()
            await link.ended

    def link_received(self, link: Link, message: LinkMessage) -> None:
        if isinstance(message, Pass) and message.sender == link.peer:
            taken = Taken(message.id)
            event = Received(message.id, message.sender, message.message)
            self._pump.push(
                self._seat, event, message.at, lambda _: link.send(taken), heard=(message.sender, message.id)
            )
        elif isinstance(message, Ask) and link.peer in {OPERATOR, LAB}:
            self._ask(link, message)
        else:
            sys.stderr.write(f"{self._seat.party}: {link.peer} may not send {type(message).__name__}\n")
            link.close()

    def _ask(self, link: Link, ask: Ask) -> None:
        question = ask.question
        if isinstance(question, AskStatus):
            link.send(answer_with(ask.number, self._links.status(self._seat)))
            return

        def answer(decisions: tuple[Decision, ...]) -> None:
            taken = [{"action": type(one.action).__name__, "id": getattr(one.action, "id", "")} for one in decisions]
            link.send(Answer(ask.number, msgspec.json.encode({"decisions": taken}), refusals_of(decisions)))

        self._pump.push(self._seat, _asked(question), asyncio.get_running_loop().time(), answer)


def _mark_cut(seat: Seat, link: Link) -> None:
    if link.trouble and not link.is_unwanted:
        seat.mark(LINK_CUT, link.peer, link.trouble)


def _asked(
    question: AskSwitchover | AskAcceptLoss | AskLock | AskUnlock,
) -> SwitchoverAsked | LossAccepted | HostLocked | HostUnlocked:
    match question:
        case AskSwitchover(vnf, service, to):
            return SwitchoverAsked(vnf, service, to)
        case AskAcceptLoss(vnf):
            return LossAccepted(vnf)
        case AskLock(host):
            return HostLocked(host)
        case AskUnlock(host):
            return HostUnlocked(host)
