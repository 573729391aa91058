"""Rare faults of drawn runs: what a person does meanwhile, a restored store, a machine that is slow or cannot write.

And those that scripts alone have: messages that are late by seconds, clocks that are as wrong as they may be.

In:   a planned fault, the nemesis that carries it out. Out: whom it struck, and how it is taken back.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.lab.acts import FaultFailed
from holdfast.lab.drawn import PlannedFault
from holdfast.lab.sim.late import Late
from holdfast.lab.sim.talk import Asker, say
from holdfast.model.layout import in_charge
from holdfast.model.names import VIM, HostName, Party, VnfName
from holdfast.wire.link_messages import AskLock, AskSwitchover, AskUnlock, Question

if TYPE_CHECKING:
    from holdfast.lab.sim.nemesis import Nemesis

COMMAND_LIMIT_S = 2.0
SLOW = 8
"""The kernel and new programs take so many times as long."""
MS, SECOND = 1_000_000, 1_000_000_000
PPM_ALLOWED = 1000
"""By so much a clock may be wrong, as far as grants are concerned (docs/grants.md)."""
Undo = Callable[[], None]
Deed = Callable[["Nemesis", PlannedFault], tuple[str, Undo]]


def _nothing() -> None:
    return


def _say(nemesis: "Nemesis", party: Party, question: Question) -> Asker:
    node = nemesis.acts.leader
    if node is None:
        raise FaultFailed("no manager leads that could be told")
    return say(nemesis.world.site, node, party, question, COMMAND_LIMIT_S)


def _end_agent(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
    """As for an upgrade: SIGTERM, and a supervisor starts it again."""
    node = nemesis.node(fault.place)
    if node.agent.process is None or not node.agent.process.is_alive:
        raise FaultFailed(f"{node.name} has no agent")
    node.agent.process.ask_to_end()
    return node.name, _nothing


def _switch_over(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
    vnf = VnfName(fault.place.partition(" ")[2])
    _say(nemesis, in_charge(nemesis.world.layout, vnf), AskSwitchover(vnf, to=None))
    return vnf, _nothing


def _lose_host(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
    """It is off, and a person says so; later it is switched on, and taken back when its agent can be there."""
    node = nemesis.node(fault.place)
    if not nemesis.acts.has_leader() or nemesis.acts.leads_at(node.name):
        raise FaultFailed("nobody leads who could be told")
    node.switch_off()
    _say(nemesis, VIM, AskLock(node.name))

    def back() -> None:
        node.switch_on()
        _unlock(nemesis, node.name)

    return node.name, back


def _unlock(nemesis: "Nemesis", host: HostName) -> None:
    """A person says it again until somebody has heard it."""
    try:
        _say(nemesis, VIM, AskUnlock(host))
    except FaultFailed:
        nemesis.world.site.after(100_000_000, lambda: _unlock(nemesis, host))


def _restore_store(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
    """A backup of now; when the fault is over all members have lost their data, and get it, if nothing else is wrong.

    Who fails before its agent has told the managers what the backup does not know cannot be told from one that has
    long been succeeded (docs/etcd.md): that is not a mistake to be found here.
    """
    site, nodes = nemesis.world.site, list(nemesis.world.nodes.values())
    leader = site.etcd.leader
    if leader is None:
        raise FaultFailed("the store has no leader that a backup could be made of")
    backup = site.etcd.snapshot(leader)

    def restore() -> None:
        if not nemesis.is_over:
            return
        # As in the guide: managers first, so that none decides by what will not have been.
        held = [node for node in nodes if node.host.is_on]
        for node in held:
            node.hold_manager()
        nemesis.world.beside.end_store()
        for node in nodes:
            if node.store is not None and node.store.is_alive:
                node.store.end()
        site.etcd.restore(backup)
        nemesis.world.beside.start_store()
        for node in held:
            node.start_store()
            node.release_manager()

    return "store", restore


def _slow_machine(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
    troubles = nemesis.node(fault.place).host.troubles
    troubles.slowness *= SLOW

    def undo() -> None:
        troubles.slowness //= SLOW

    return nemesis.host(fault.place), undo


def _read_only(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
    host = nemesis.node(fault.place).host
    if host.troubles.is_read_only:
        raise FaultFailed(f"the disk of {host.name} is read-only already")
    host.troubles.is_read_only = True

    def undo() -> None:
        host.troubles.is_read_only = False

    return host.name, undo


def _lock_host(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
    """A person says of a host that is off, and that managers have missed, that it stays so; and that it is back."""
    name = nemesis.host(fault.place)
    if nemesis.world.is_on(name):
        raise FaultFailed(f"{name} is on")
    _say(nemesis, VIM, AskLock(name))
    return name, lambda: _unlock_until_answered(nemesis, name)


def _unlock_until_answered(nemesis: "Nemesis", host: HostName) -> None:
    """A manager that hears it may lose the leadership before that is in the store: then nobody answers."""
    site = nemesis.world.site
    try:
        told: Asker | None = _say(nemesis, VIM, AskUnlock(host))
    except FaultFailed:
        told = None

    def again() -> None:
        if told is None or told.answer is None:
            _unlock_until_answered(nemesis, host)

    site.after(round(COMMAND_LIMIT_S * SECOND), again)


def _messages_slow(*, is_copied: bool) -> Deed:
    """What the agent of a host sends, to another one or to all, takes as long as this lasts, or any time less."""

    def deed(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
        name, timeline = nemesis.host(fault.place), nemesis.world.timeline
        late = Late(timeline, name, fault.other, timeline.now_ns + fault.lasts_ms * MS, is_copied=is_copied)
        ways = nemesis.world.site.ether.late
        ways.append(late)
        return f"{name}>{fault.other}" if fault.other else name, lambda: ways.remove(late)

    return deed


def _clock_runs(ppm: int) -> Deed:
    """Both clocks of a machine are wrong, so that it cannot see that by itself."""

    def deed(nemesis: "Nemesis", fault: PlannedFault) -> tuple[str, Undo]:
        host = nemesis.node(fault.place).host
        before = [(clock, clock.ppm) for clock in (host.raw, host.monotonic)]
        for clock, _ in before:
            clock.bend(ppm)

        def undo() -> None:
            for clock, honest_ppm in before:
                clock.bend(honest_ppm)

        return host.name, undo

    return deed


RARE_DEEDS: dict[str, Deed] = {
    "end-agent": _end_agent,
    "switch-over": _switch_over,
    "lose-host": _lose_host,
    "restore-store": _restore_store,
    "slow-machine": _slow_machine,
    "disk-read-only": _read_only,
    "lock-host": _lock_host,
    "messages-late": _messages_slow(is_copied=False),
    "messages-again": _messages_slow(is_copied=True),
    "clock-slow": _clock_runs(-PPM_ALLOWED),
    "clock-fast": _clock_runs(PPM_ALLOWED),
}
