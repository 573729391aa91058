"""The live world: lab hosts as namespaces on this machine, joined by a bridge, with a client outside of them.

```
            client (probe, owners' watcher)
               │
   ────────────┴── lab0 ──┬───────────────      the nest's own network namespace; managers run here
                          │ uplink
      ┌── host h1 ── hf0 ─┴─┐                   a sandbox: PID, network, mount namespace; agent and supervisor
      │     VM vm1, VM vm2  │                   sandboxes within it, made by the agent
      └──────────┬──────────┘
                 │ second
   ──────────────┴── lab1 ─────────────────     where the layout has a second network; no client and no VM is on it
```

A host is switched off by killing its first process: agent, VMs, VNFCs and its interface end at that moment. Its disks
(the run folder) stay. Each host hangs on a power switch that the lab's fence device speaks to.
"""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import structs

from holdfast.drivers import ports
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.sandbox import Child, Sandbox, gone, pid_of
from holdfast.errors import WorldError
from holdfast.lab import faults
from holdfast.lab.acts import FaultFailed
from holdfast.lab.cuts import Cuts
from holdfast.lab.members import BESIDE, store_members
from holdfast.lab.outside import Outside
from holdfast.lab.power import PowerSwitch
from holdfast.lab.starving import Starved, starve
from holdfast.model.layout import NETWORKS, FenceLevels, Host, Layout
from holdfast.model.names import HostName, VnfcName
from holdfast.runtime.folder import RunFolder

BIN = Path(__file__).parent / "bin"
BRIDGES = {"first": "lab0", "second": "lab1"}
"""By network."""
MANAGER_ADDRESSES = {"first": ("10.77.0.251/24", "fd77::251/64"), "second": ("10.78.0.251/24", "fd78::251/64")}
CLIENT = "client"
"""The machine outside whose view of the service is judged."""
SECOND = "second"
"""Name of a host's interface on the second network."""
SUPERVISOR_END_LIMIT_S = 15.0
STORE_LEADER_LIMIT_S = 20.0


