"""What the faults of a soak are done to, as a contract, and the live deployment under it.

Each deed has taken effect when it returns, or raises `FaultFailed`; what it returns takes it back, and does no harm
where nothing is left to take back (a VM was restarted meanwhile, a host switched off).
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Protocol

from holdfast.lab import faults
from holdfast.lab.acts import FaultFailed
from holdfast.lab.live_acts import LiveActs
from holdfast.lab.soak.network import Roads, Undo, Way
from holdfast.lab.soak.stopped import Stopped
from holdfast.lab.world import LiveWorld
from holdfast.model.names import HA, HostName, VmName, VnfcName

LOST_PERCENT = 30
DOUBLED_PERCENT = 30
HANG = "hang"
"""A cleanup waits as long as this file lies in the component's folder (layouts/soak.yaml)."""


class Ground(Protocol):
    def is_on(self, host: HostName) -> bool: ...

    def kill_vnfc(self, name: VnfcName) -> None: ...

    def freeze_vnfc(self, name: VnfcName) -> None: ...

    def hang_cleanup(self, name: VnfcName) -> Undo: ...

    def kill_vm(self, name: VmName) -> None: ...

    def freeze_vm(self, name: VmName) -> Undo: ...

    def host_off(self, name: HostName) -> Undo: ...

    def freeze_host(self, name: HostName) -> Undo: ...

    def kill_agent(self, name: HostName) -> None: ...

    def freeze_agent(self, name: HostName) -> Undo: ...

    def starve_agent(self, name: HostName) -> Undo: ...

    def kill_hot(self, name: HostName) -> None: ...

    def kill_leader(self) -> None: ...

    def freeze_leader(self) -> Undo: ...

    def kill_store(self, name: HostName) -> Undo: ...

    def freeze_store(self, names: Sequence[HostName]) -> Undo: ...

    def cut(self, ways: Sequence[Way]) -> Undo: ...

    def lose_messages(self) -> Undo: ...

    def double_messages(self) -> Undo: ...

    def set_fences(self, name: HostName, mode: str) -> Undo: ...


class LiveGround:
    def __init__(self, world: LiveWorld, acts: LiveActs) -> None:
        self._world, self._acts = world, acts
        self._roads = Roads()

    def is_on(self, host: HostName) -> bool:
        return self._world.is_on(host)

    # --- components and VMs

    def kill_vnfc(self, name: VnfcName) -> None:
        self._acts.kill_vnfc(name)

    def freeze_vnfc(self, name: VnfcName) -> None:
        Stopped(f"VNFC {name}", lambda: faults.vnfc_processes(self._world.folder.vnfc(name))).leave()

    def hang_cleanup(self, name: VnfcName) -> Undo:
        if self._world.layout.components[self._world.layout.vnfcs[name].group].cleanup is None:
            raise FaultFailed(f"{name} has no cleanup of its own that could hang")
        file = self._world.folder.vnfc(name) / HANG
        self._acts.put_file(name, HANG)
        try:
            self._acts.kill_vnfc(name)
        except FaultFailed:
            file.unlink(missing_ok=True)
            raise
        return lambda: file.unlink(missing_ok=True)

    def kill_vm(self, name: VmName) -> None:
        self._acts.kill_vm(name)

    def freeze_vm(self, name: VmName) -> Undo:
        firsts = faults.sandbox_first_process(name)
        return Stopped(f"VM {name}", lambda: [pid for first in firsts for pid in faults.below(first)]).go_on

    # --- hosts and agents

    def host_off(self, name: HostName) -> Undo:
        self._acts.host_off(name)
        return lambda: self._acts.host_on(name)

    def freeze_host(self, name: HostName) -> Undo:
        first = self._world.first_process(name)
        return Stopped(f"host {name}", lambda: faults.below(first)).go_on

    def kill_agent(self, name: HostName) -> None:
        self._acts.kill_agent(name)

    def freeze_agent(self, name: HostName) -> Undo:
        return Stopped(f"agent of {name}", lambda: faults.agent_processes(name, with_hot=True)).go_on

    def starve_agent(self, name: HostName) -> Undo:
        if self._world.is_starved(name):
            raise FaultFailed(f"the agent of {name} starves already")
        self._acts.starve_agent(name)
        return lambda: self._acts.feed_agent(name)

    def kill_hot(self, name: HostName) -> None:
        with_hot, alone = (faults.agent_processes(name, with_hot=which) for which in (True, False))
        faults.kill_process(f"hot process of {name}", [pid for pid in with_hot if pid not in alone])

    # --- managers and store

    def kill_leader(self) -> None:
        self._acts.kill_leader()

    def freeze_leader(self) -> Undo:
        leader = faults.leader_process(self._world.folder.socket(HA))
        return Stopped("leader of the managers", lambda: [leader] if leader is not None else []).go_on

    def kill_store(self, name: HostName) -> Undo:
        self._acts.kill_store(name)

        def start() -> None:
            if self._world.is_on(name) and not faults.store_member(name):
                self._acts.start_store(name)

        return start

    def freeze_store(self, names: Sequence[HostName]) -> Undo:
        return Stopped("etcd", lambda: [pid for name in names for pid in faults.store_member(name)]).go_on

    # --- network, power

    def cut(self, ways: Sequence[Way]) -> Undo:
        return self._roads.cut(ways)

    def lose_messages(self) -> Undo:
        return self._roads.lose(list(permutations(self._world.layout.hosts, 2)), LOST_PERCENT)

    def double_messages(self) -> Undo:
        return self._roads.double([host for host in self._world.layout.hosts if self.is_on(host)], DOUBLED_PERCENT)

    def set_fences(self, name: HostName, mode: str) -> Undo:
        if not self._world.layout.hosts[name].fence:
            raise FaultFailed(f"{name} has no fence device")
        self._acts.set_fence_mode(name, mode, "")
        return lambda: self._acts.set_fence_mode(name, "works", "")

    def close(self) -> None:
        self._roads.close()
