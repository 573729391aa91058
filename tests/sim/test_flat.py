"""Two thousand failovers in one life of agents and managers: nothing that they hold grows.

The real compositions of the runtime, in a simulated world: on one machine, and on three hosts with grants and etcd.
"""

import gc
import os
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from holdfast import descriptor
from holdfast.lab.sim.acts import SimActs
from holdfast.lab.sim.end import end_all
from holdfast.lab.sim.run import plugged
from holdfast.lab.sim.world import Managers, SimWorld
from holdfast.model.layout import Escalation, Layout
from holdfast.model.names import ServiceName, VnfcName
from holdfast.runtime.seat import Seat
from tests.sim.flat import PRODUCT, held

pytestmark = pytest.mark.timeout(400)
LAYOUTS = Path(descriptor.__file__).parents[1] / "lab" / "layouts"
REGISTRY = ServiceName("registry")
LIMIT_S = 30.0
QUIET_S = 62.0
"""Longer than anything that is done now and then, or is remembered for a while: times kept, a minute's own lateness."""
FILLED, MEASURED = 600, 300
"""Failovers until every list of the last so many outcomes, messages and incidents is full; and how many come then."""
GROWN_BYTES_MAX = 256 << 10
"""Of memory, over the MEASURED ones: less than 900 bytes each; full lists take new room now and then."""


def layout_of(name: str) -> Layout:
    """As the lab has it, but its VNFCs may fail as often as they like."""
    layout = plugged(descriptor.load(LAYOUTS / name))
    often = Escalation(maximum=1_000_000, probation_s=1.0)
    vnfs = {vnf: structs.replace(one, vnfc_escalation=often) for vnf, one in layout.vnfs.items()}
    return structs.replace(layout, vnfs=vnfs)


def seats() -> list[Seat]:
    """All that there are in this process."""
    return [one for one in gc.get_objects() if isinstance(one, Seat)]


class Deployment:
    """A registry in a simulated world, whose active is killed again and again."""

    def __init__(self, layout: str, managers: Managers, root: Path) -> None:
        self._of_others = seats()
        self.world = SimWorld(layout_of(layout), 1, root, managers)
        self._acts = SimActs(self.world)
        self._seat: Seat | None = None
        self.world.open()
        self._until_well()

    def fail_over(self, times: int) -> None:
        for _ in range(times):
            active = self._active()
            assert active is not None
            self._acts.kill_vnfc(active)
            end = self._acts.now() + LIMIT_S
            while self._active() == active:
                assert self._acts.now() < end, "nobody takes over"
                self._acts.let_pass(0.005)
            self._until_well()
        self._acts.let_pass(QUIET_S)
        self._until_well()

    def _is_seated(self) -> bool:
        """Known to a manager that leads: the first one to see it."""
        if self._seat is None:
            own = [one for one in seats() if one not in self._of_others and REGISTRY in one.view.services]
            self._seat = own[0] if own else None
        return self._seat is not None

    def _active(self) -> VnfcName | None:
        """Who provides it, as the manager sees it."""
        return None if not self._is_seated() or self._seat is None else self._seat.view.services[REGISTRY].vnfc

    def _is_well(self) -> bool:
        if self._active() is None or self._seat is None:
            return False
        view = self._seat.view
        group = self.world.layout.groups[self.world.layout.services[REGISTRY].group]
        service = view.services[REGISTRY]
        is_whole = service.state == "provided" and len(service.in_sync) == len(group.vnfcs) - 1
        return is_whole and all(one.closed_at is not None for one in view.incidents.values())

    def _until_well(self) -> None:
        end = self._acts.now() + LIMIT_S
        while not self._is_well():
            assert self._acts.now() < end, "it is not repaired"
            self._acts.let_pass(0.005)


@contextmanager
def deployed(layout: str, managers: Managers, root: Path) -> Iterator[Deployment]:
    """It, and at last all of it ended."""
    deployment = Deployment(layout, managers, root)
    try:
        yield deployment
    finally:
        left = list(end_all(deployment.world))
        deployment.world.close()
    assert left == []


def grown(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """What there is more of: by more than one in ten, and more than what happens to be under way."""
    return {
        name: (before[name], count)
        for name, count in after.items()
        if count > before[name] + max(30, before[name] // 10)
    }


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_two_thousand_failovers_on_one_machine_leave_nothing_behind(tmp_path: Path) -> None:
    with deployed("registry.yaml", "one", tmp_path) as registry:
        registry.fail_over(1000)
        before, opened = held(), descriptors()
        registry.fail_over(1000)
        assert grown(before, held()) == {}
        assert descriptors() == opened


def test_failovers_leave_no_memory_behind(tmp_path: Path) -> None:
    """Whatever a line of the product's has made, and is still there."""
    with deployed("registry.yaml", "one", tmp_path) as registry:
        tracemalloc.start()
        try:
            registry.fail_over(FILLED)
            gc.collect()
            before = tracemalloc.take_snapshot()
            registry.fail_over(MEASURED)
            gc.collect()
            after = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
    ours = [tracemalloc.Filter(True, f"*/holdfast/{folder}/*") for folder in PRODUCT]
    compared = after.filter_traces(ours).compare_to(before.filter_traces(ours), "lineno")
    bytes_more = sum(one.size_diff for one in compared)
    assert bytes_more < GROWN_BYTES_MAX, "\n".join(map(str, compared[:10]))


def test_failovers_on_three_hosts_leave_nothing_behind(tmp_path: Path) -> None:
    """By standing order, with grants, hot processes and etcd."""
    with deployed("registry-hosts.yaml", "hosts", tmp_path) as registry:
        registry.fail_over(500)
        before, opened = held(), descriptors()
        registry.fail_over(300)
        assert grown(before, held()) == {}
        assert descriptors() == opened