class LiveWorld:
    """A deployment of one layout in this nest."""

    def __init__(
        self,
        layout: Layout,
        base: Path,
        managers: Literal["one", "three", "hosts"],
        client_addresses: Sequence[str],
        control: Sequence[HostName] = (),
    ) -> None:
        """
        Args:
            base: a folder of this nest's own (nothing in it outlives the nest).
            control: the hosts with a member of the store and a candidate for the managers' leadership, if these are not
                the usual ones.
        """
        self.folder = RunFolder(base / layout.name)
        self.layout = self._with_power_switch(layout, base / "power.sock")
        self.managers = managers
        self._client_addresses = client_addresses
        self._base = base
        self._members = store_members(layout, MANAGER_ADDRESSES["first"][0].partition("/")[0], control)
        self._control = control
        self._beside: subprocess.Popen[bytes] | None = None
        """The store's member that is on no host."""
        self._hosts: dict[HostName, Sandbox] = {}
        self._host_supervisors: dict[HostName, Child] = {}
        self._controller: subprocess.Popen[bytes] | None = None
        self._netlink = Netlink.open()
        self.outside = Outside(base, self._netlink, BRIDGES["first"], _environment())
        self._switch = PowerSwitch(base / "power.sock", self)
        self._cuts = Cuts()
        self._starved: dict[HostName, Starved] = {}
        self._one_switches = threading.RLock()
        """A fence device and a fault may be at the power of the same host."""

    @staticmethod
    def _with_power_switch(layout: Layout, switch: Path) -> Layout:
        """Fence devices named `fence_lab` are plugged into this world's switch."""
        hosts = {
            name: msgspec.structs.replace(host, fence=_plugged(host, switch)) for name, host in layout.hosts.items()
        }
        return msgspec.structs.replace(layout, hosts=hosts)

    # --- putting up ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Everything is on after this; services come up on their own."""
        for part in ("journal", "log"):
            (self.folder.root / part).mkdir(parents=True, exist_ok=True)
        self.folder.layout.write_bytes(msgspec.json.encode(self.layout))
        self.folder.key.write_bytes(secrets.token_bytes(32))
        self.folder.key.chmod(0o600)
        self._netlink.up("lo")
        for network in self.networks:
            # The managers have addresses of their own only where agents are reached over the network.
            own = MANAGER_ADDRESSES[network] if self.layout.grants is not None else ()
            ports.make_bridge(self._netlink, BRIDGES[network], own)
        self.outside.join(CLIENT, self._client_addresses)
        self._switch.start()
        if self.managers == "hosts" and BESIDE in self._members:
            self._start_store_beside()
        self.switch_all_on()

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks between the hosts."""
        has_second = any(host.second for host in self.layout.hosts.values())
        return NETWORKS if has_second else NETWORKS[:1]

    def switch_all_on(self) -> None:
        for name in self.layout.hosts:
            self.switch_on(name)
        if self.managers != "hosts":
            self._start_controller()

    def switch_on(self, name: HostName) -> None:
        with self._one_switches:
            self._switch_on(name)

    def _switch_on(self, name: HostName) -> None:
        if name in self._hosts and not gone(self._hosts[name].pidfd):
            return
        host = self.layout.hosts[name]
        sandbox = Sandbox.start(name, self._base / "hosts" / name)
        namespace = sandbox.netns_fd
        try:
            with Netlink.open(namespace) as inside:
                inside.up("lo")
                ports.make_bridge(inside, host.bridge, host.addresses)
                self._join(name, "first", "uplink", namespace)
                inside.enslave("uplink", host.bridge)
                inside.up("uplink")
                if host.second:
                    self._join(name, "second", SECOND, namespace)
                    inside.up(SECOND)
                    inside.add_address(SECOND, host.second)
        finally:
            os.close(namespace)
        self._hosts[name] = sandbox
        if self.managers == "hosts":
            self.start_store_member(name)
        leads = self.managers == "hosts" and (not self._control or name in self._control)
        own = ["one", "--store", self.store] if leads else ["none"]
        self._host_supervisors[name] = sandbox.spawn(
            [*_supervisor(self.folder), "--agents", name, "--name", name, "--managers", *own],
            _environment(),
            self.folder.root,
            self.folder.log(f"supervisor-{name}"),
        )

    def _join(self, name: HostName, network: str, inner: str, namespace: int) -> None:
        """Give the host an interface on the network; one from before it was switched off goes first."""
        outer = port_of(name, network)
        self._netlink.delete(outer)
        self._netlink.veth(outer, inner, peer_netns_fd=namespace)
        self._netlink.enslave(outer, BRIDGES[network])
        self._netlink.up(outer)

    @property
    def store(self) -> str:
        """Address of the etcd cluster."""
        members = [address for addresses in self._members.values() for address in addresses]
        return f"etcd://{','.join(members)}/{self.layout.name}"

    def start_store_member(self, name: HostName) -> None:
        """On a host that has one."""
        if name in self._members:
            words, log = self._store_words(name), self.folder.log(f"etcd-{name}")
            self._hosts[name].spawn(words, _environment(), self.folder.root, log)

    def _start_store_beside(self) -> None:
        with self.folder.log(f"etcd-{BESIDE}").open("ab") as log:
            self._beside = subprocess.Popen(
                self._store_words(BESIDE), env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _store_words(self, name: HostName) -> list[str]:
        def urls(host: HostName, port: int) -> list[str]:
            return [f"http://{address}:{port}" for address in self._members[host]]

        peers, clients = ",".join(urls(name, 2380)), ",".join(urls(name, 2379))
        members = [f"{other}={url}" for other in self._members for url in urls(other, 2380)]
        return [
            *["etcd", "--name", name, "--data-dir", str(self._base / "etcd" / name), "--logger", "zap"],
            *["--initial-cluster", ",".join(members)],
            *["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers],
            *["--listen-client-urls", clients, "--advertise-client-urls", clients, "--log-level", "warn"],
            *["--heartbeat-interval", "50", "--election-timeout", "500", "--pre-vote"],
            *["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "5m"],
        ]

    def move_store_leader(self, name: HostName) -> None:
        """Have etcd's leader on that host, by etcdctl as a person would."""
        if name not in self._members:
            raise FaultFailed(f"host {name} has no member of the store")
        ends = ",".join(f"http://{addresses[0]}:2379" for addresses in self._members.values())
        own = f"http://{self._members[name][0]}:2379"
        end = time.monotonic() + STORE_LEADER_LIMIT_S
        while time.monotonic() < end:
            listed = self._etcdctl(ends, "endpoint", "status", "-w", "json")
            status = {one["Endpoint"]: one["Status"] for one in msgspec.json.decode(listed)}
            # In the middle of an election etcd names none, or one that nobody else knows yet.
            member, leader = status[own]["header"]["member_id"], status[own].get("leader", 0)
            if member == leader:
                return
            at = next((place for place, one in status.items() if one["header"]["member_id"] == leader), None)
            if at is not None:
                self._etcdctl(at, "move-leader", f"{member:x}")
                return
            time.sleep(0.05)
        raise FaultFailed(f"etcd has had no leader for {STORE_LEADER_LIMIT_S:g} s")

    def _etcdctl(self, endpoints: str, *words: str) -> bytes:
        try:
            done = subprocess.run(
                ["etcdctl", "--endpoints", endpoints, *words],
                env=_environment() | {"ETCDCTL_API": "3"},
                capture_output=True,
                timeout=10.0,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WorldError(f"etcdctl {' '.join(words)} has not ended within {error.timeout:g} s") from error
        if done.returncode != 0:
            raise WorldError(f"etcdctl {' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def switch_off(self, name: HostName) -> None:
        with self._one_switches:
            self._switch_off(name)

    def _switch_off(self, name: HostName) -> None:
        sandbox = self._hosts.get(name)
        if sandbox is None:
            return
        uplinks = [port_of(name, network) for network in self.networks]
        for uplink in uplinks:
            if self._netlink.exists(uplink):
                # First: what the kernel of a host that has no power would still answer must not be heard.
                self._netlink.down(uplink)
        sandbox.kill()
        if not sandbox.wait_gone(5.0):
            raise WorldError(f"lab host {name} did not go off within 5 s")
        for uplink in uplinks:
            self._netlink.delete(uplink)

    def cut_off(self, name: HostName, only: str = "") -> None:
        """Cut the host from all others and from the managers, on all networks or on one.

        The client, which is on the first one, still hears it, and it the client.
        """
        others = [other for other in self.layout.hosts if other != name]
        for network in self._chosen(only):
            theirs = [address for other in others for address in self._addresses_of(other, network)]
            own = self._addresses_of(name, network)
            self._cuts.cut(port_of(name, network), [*theirs, *MANAGER_ADDRESSES[network]])
            for other in others:
                self._cuts.cut(port_of(other, network), own)
            self._cuts.hide_from_us(own)

    def cut_pair(self, one: HostName, other: HostName, only: str = "") -> None:
        """Cut two hosts from one another, on all networks or on one; everybody else hears both."""
        for network in self._chosen(only):
            self._cuts.cut(port_of(one, network), self._addresses_of(other, network))
            self._cuts.cut(port_of(other, network), self._addresses_of(one, network))

    def _chosen(self, only: str) -> tuple[str, ...]:
        if only and only not in self.networks:
            raise FaultFailed(f"there is no {only} network here", "the layout needs network.second-subnet")
        return (only,) if only else self.networks

    def starve_agent(self, name: HostName) -> str:
        """Leave the host's agent and its hot process hardly any processor time; returns how."""
        self._starved[name] = starve(faults.agent_processes(name, with_hot=True))
        return self._starved[name].how

    def is_starved(self, name: HostName) -> bool:
        return name in self._starved

    def feed_agent(self, name: HostName) -> None:
        self._starved.pop(name).feed()

    def feed_all(self) -> None:
        for name in tuple(self._starved):
            self.feed_agent(name)

    def set_fence_mode(self, name: HostName, mode: str, level: str = "") -> None:
        self._switch.set_mode(name, mode, level)

    def heal(self) -> None:
        self._cuts.heal()

    def _addresses_of(self, other: HostName, network: str) -> list[str]:
        host = self.layout.hosts[other]
        if network == "second":
            return [host.second]
        vms = [vm.addresses for vm in self.layout.vms.values() if vm.host == other]
        return [address for addresses in (host.addresses, *vms) for address in addresses]

    def first_process(self, name: HostName) -> int:
        return self._hosts[name].pid

    def is_on(self, name: HostName) -> bool:
        return name in self._hosts and not gone(self._hosts[name].pidfd)

    def _start_controller(self) -> None:
        log = self.folder.log("supervisor").open("ab")
        with log:
            self._controller = subprocess.Popen(
                [*_supervisor(self.folder), "--agents", "none", "--managers", self.managers],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder.root,
            )

    # --- using --------------------------------------------------------------------------------------------------

    def mac_of(self, vnfc: VnfcName) -> str:
        """By which clients reach what runs in its VM."""
        vm = self.layout.vnfcs[vnfc].vm
        if vm is None:
            raise FaultFailed(f"{vnfc} is in no VM, which would have a MAC of its own")
        return ports.mac_of("inner", ports.port_name(self.layout.name, vm)).hex(":")

    def power_cut(self) -> None:
        """Everything goes off at once: hosts and managers."""
        if self._controller is not None:
            # The supervisor first, or it would start the managers again.
            for pid in (self._controller.pid, *faults.manager_processes("all")):
                _kill_quietly(pid)
            self._controller.wait()
        for name in self.layout.hosts:
            self.switch_off(name)

    # --- taking down --------------------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """End the deployment in good order; returns what it left behind (nothing, if all is well).

        Also after an `open` that failed half-way.
        """
        left: list[str] = []
        # First: managers that are still there would have hosts switched off that are being ended one after the other.
        self._switch.stop()
        self.feed_all()
        if self._controller is not None:
            self._controller.terminate()
            try:
                self._controller.wait(SUPERVISOR_END_LIMIT_S)
            except subprocess.TimeoutExpired:
                left.append("the managers' supervisor did not end")
        for name, child in self._host_supervisors.items():
            try:
                left += self._end_host(name, child)
            except WorldError as error:
                left.append(f"what is on host {name} cannot be known: {error}")
        if self._beside is not None:
            self._beside.kill()
            self._beside.wait()
        self.outside.close()
        for sandbox in self._hosts.values():
            sandbox.kill()
            sandbox.wait_gone(5.0)
            sandbox.close()
        self._netlink.close()
        return left

    def _end_host(self, name: HostName, child: Child) -> list[str]:
        sandbox = self._hosts[name]
        if gone(sandbox.pidfd):
            return []
        for pid in faults.store_member(name):
            _kill_quietly(pid)
        _terminate(child)
        ended = sandbox.wait(child, SUPERVISOR_END_LIMIT_S) is not None
        return [
            *([] if ended else [f"the supervisor of host {name} did not end"]),
            *self._leftovers(name, sandbox),
        ]

    def _leftovers(self, name: HostName, sandbox: Sandbox) -> list[str]:
        left = []
        namespace = sandbox.netns_fd
        try:
            with Netlink.open(namespace) as inside:
                for vm in self.layout.vms.values():
                    if vm.host == name and inside.exists(ports.port_name(self.layout.name, vm.name)):
                        left.append(f"port of VM {vm.name} on host {name}")
        finally:
            os.close(namespace)
        _, handles = sandbox.ask({"op": "describe"})
        for handle in handles[1:]:
            if not gone(handle):
                left.append(f"process {_words_of(handle)} on host {name}")
        for handle in handles:
            os.close(handle)
        return left


def _plugged(host: Host, switch: Path) -> FenceLevels:
    return tuple(
        tuple(
            structs.replace(
                device, options={**device.options, "ip": str(switch), "plug": host.name, "level": str(number)}
            )
            if device.agent == "fence_lab"
            else device
            for device in level
        )
        for number, level in enumerate(host.fence, start=1)
    )


def _supervisor(folder: RunFolder) -> list[str]:
    return [sys.executable, "-m", "holdfast.runtime.supervisor", "--folder", str(folder.root)]


def _environment() -> dict[str, str]:
    return {"PATH": f"{BIN}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}", "LC_ALL": "C.UTF-8"}


def _words_of(handle: int) -> str:
    """What the process is, as a person finds it in a list of processes."""
    pid = pid_of(handle)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = ["(just ended)"]
    return f"{pid} ({' '.join(words).strip()[:200]})"


def _terminate(child: Child) -> None:
    try:
        signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    except ProcessLookupError:
        return


def _kill_quietly(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def port_of(name: HostName, network: str = "first") -> str:
    """The host's end in the lab: a port of the network's bridge."""
    return f"{'up' if network == 'first' else 'up2'}-{name}"[:15]
