"""Deeds done to a live world: signals to real processes, cables, power, files, the commands a person would type."""

import os
import subprocess
import sys
import time

import msgspec

from holdfast.errors import PeerError
from holdfast.lab import faults
from holdfast.lab.acts import FaultFailed, Stuck
from holdfast.lab.probing import SecondClient
from holdfast.lab.world import LiveWorld
from holdfast.model.names import HA, HostName, VmName, VnfcName, VnfName
from holdfast.runtime.given import parties_of
from holdfast.runtime.outside import ask
from holdfast.wire.link_messages import AskStatus

STATUS_LIMIT_S = 0.5
COMMAND_LIMIT_S = 30.0


class LiveActs:
    """The contract of `Acts`, on this machine."""

    def __init__(self, world: LiveWorld, second: SecondClient) -> None:
        self._world = world
        self._second = second

    def now(self) -> float:
        return time.monotonic()

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds)

    # --- components and VMs

    def kill_vnfc(self, name: VnfcName) -> None:
        faults.kill_vnfc(self._world.folder.vnfc(name))

    def freeze_vnfc(self, name: VnfcName) -> None:
        faults.freeze_vnfc(self._world.folder.vnfc(name))

    def has_processes(self, name: VnfcName) -> bool:
        return bool(faults.vnfc_processes(self._world.folder.vnfc(name)))

    def kill_vm(self, name: VmName) -> None:
        faults.kill_sandbox(name)

    def put_file(self, name: VnfcName, file: str) -> None:
        (self._world.folder.vnfc(name) / file).touch()

    def take_file(self, name: VnfcName, file: str) -> None:
        (self._world.folder.vnfc(name) / file).unlink()

    # --- hosts and agents

    def host_off(self, name: HostName) -> None:
        self._world.switch_off(name)

    def host_on(self, name: HostName) -> None:
        self._world.switch_on(name)

    def is_on(self, name: HostName) -> bool:
        return self._world.is_on(name)

    def freeze_host(self, name: HostName) -> None:
        faults.hold(f"host {name}", faults.below(self._world.first_process(name)))

    def thaw_host(self, name: HostName) -> None:
        faults.release(f"host {name}", faults.below(self._world.first_process(name)))

    def kill_agent(self, name: HostName) -> None:
        faults.kill_process(f"agent of {name}", faults.agent_processes(name, with_hot=False))

    def stick_agent(self, name: HostName) -> None:
        faults.hold(f"agent of {name}", faults.agent_processes(name, with_hot=False))

    def freeze_agent(self, name: HostName) -> None:
        faults.hold(f"agent of {name}", faults.agent_processes(name, with_hot=True))

    def thaw_agent(self, name: HostName) -> None:
        faults.release(f"agent of {name}", faults.agent_processes(name, with_hot=True))

    def starve_agent(self, name: HostName) -> str:
        return self._world.starve_agent(name)

    def feed_agent(self, name: HostName) -> None:
        self._world.feed_agent(name)

    # --- managers and store

    def kill_managers(self, which: str) -> None:
        faults.kill_process(f"manager {which}", faults.manager_processes(which))

    def hold_managers(self, which: str) -> None:
        faults.hold(f"manager {which}", faults.manager_processes(which))

    def release_managers(self, which: str) -> None:
        faults.release(f"manager {which}", faults.manager_processes(which))

    def has_leader(self) -> bool:
        return self._leader() is not None

    def leads_at(self, name: HostName) -> bool:
        return self._leader() in faults.below(self._world.first_process(name))

    def kill_leader(self) -> None:
        pid = self._leader()
        if pid is None:
            raise FaultFailed("nobody leads the managers")
        faults.kill_process("leader of the managers", [pid])

    def _leader(self) -> int | None:
        return faults.leader_process(self._world.folder.socket(HA))

    def move_store_leader(self, name: HostName) -> None:
        self._world.move_store_leader(name)

    def kill_store(self, name: HostName) -> None:
        faults.kill_process(f"etcd of {name}", faults.store_member(name))

    def start_store(self, name: HostName) -> None:
        self._world.start_store_member(name)

    def is_controlled(self) -> bool:
        world = self._world
        for party in parties_of(world.layout):
            try:
                answer = msgspec.json.decode(ask(world.folder, party, AskStatus(), STATUS_LIMIT_S).content)
            except PeerError:
                return False
            if not all(joined for host, joined in answer["agents"].items() if world.is_on(HostName(host))):
                return False
        return True

    def switch_over(self, vnf: VnfName, to: VnfcName | None = None) -> None:
        self._type("switchover", vnf, *(["--to", to] if to is not None else []))

    def lock(self, name: HostName) -> None:
        self._type("lock", name, "--is-off", "--yes")

    def unlock(self, name: HostName) -> None:
        self._type("unlock", name)

    def _type(self, *words: str) -> None:
        """The same command as a person would."""
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *words, "--name", self._world.layout.name],
            env=os.environ | {"HOLDFAST_RUN": str(self._world.folder.root.parent)},
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise Stuck(f"`holdfast {' '.join(words)}` ended with {done.returncode}: {said}")

    # --- network, power, all of it

    def cut(self, name: HostName, other: HostName | None, network: str) -> None:
        if other is not None:
            self._world.cut_pair(name, other, network)
        else:
            self._world.cut_off(name, network)

    def heal(self) -> None:
        self._world.heal()

    def second_client(self) -> None:
        self._second.join()

    def mislead(self, name: VnfcName) -> None:
        self._second.mislead(name)

    def set_fence_mode(self, name: HostName, mode: str, level: str) -> None:
        self._world.set_fence_mode(name, mode, level)

    def down_and_up(self) -> None:
        self._world.power_cut()
        self._world.switch_all_on()
