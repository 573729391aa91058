"""What a person types on a simulated host, as far as the lab needs it: a question to the managers there, a switchover.

In:   the host where the managers' leader is. Out: its answer, or None when none comes in time.
"""

from typing import Any

import msgspec

from holdfast.lab.acts import Stuck
from holdfast.lab.sim.controller import Controller
from holdfast.lab.sim.loop import SimLoop, loop_of
from holdfast.lab.sim.node import Node
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.site import Site
from holdfast.lab.sim.streams import SimStreams
from holdfast.model.layout import in_charge
from holdfast.model.names import OPERATOR, Party, VnfcName, VnfName
from holdfast.runtime.link import KeptLink, Link
from holdfast.wire.link_messages import Answer, Ask, AskStatus, AskSwitchover, LinkMessage, Question

NS = 1_000_000_000
STATUS_LIMIT_S = 0.5
LOOK_AGAIN_NS = 10_000_000


class Asker:
    """The owner of an operator's link."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self.answer: Answer | None = None

    def link_opened(self, link: Link) -> None:
        link.send(Ask(1, self._question))

    def link_received(self, link: Link, message: LinkMessage) -> None:
        if isinstance(message, Answer):
            self.answer = message

    def link_closed(self, link: Link) -> None:
        """An answer that has not come by now comes by the next link."""


def say(site: Site, node: Node | Controller, party: Party, question: Question, limit_s: float) -> Asker:
    """A command of somebody who does not wait for the answer, but may look for it later; it ends after the limit."""
    process, asker, loop = _typed(site, node, party, question)
    node.loops.append(loop)
    site.after(round(limit_s * NS), process.end)
    return asker


def _typed(site: Site, node: Node | Controller, party: Party, question: Question) -> tuple[Process, Asker, SimLoop]:
    process = node.host.spawn("holdfast")
    loop = loop_of(process, site.went_wrong)
    streams = SimStreams(site.exchange, process, loop, node.name)
    asker = Asker(question)
    links: list[KeptLink] = []

    def begin() -> None:
        links.append(KeptLink((node.folder.socket(party),), site.key, OPERATOR, party, asker, streams))

    loop.call_soon(begin)
    return process, asker, loop


def ask(site: Site, node: Node | Controller, party: Party, question: Question, limit_s: float) -> Answer | None:
    """A command on that host; time goes on until it is answered."""
    process, asker, loop = _typed(site, node, party, question)
    timeline = site.timeline
    timeline.run(timeline.now_ns + round(limit_s * NS), lambda: asker.answer is not None)
    process.end()
    node.loops.append(loop)
    return asker.answer


def status(site: Site, node: Node | Controller, party: Party) -> dict[str, Any] | None:
    answer = ask(site, node, party, AskStatus(), STATUS_LIMIT_S)
    return msgspec.json.decode(answer.content) if answer is not None else None


def switch_over(site: Site, node: Node | Controller, vnf: VnfName, limit_s: float, to: VnfcName | None = None) -> None:
    """Ask for it and wait until each service is provided under a newer epoch; Stuck when that does not come."""
    party = in_charge(site.layout, vnf)
    before = _services(site, node, party, vnf)
    answer = ask(site, node, party, AskSwitchover(vnf, to=to), limit_s)
    if answer is None or answer.refused:
        raise Stuck(f"the switchover of {vnf} was {'refused: ' + answer.refused if answer else 'not answered'}")
    timeline = site.timeline
    until_ns = timeline.now_ns + round(limit_s * NS)
    while timeline.now_ns < until_ns:
        now = _services(site, node, party, vnf)
        if now and all(
            one["state"] == "provided" and one["epoch"] > before[name]["epoch"] for name, one in now.items()
        ):
            return
        timeline.run(timeline.now_ns + LOOK_AGAIN_NS)
    raise Stuck(f"{vnf} was not switched over within {limit_s:g} s")


def _services(site: Site, node: Node | Controller, party: Party, vnf: VnfName) -> dict[str, Any]:
    told = status(site, node, party)
    return told["vnfs"][vnf]["services"] if told is not None else {}
