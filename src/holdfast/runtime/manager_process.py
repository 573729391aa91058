"""The process of the managers: `python -m holdfast.runtime.manager_process --folder F --parties all|ha|vnfm|vim`.

In:   a run folder with layout.json and key.
Out:  runs until SIGTERM or SIGINT; what the managers know is in the store.
Always: starts fast (few imports, one file of layout), because a failure that happens meanwhile waits for it.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.errors import HoldfastError, UserError
from holdfast.model.events import ManagerStarted
from holdfast.model.layout import Layout
from holdfast.model.names import HA, VIM, HostName, Party
from holdfast.runtime import hot_rights
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import load_key, load_layout, parties_of
from holdfast.runtime.manager import Pump
from holdfast.runtime.reach import Links
from holdfast.runtime.saying import endure, refused
from holdfast.runtime.seat import JOURNAL, Core, Seat
from holdfast.runtime.surroundings import Surroundings, settle
from holdfast.runtime.watchdog import watched
from holdfast.store.damaged import kept_aside, open_sound, times_damaged
from holdfast.store.journal import Journal
from holdfast.store.port import Store

DAMAGED = "store-damaged"
"""Kind of the alarm while a damaged store lies beside the one in use."""
SHARES = ("all", "ha", "vnfm", "vim")
"""What one process may hold: everything, or one kind of manager (all VNFMs together)."""


def parties_in(layout: Layout, share: str) -> tuple[Party, ...]:
    """The parties of a share."""
    if share not in SHARES:
        raise UserError(f"no managers are called {share}", f"expected one of {', '.join(SHARES)}")
    return tuple(party for party in parties_of(layout) if share in {"all", party.split(":")[0]})


def core_of(layout: Layout, party: Party) -> Core:
    """The decisions of a party, bound to its layout."""
    if party == HA:
        from holdfast.core import ha_manager

        return _bound(ha_manager, layout)
    if party == VIM:
        from holdfast.core import vim

        return _bound(vim, layout)
    from holdfast.core import vnfm

    return _bound(vnfm, layout, party)


MakeCore = Callable[[Layout, Party], Core]


def _bound(module: Any, layout: Layout, *who: Party) -> Core:
    def begun(state: Any, term: int) -> Any:
        if term == 0:
            return state
        from holdfast.core.terms import under_term

        return under_term(layout, state, term)

    return Core(
        lambda: module.initial(layout, *who),
        partial(module.step, layout),
        module.deadline,
        module.outstanding,
        begun,
        lambda state: tuple(getattr(state, "reports", ())),  # The HA manager reports to others only.
    )


class Running(NamedTuple):
    """The process that takes a seat, and the clocks that it reads."""

    machine: str = ""
    """Which start of the machine; empty where the state never comes from another one."""
    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    pid: int = 0
    """0: this one."""


def make_seats(
    layout: Layout,
    folder: RunFolder,
    parties: Sequence[Party],
    core: MakeCore = core_of,
    running: Running | None = None,
    opened: Callable[[Path], Store] = open_sound,
) -> tuple[list[Seat], list[Store], list[Journal]]:
    """Every party's seat with its store and journal, from where an earlier process left off."""
    seats: list[Seat] = []
    stores: list[Store] = []
    journals: list[Journal] = []
    for party in parties:
        folder.state(party).parent.mkdir(parents=True, exist_ok=True)
        path = folder.state(party)
        store = opened(path)
        stores.append(store)
        seat, journal = make_seat(folder, party, core(layout, party), store, times_damaged(path), running)
        _tell_of_damage(seat, kept_aside(path))
        seats.append(seat)
        journals.append(journal)
    return seats, stores, journals


def _tell_of_damage(seat: Seat, aside: Sequence[Path]) -> None:
    """An alarm until a person has taken the damaged files away, and the manager has started again."""
    if not aside:
        seat.calm(DAMAGED)
        return
    names = ", ".join(str(one) for one in aside)
    seat.alarm(
        DAMAGED,
        f"its store was damaged and is kept as {names}; it went on from what was sound and what agents tell, and may"
        " not know of failures before that: check the disk, then move these files away",
    )


