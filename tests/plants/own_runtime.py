"""Our own mistakes in state, store, detection and the agent, each as a change of the real module."""

import asyncio
from typing import Any

from holdfast.core import terms
from holdfast.core.suspicion import Suspicion
from holdfast.detect import checks
from holdfast.model.reasons import Reason
from holdfast.state.follower import Follower
from holdfast.state.replication import Acknowledged, Sender, StandbyIsSynced
from holdfast.store.leadership import Leadership
from tests.plants.planting import Defect, Ground

# State


def acknowledged_at_once(ground: Ground) -> None:
    """An update is acknowledged before the standbys have it."""

    def acknowledge(self: Sender) -> None:
        last = self.history.last.sequence
        if last > self.acknowledged and not self.is_superseded:
            self.acknowledged = last
            self._effects.append(Acknowledged(last))

    ground.change(Sender, "_acknowledge", acknowledge)


def loss_not_recorded(ground: Ground) -> None:
    """The active goes on without a standby, and nobody has recorded that it is lost."""

    def lose(self: Sender, name: str, waited: Any) -> None:
        self._waited.pop(name, None)
        self._acknowledge()

    ground.change(Sender, "_lose", lose)


def synced_too_early(ground: Ground) -> None:
    """A standby is told to be in sync as soon as it calls, and is not waited for."""
    right = Sender._greeted

    def greeted(self: Sender, number: int, link: Any, said: Any, now: float) -> None:
        right(self, number, link, said, now)
        if link.name and link.name not in self._waited:
            self._effects.append(StandbyIsSynced(link.name))

    ground.change(Sender, "_greeted", greeted)
    ground.change(Sender, "_acked", lambda self, number, link, sequence, now: None)


def written_nowhere(ground: Ground) -> None:
    """A standby says that it has an update, and keeps none."""
    right = Follower._update

    def update(self: Follower, said: Any, changes: list[Any]) -> None:
        right(self, said, changes)
        changes.pop()

    ground.change(Follower, "_update", update)


# Store


def numbers_again(ground: Ground) -> None:
    """A new leader goes on with the numbers that the store knows, and the last ones of its forerunner are not there."""

    def under_term(layout: Any, state: Any, term: int) -> Any:
        return state

    ground.change(terms, "under_term", under_term)


def leads_on(ground: Ground) -> None:
    """A leader that could not renew decides on until it hears of another one."""

    def ends_at(self: Leadership) -> float | None:
        return None if self._confirmed_at is None or self._is_resigning else self._confirmed_at + 10.0

    ground.change(Leadership, "ends_at", property(ends_at))


# Detection


def own_lateness(ground: Ground) -> None:
    """An agent that was late takes its own lateness for the component's."""

    async def keep_asking(check: Any, target: Any, listener: Any) -> None:
        loop = asyncio.get_running_loop()
        answered = loop.time()
        planned = answered + check.every_s
        while True:
            await _until(loop, planned)
            trouble = await checks.ask_once(check, target)
            planned = max(planned + check.every_s, loop.time())
            if trouble is None:
                answered = loop.time()
            elif loop.time() - answered > check.misses * check.limit_s:
                listener.failed(check, trouble)
                return

    ground.everywhere(checks.keep_asking, keep_asking)


async def _until(loop: asyncio.AbstractEventLoop, at: float) -> None:
    waited: asyncio.Future[None] = loop.create_future()
    timer = loop.call_at(at, waited.set_result, None)
    try:
        await waited
    finally:
        timer.cancel()


def hosts_blamed(ground: Ground) -> None:
    """A hot process that was late takes all others for failed, and asks nobody."""

    def asked(self: Suspicion, peer: Any, silent_ns: int, failed_ns: int, now_ns: int) -> Any:
        return "failed", (Reason("peer-silent", peer.name, "for long"),)

    ground.change(Suspicion, "late", lambda self, now_ns, by_ns: None)
    ground.change(Suspicion, "_asked", asked)


RUNTIME: tuple[Defect, ...] = (
    Defect(
        "acknowledged-at-once",
        "an update is acknowledged before standbys have it",
        "state/replication",
        acknowledged_at_once,
        ("updates",),
        script="standby-cut-off",
    ),
    Defect(
        "loss-not-recorded",
        "the active goes on without a standby, unrecorded",
        "state/replication",
        loss_not_recorded,
        ("updates",),
        script="standby-left-behind",
        is_rare=True,
    ),
    Defect(
        "synced-too-early",
        "a standby counts as in sync before it has anything",
        "state/replication",
        synced_too_early,
        ("updates",),
        script="standby-cut-off",
    ),
    Defect(
        "written-nowhere",
        "a standby keeps nothing of what it acknowledges",
        "state/follower",
        written_nowhere,
        ("updates",),
    ),
    Defect(
        "numbers-again",
        "a new leader gives numbers that were given",
        "core/terms",
        numbers_again,
        ("numbers",),
        script="leader-killed-while-store-away",
        is_rare=True,
    ),
    Defect(
        "leads-on",
        "a leader decides on under a term that is over",
        "store/leadership",
        leads_on,
        ("leaders",),
        script="each-host-cut",
        is_rare=True,
    ),
    Defect(
        "own-lateness",
        "an agent's lateness counts as the component's",
        "detect/checks",
        own_lateness,
        ("blamed",),
        script="agent-starved",
        is_rare=True,
    ),
    Defect(
        "hosts-blamed",
        "its lateness counts as the others' silence",
        "core/suspicion",
        hosts_blamed,
        ("moved", "noted"),
        script="each-host-cut",
        is_rare=True,
    ),
)
