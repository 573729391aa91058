"""Two hosts of a peer, on a bridge as in the lab, with the lab's client outside.

In:   a folder that ends with the process. Out: hosts on which the service runs and a daemon may, and a client.
Always: hosts and services are sandboxes that the kernel ends with this process, and so are the daemons. These run
outside of the hosts' process numbers, since the kernel tells only there which processes have ended, and they get the
hosts' networks by name.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from holdfast.drivers import ports
from holdfast.drivers.netlink import Netlink
from holdfast.drivers.sandbox import Child, Sandbox, pid_of
from holdfast.errors import WorldError
from holdfast.lab import faults
from holdfast.lab.bench.keepalived_words import (
    ADDRESS,
    BETTER,
    INTERFACE,
    OTHER,
    Setting,
    ask_words,
    configuration,
    daemon_words,
    service_words,
    told_file,
)  # fmt: skip
from holdfast.lab.nest import bind
from holdfast.lab.outside import Outside
from holdfast.lab.run import CLIENT_ADDRESSES
from holdfast.lab.world import CLIENT
from holdfast.model.layout import Service
from holdfast.model.names import GroupName, ServiceName

BRIDGE = "lab0"
SUBNET = "10.77.0.{}/24"
NETWORKS = Path("/run/netns")
"""Where `net_namespace` looks a network up by its name."""
MASTER, BACKUP = b"Entering MASTER STATE", b"Entering BACKUP STATE"
SAID_LIMIT_S = 20.0
LOOK_S = 0.005
HELPER_EVERY_MS = 10


class PeerHosts:
    """Two hosts with keepalived on them, as `setting` says."""

    def __init__(self, setting: Setting, base: Path) -> None:
        self.setting, self._base = setting, base
        self.service = Service(
            name=ServiceName("shared"), group=GroupName("shared"), address=f"{ADDRESS}/24", port=5300
        )
        self._hosts: dict[str, Sandbox] = {}
        self._services: dict[str, Child] = {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._helpers: dict[str, Child] = {}

    def open(self) -> None:
        """The bridge, the hosts with their services, the client. No daemon runs yet."""
        self._switch = Sandbox.start("switch", self._base / "switch", namespaces=("net", "mnt"), bound=True)
        namespace = self._switch.netns_fd
        self._netlink = Netlink.open(namespace)
        os.close(namespace)
        self._netlink.up("lo")
        ports.make_bridge(self._netlink, BRIDGE)
        self.outside = Outside(self._base, self._netlink, BRIDGE, _environment(), bound=True)
        self.outside.join(CLIENT, CLIENT_ADDRESSES)
        NETWORKS.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate((BETTER, OTHER), start=11):
            self._open_host(name, SUBNET.format(number))

    def _open_host(self, name: str, address: str) -> None:
        folder = self._base / name
        host = self._hosts[name] = Sandbox.start(name, folder, bound=True)
        namespace = host.netns_fd
        try:
            self._netlink.veth(_port(name), INTERFACE, peer_netns_fd=namespace)
            self._netlink.enslave(_port(name), BRIDGE)
            self._netlink.up(_port(name))
            with Netlink.open(namespace) as inside:
                inside.up("lo")
                inside.up(INTERFACE)
                inside.add_address(INTERFACE, address)
        finally:
            os.close(namespace)
        bind(Path(f"/proc/{host.pid}/ns/net"), NETWORKS / name)
        words = service_words(sys.executable, name)
        named = _environment() | {"HOLDFAST_VNFC": name}
        self._services[name] = host.spawn(words, named, folder, folder / "service.log")
        (folder / "keepalived.conf").write_text(configuration(self.setting, name, sys.executable, folder))
        if self.setting.helper:
            told_file(folder).write_text("0")
            words = [*ask_words(sys.executable), "--every-ms", str(HELPER_EVERY_MS), "--told", str(told_file(folder))]
            self._helpers[name] = host.spawn(words, _environment(), folder, folder / "helper.log")

    def is_well(self, name: str) -> bool:
        """Whether the service on that host answers."""
        enter = ["nsenter", f"--net=/proc/{self._hosts[name].pid}/ns/net", "--"]
        return subprocess.run([*enter, *ask_words(sys.executable)], env=_environment(), check=False).returncode == 0

    # --- daemons

    def start_daemon(self, name: str) -> None:
        folder = self._base / name
        with (folder / "keepalived.log").open("wb") as log:
            # With the kernel's word that it ends with this process; its own child it ends itself.
            self._daemons[name] = subprocess.Popen(
                daemon_words(folder), env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def end_daemon(self, name: str) -> None:
        """In order: it says good-bye to the other one."""
        self._daemons[name].terminate()

    def until_master(self, name: str) -> None:
        self._until_said(name, MASTER)

    def until_backup(self, name: str) -> None:
        self._until_said(name, BACKUP)

    def _until_said(self, name: str, what: bytes) -> None:
        """Errors: WorldError, with what the daemon said last, if it does not come to that."""
        log = self._base / name / "keepalived.log"
        end = time.monotonic() + SAID_LIMIT_S
        while what not in (said := log.read_bytes()):
            if time.monotonic() > end or self._daemons[name].poll() is not None:
                last = " / ".join(said.decode(errors="replace").strip().splitlines()[-3:])
                raise WorldError(f"keepalived on {name} did not say {what.decode()!r}, but: {last}")
            time.sleep(LOOK_S)

    def processes(self, name: str) -> list[int]:
        """Daemon and helper of a host: what keeps its service available."""
        helpers = [pid_of(self._helpers[name].pidfd)] if name in self._helpers else []
        return [*faults.below(self._daemons[name].pid), *helpers]

    # --- faults

    def kill_service(self, name: str) -> None:
        signal.pidfd_send_signal(self._services[name].pidfd, signal.SIGKILL)

    def freeze_service(self, name: str) -> None:
        signal.pidfd_send_signal(self._services[name].pidfd, signal.SIGSTOP)

    def host_off(self, name: str) -> None:
        """No cable, no process, no good-bye."""
        self._netlink.delete(_port(name))
        self._kill_daemon(name)
        self._hosts[name].kill()

    def _kill_daemon(self, name: str) -> None:
        daemon = self._daemons[name]
        for pid in faults.below(daemon.pid) if daemon.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):  # Its child has ended on its own.
                os.kill(pid, signal.SIGKILL)
        daemon.wait()

    def close(self) -> None:
        for name in self._daemons:
            self._kill_daemon(name)
        self.outside.close()
        for host in self._hosts.values():
            host.close()
        self._netlink.close()
        self._switch.close()


def _port(name: str) -> str:
    return f"up-{name}"


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8"}
