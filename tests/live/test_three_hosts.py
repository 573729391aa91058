"""docs/several-hosts.md followed by hand: three hosts that the lab did not make, each with its own folder and network.

The hosts are network namespaces that `ip` makes and joins by a bridge; every process on them is started by the
commands of that page. All of it lives in a nest, and ends with it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.live.test_up_down import in_nest

pytestmark = pytest.mark.namespaces
LIMIT_S = 25.0
HOSTS = {"a": "10.77.0.1", "b": "10.77.0.2", "c": "10.77.0.3"}
STORE = "etcd://" + ",".join(HOSTS.values()) + "/dns"
PAGE = (Path(__file__).parents[2] / "docs" / "several-hosts.md").read_text()
DESCRIPTOR = PAGE.partition("```yaml\n")[2].partition("```")[0]
"""As it stands in the guide."""


def words(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


class Host:
    """One host: its network namespace, its own base of run folders, what was started on it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.address = name, HOSTS[name]
        self.base = folder / name
        self.base.mkdir()
        self.folder = self.base / "dns"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        words("ip", "netns", "add", name)
        words("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        words("ip", "link", "set", f"to-{name}", "master", "switch", "up")
        for command in (
            "link set lo up",
            "link add hf0 type bridge",
            "link set eth0 master hf0 up",
            f"address add {self.address}/24 dev hf0",
            "link set hf0 up",
        ):
            words("ip", "-n", name, *command.split())

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOLDFAST_RUN": str(self.base)}

    def command(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def holdfast(self, *command: str, expected: int = 0) -> str:
        done = subprocess.run(
            self.command(sys.executable, "-m", "holdfast", *command),
            env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert done.returncode == expected, f"{self.name}: {command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def start(self, what: str, *command: str) -> None:
        with (self.base / f"{what}.log").open("ab") as log:
            self.running[what] = subprocess.Popen(
                self.command(*command), env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def start_etcd(self) -> None:
        members = ",".join(f"{name}=http://{address}:2380" for name, address in HOSTS.items())
        self.start(
            "etcd", "etcd", "--name", self.name, "--data-dir", str(self.base / "etcd"), "--logger", "zap",
            "--initial-cluster", members, "--initial-advertise-peer-urls", f"http://{self.address}:2380",
            "--listen-peer-urls", f"http://{self.address}:2380", "--listen-client-urls", f"http://{self.address}:2379",
            "--advertise-client-urls", f"http://{self.address}:2379", "--log-level", "warn",
            "--heartbeat-interval", "50", "--election-timeout", "500", "--pre-vote",
        )  # fmt: skip

    def start_agent(self) -> None:
        self.start(
            "agent", sys.executable, "-m", "holdfast", "agent", "--folder", str(self.folder), "--host", self.name
        )

    def start_manager(self) -> None:
        self.start(
            "manager", sys.executable, "-m", "holdfast", "manager", "--folder", str(self.folder), "--store", STORE,
            "--manager", self.name,
        )  # fmt: skip

    def end(self, what: str) -> int:
        process = self.running.pop(what)
        process.send_signal(signal.SIGTERM)
        return process.wait(10)

    def status(self) -> dict[str, Any]:
        """What its manager says; empty where another one leads."""
        shown: dict[str, Any] = json.loads(self.holdfast("status", "dns", "--json"))
        return {} if all("away" in part for part in shown["managers"].values()) else shown


def service(hosts: Sequence[Host]) -> dict[str, Any]:
    for host in hosts:
        if shown := host.status():
            found: dict[str, Any] = dict(shown["vnfs"]["dns"]["services"]["dns"])
            found["by"] = host.name
            found["ready"] = [
                name for name, one in shown["vnfs"]["dns"]["vnfcs"].items() if one["condition"] == "ready"
            ]
            found["runs"] = {name: one["run"] for name, one in shown["vnfs"]["dns"]["vnfcs"].items()}
            return found
    return {"state": "unknown", "vnfc": None, "ready": [], "runs": {}}


def until(holds: Callable[[], bool], what: str, hosts: Sequence[Host]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() < limit:
            continue
        logs = [log for host in hosts for log in (*host.base.glob("*.log"), *host.folder.glob("log/*.log"))]
        said = "\n".join(f"{log}:\n{log.read_text(errors='replace')[-1500:]}" for log in logs if log.stat().st_size)
        raise AssertionError(f"not within {LIMIT_S} s: {what}: {service(hosts)}\n{said}")


def processes(pattern: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if pattern in command:
            found.append(int(entry.name))
    return found


def component(pid: int) -> str:
    """Which component the process is."""
    given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(one.partition(b"=")[2].decode() for one in given if one.startswith(b"HOLDFAST_VNFC="))


def prepared(folder: Path) -> list[Host]:
    """Steps 1 to 4 of the page: network, etcd, the same descriptor and key on each host."""
    words("ip", "link", "add", "switch", "type", "bridge")
    words("ip", "link", "set", "switch", "up")
    hosts = [Host(name, folder) for name in HOSTS]
    descriptor = folder / "dns.yaml"
    descriptor.write_text(DESCRIPTOR)
    first, *others = hosts
    assert "holdfast prepare" in first.holdfast("up", str(descriptor), expected=2)
    said = first.holdfast("prepare", str(descriptor), "--folder", str(first.folder))
    assert (first.folder / "key").stat().st_mode & 0o777 == 0o600
    for host in others:
        told = host.holdfast(
            "prepare", str(descriptor), "--folder", str(host.folder), "--key", str(first.folder / "key")
        )
        assert told.splitlines()[1] == said.splitlines()[1], "the fingerprints are the same"
    for host in hosts:
        host.start_etcd()
    return hosts


def test_three_hosts_by_the_commands_of_the_guide(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        hosts = prepared(folder)
        for host in hosts:
            host.start_agent()
        for host in hosts:
            host.start_manager()
        until(lambda: len(service(hosts)["ready"]) == 3, "all components are ready", hosts)
        before = service(hosts)
        assert before["state"] == "provided"

        (pid,) = [pid for pid in processes("dnsmasq --keep") if component(pid) == before["vnfc"]]
        os.kill(pid, signal.SIGKILL)
        until(lambda: service(hosts)["vnfc"] not in {None, before["vnfc"]}, "another one has taken over", hosts)
        until(lambda: len(service(hosts)["ready"]) == 3, "the failed one is repaired", hosts)

        # An upgrade of the leader's host: manager and agent end and start, the service stays where it is.
        at = service(hosts)
        leader = next(host for host in hosts if host.name == at["by"])
        assert leader.end("manager") == 0
        until(lambda: service(hosts).get("by") not in {None, leader.name}, "another manager leads", hosts)
        assert leader.end("agent") == 0
        leader.start_agent()
        leader.start_manager()
        until(lambda: len(service(hosts)["ready"]) == 3, "the agent has adopted what runs", hosts)
        assert (service(hosts)["vnfc"], service(hosts)["epoch"]) == (at["vnfc"], at["epoch"])

        # An upgrade of another host, with its hot process: nothing of its runs for a while.
        own = {host.name: f"dns-{number}" for number, host in enumerate(hosts, 1)}
        other = next(host for host in hosts if host is not leader and own[host.name] != at["vnfc"])
        run = service(hosts)["runs"][own[other.name]]
        other.end("manager")
        other.end("agent")
        other.holdfast("agent", "--folder", str(other.folder), "--host", other.name, "--end")
        other.start_agent()
        other.start_manager()
        until(lambda: service(hosts)["runs"].get(own[other.name], 0) > run, "its component is started again", hosts)
        until(lambda: len(service(hosts)["ready"]) == 3, "its component is back", hosts)
        assert (service(hosts)["vnfc"], service(hosts)["epoch"]) == (at["vnfc"], at["epoch"])

        assert "several hosts" in leader.holdfast("down", "dns", expected=2)
        for host in hosts:
            host.end("manager")
        for host in hosts:
            host.end("agent")
            host.holdfast("agent", "--folder", str(host.folder), "--host", host.name, "--end")
            host.end("etcd")
        until(lambda: processes("dnsmasq --keep") + processes("holdfast.runtime") == [], "nothing is left", [])
        assert words("ip", "netns", "exec", "a", "nft", "list", "tables") == ""

    in_nest(story, tmp_path)