def make_seat(
    folder: RunFolder, party: Party, core: Core, store: Store, term: int = 0, running: Running | None = None
) -> tuple[Seat, Journal]:
    """One party's seat, and its journal on this host."""
    running = running if running is not None else Running()
    told: list[str] = []
    journal = Journal(folder.journal(party), party, told.append)
    seat = Seat(party, core, store, journal, running.now, term, running.machine)
    journal.opened(seat.now(), running.wall(), running.pid or os.getpid())
    journal.when_lost(seat.tell_lost, lambda: seat.calm(JOURNAL))
    for text in told:
        seat.tell_lost(text)
    return seat, journal


async def run(layout: Layout, folder: RunFolder, share: str) -> None:
    """Hold the managers of `share` until told to end."""
    loop = asyncio.get_running_loop()
    watchdog: list[asyncio.Task[None] | None] = []

    def begun(end: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)

    def ready() -> None:
        settle()
        watchdog.append(watched())

    try:
        await hold(layout, folder, parties_in(layout, share), Surroundings(settle=ready), begun)
    finally:
        for task in watchdog:
            if task is not None:
                task.cancel()


async def hold(
    layout: Layout,
    folder: RunFolder,
    parties: Sequence[Party],
    around: Surroundings,
    begun: Callable[[Callable[[], None]], None],
) -> None:
    """Be these managers, which share nothing with managers elsewhere, until told to end.

    Args:
        layout: the deployment.
        folder: of this machine.
        parties: whom to hold.
        around: what there is.
        begun: gets what is to be called to end it, once there is something to end.
    """
    running = Running(now=asyncio.get_running_loop().time, wall=around.wall, pid=around.pid)
    seats, stores, journals = make_seats(layout, folder, parties, running=running, opened=around.store)

    def tidy() -> None:
        for store in stores:
            store.tidy()

    def outdated(host: HostName, term: int) -> None:
        if not pump.ended.done():
            pump.ended.set_exception(
                UserError(
                    f"the agent of {host} follows managers that share a store (term {term})",
                    "start this one with --store, too",
                )
            )

    links = Links(layout, folder, load_key(folder), around.power, outdated, streams=around.streams)
    is_behind = any(times_damaged(folder.state(party)) for party in parties)
    pump = Pump(layout, seats, links.reach, tidy, began=ManagerStarted(is_behind=is_behind))
    begun(pump.end)
    try:
        pump.start()
        await links.open(pump)
        around.settle()
        await pump.ended
    finally:
        await pump.close()
        await links.close()
        for store in stores:
            store.close()
        for journal in journals:
            journal.close()


def main(arguments: Sequence[str] | None = None, *, may_be_alone: bool = True) -> int:
    """Run; answer the exit status.

    Args:
        arguments: those of the command line if None.
        may_be_alone: it may hold the managers of several hosts without a store that they share, as the lab's does.
    """
    parser = argparse.ArgumentParser(prog="holdfast manager", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parties", choices=SHARES, default="all")
    parser.add_argument("--store", default="", help="etcd://… where managers on several hosts share the deployment")
    parser.add_argument("--manager", default="", help="name of this one among them; the host's name by default")
    parser.add_argument("--least-term", type=int, default=0, help="lead under this term or a higher one (restore)")
    chosen = parser.parse_args(arguments)
    endure()
    try:
        folder = RunFolder(chosen.folder)
        layout = load_layout(folder)
        if not (chosen.store or may_be_alone or len(layout.hosts) == 1):
            raise UserError(
                f"{layout.name} has {len(layout.hosts)} hosts, so its managers share a store, and none is given",
                "--store etcd://… (STORE in the unit's environment file: docs/several-hosts.md)",
            )
        # Where hosts hold grants a successor takes over unasked, and managers work while its component has to.
        if layout.grants is None and (lack := hot_rights.precede()) is not None:
            sys.stderr.write(f"manager: {lack.what}: {lack.reply} ({lack.hint})\n")
        if chosen.store:
            # Only here: one machine needs neither TLS nor HTTP, and starts faster without.
            from holdfast.runtime.cluster import run_shared
            from holdfast.store.etcd_target import is_here, parse_target

            name = chosen.manager or os.uname().nodename
            target = parse_target(chosen.store).own_first(is_here)
            asyncio.run(run_shared(layout, folder, chosen.parties, target, name, least_term=chosen.least_term))
        else:
            asyncio.run(run(layout, folder, chosen.parties))
    except (HoldfastError, OSError) as error:
        return refused(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
