"""docs/several-hosts.md and docs/etcd.md followed by hand, on three hosts that the lab did not make.

etcd has TLS and passwords; an upgrade, a restore of etcd and the loss of a host for good are lived through, while a
client outside asks on. All of it lives in a nest, and ends with it.
"""

import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from tests.live.hosts_by_hand import (
    CLIENT,
    HOSTS,
    LIMIT_S,
    Client,
    Host,
    authenticate,
    block,
    certificates,
    furnish,
    of_host,
    words,
)
from tests.live.test_up_down import in_nest

pytestmark = pytest.mark.namespaces
OWN = {"a": "dns-1", "b": "dns-2", "c": "dns-3"}
"""Which component is on which host."""


def service(hosts: Collection[Host]) -> dict[str, Any]:
    for host in hosts:
        if shown := host.status():
            found: dict[str, Any] = dict(shown["vnfs"]["dns"]["services"]["dns"])
            vnfcs = shown["vnfs"]["dns"]["vnfcs"]
            found["by"] = host.name
            found["ready"] = [name for name, one in vnfcs.items() if one["condition"] == "ready"]
            found["runs"] = {name: one["run"] for name, one in vnfcs.items()}
            found["members"] = shown["voters"]["members"]
            return found
    return {"state": "unknown", "vnfc": None, "ready": [], "runs": {}}


def until(holds: Callable[[], bool], what: str, hosts: Collection[Host]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() < limit:
            continue
        logs = [log for host in hosts for log in (*host.disk.glob("*.log"), *host.disk.glob("var/lib/*/*/log/*.log"))]
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


def kill(component: str) -> None:
    """Its process, wherever that is."""
    mine = f"HOLDFAST_VNFC={component}".encode()
    (pid,) = [one for one in processes("dnsmasq --keep") if mine in Path(f"/proc/{one}/environ").read_bytes()]
    os.kill(pid, signal.SIGKILL)


class Story:
    def __init__(self, folder: Path) -> None:
        words("ip", "link", "add", "switch", "address", "02:00:00:00:00:09", "type", "bridge")
        words("ip", "link", "set", "switch", "up")
        words("ip", "address", "add", f"{CLIENT}/24", "dev", "switch")
        self.made, self.disks = folder / "made", folder / "disks"
        self.made.mkdir()
        self.disks.mkdir()
        words("mount", "-t", "tmpfs", "tmpfs", str(self.disks))  # What overlays are made of.
        self.hosts = {name: Host(name, self.disks / name) for name in HOSTS}
        self._led = ""
        certificates(self.made)

    @property
    def all(self) -> Collection[Host]:
        return self.hosts.values()

    def now(self) -> dict[str, Any]:
        # Whoever led last is asked first: each question is a process of its own.
        now = service(sorted(self.all, key=lambda host: host.name != self._led))
        self._led = now.get("by", self._led)
        return now

    def leader(self) -> Host:
        return self.hosts[self.now()["by"]]

    def all_ready(self, what: str) -> None:
        until(lambda: len(self.now()["ready"]) == len(HOSTS) and self.now()["state"] == "provided", what, self.all)

    def all_ready_since(self, runs: dict[str, int]) -> None:
        """All are ready, these in a later run."""

        def are_later() -> bool:
            now = self.now()["runs"]
            return all(now.get(name, 0) > run for name, run in runs.items())

        until(are_later, f"{', '.join(runs)}: started again", self.all)
        self.all_ready("all are ready again")

    def install(self) -> None:
        """Steps 3 to 5."""
        for host in self.all:
            furnish(host, self.made)
            host.start_etcd()
        until(lambda: self._is_healthy(), "etcd is healthy", [])
        authenticate(self.hosts)
        first, *others = self.all
        assert "holdfast prepare" in first.holdfast("up", "/etc/holdfast/dns.yaml", expected=2)
        said = first.holdfast("prepare", "/etc/holdfast/dns.yaml", "--folder", str(first.folder))
        for host in others:
            assert self.prepare(host, first).splitlines()[1] == said.splitlines()[1], "the fingerprints are the same"
        assert "share a store" in first.holdfast("manager", "--folder", str(first.folder), expected=2)
        for what in ("agent", "manager"):
            for host in self.all:
                host.start_unit(what)
        self.all_ready("all components are ready")

    def _is_healthy(self) -> bool:
        text = "set -a; . /etc/etcd/etcdctl.env; etcdctl endpoint health --cluster || true"
        return self.hosts["a"].shell(text).count("is healthy") == len(HOSTS)

    def prepare(self, host: Host, other: Host) -> str:
        """With the key of the other one."""
        file = host.root / "etc/holdfast/dns.key"
        file.touch(0o600)
        file.write_bytes((other.root / f"{other.folder}/key".lstrip("/")).read_bytes())
        words_ = ("prepare", "/etc/holdfast/dns.yaml", "--folder", str(host.folder), "--key", "/etc/holdfast/dns.key")
        return host.holdfast(*words_)

    def a_component_is_killed(self) -> None:
        before = self.now()
        kill(before["vnfc"])
        until(lambda: self.now()["vnfc"] not in {None, before["vnfc"]}, "another one has taken over", self.all)
        self.all_ready("the failed one is repaired")
        told = self.leader().holdfast("why")
        assert f"{before['vnfc']} failed (" in told
        assert "is told there" in told

    def manager_and_agent_are_upgraded(self) -> None:
        """On the leader's host: both end and start, the service stays where it is. Then it is moved there."""
        at, host = self.now(), self.leader()
        assert host.end("manager") == 0
        until(lambda: self.now().get("by") not in {None, host.name}, "another manager leads", self.all)
        assert host.end("agent") == 0
        host.start_unit("agent")
        host.start_unit("manager")
        self.all_ready("the agent has adopted what runs")
        assert (self.now()["vnfc"], self.now()["epoch"]) == (at["vnfc"], at["epoch"])
        if at["vnfc"] != OWN[host.name]:
            self.leader().holdfast("switchover", "dns", "--to", OWN[host.name])
            self.all_ready("it has taken over in good order")
        journal = (host.root / f"{host.folder}/journal/agent-{host.name}.jsonl".lstrip("/")).read_text()
        assert "nothing-to-take-over" not in journal

    def a_host_is_upgraded(self) -> None:
        """With its hot process: nothing of Holdfast runs there for a while."""
        at = self.now()
        host = next(one for one in self.all if one.name != at["by"] and OWN[one.name] != at["vnfc"])
        run = at["runs"][OWN[host.name]]
        host.end("manager")
        host.end("agent")
        host.holdfast("agent", "--folder", str(host.folder), "--host", host.name, "--end")
        host.start_unit("agent")
        host.start_unit("manager")
        self.all_ready_since({OWN[host.name]: run})
        assert (self.now()["vnfc"], self.now()["epoch"]) == (at["vnfc"], at["epoch"])

    def the_store_is_restored(self) -> None:
        """From a snapshot that is older than all that runs; a client notices nothing."""
        one = self.hosts["a"]
        one.shell(f"mkdir -p /var/backups\n{block('etcd.md', 'snapshot save')}")
        snapshot = (one.root / "var/backups/holdfast-etcd.db").read_bytes()
        for name, run in self.now()["runs"].items():
            kill(name)
            self.all_ready_since({name: run})
        self.leader().holdfast("switchover", "dns")
        self.all_ready("the snapshot is old")
        at = self.now()
        client, begun = Client(), time.monotonic()
        for what in ("manager", "etcd"):
            for host in self.all:
                host.end(what)
        for host in self.all:
            (host.root / "root-of-backup").mkdir(exist_ok=True)
            (host.root / "root-of-backup/holdfast-etcd.db").write_bytes(snapshot)
            host.shell("rm -rf /var/lib/etcd/holdfast")
            host.shell(of_host(block("etcd.md", "snapshot restore"), host.name), at="/root-of-backup")
            host.start_etcd()
        for host in self.all:
            host.start_unit("manager")
        until(lambda: self.now()["state"] == "provided", "a manager leads again", self.all)
        self.all_ready("all is known again")
        now = self.now()
        assert client.unanswered(begun) == 0
        client.end()
        assert (now["vnfc"], now["epoch"], now["runs"][at["vnfc"]]) == (at["vnfc"], at["epoch"], at["runs"][at["vnfc"]])

    def a_host_is_lost_for_good(self) -> None:
        """Its disk with it; an empty one of the same name takes its place."""
        at = self.now()
        name = next(one for one in HOSTS if one != at["by"] and OWN[one] != at["vnfc"])
        client, begun = Client(), time.monotonic()
        self.hosts.pop(name).switch_off()
        self.leader().holdfast("lock", name, "--is-off", "--yes")
        other = self.leader()
        (member,) = [
            line.split(",")[0] for line in other.etcdctl("member", "list").splitlines() if f", {name}," in line
        ]
        text = block("etcd.md", "etcdctl member remove ID").replace(" ID", f" {member}").replace("add c", f"add {name}")
        text = text.replace("10.0.0.3", HOSTS[name])
        other.shell(f"set -a; . /etc/etcd/etcdctl.env; set +a\n{text}")
        host = Host(name, self.disks / f"{name}-anew")
        furnish(host, self.made)
        settings = host.root / "etc/default/etcd"
        settings.write_text(f"{settings.read_text()}ETCD_INITIAL_CLUSTER_STATE=existing\n")
        file = host.root / "etc/etcd/etcdctl.env"
        file.write_text((other.root / "etc/etcd/etcdctl.env").read_text().replace(HOSTS[other.name], HOSTS[name]))
        host.start_etcd()
        self.prepare(host, other)
        for what in ("agent", "manager"):
            host.start_unit(what)
        self.leader().holdfast("unlock", name)
        self.hosts[name] = host
        self.all_ready("its component is there, and all others still")
        until(lambda: set(self.now()["members"]) == set(HOSTS), "it votes", self.all)
        until(lambda: self._is_healthy(), "its member of etcd is one of three", [])
        assert client.unanswered(begun) == 0
        client.end()

    def all_is_ended(self) -> None:
        assert "several hosts" in self.hosts["a"].holdfast("down", "dns", expected=2)
        for host in self.all:
            host.end("manager")
        for host in self.all:
            host.end("agent")
            host.holdfast("agent", "--folder", str(host.folder), "--host", host.name, "--end")
            host.end("etcd")
        until(lambda: processes("dnsmasq --keep") + processes("holdfast.runtime") == [], "nothing is left", [])


def test_three_hosts_by_the_commands_of_the_guide(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        told = Story(folder)
        told.install()
        told.a_component_is_killed()
        told.manager_and_agent_are_upgraded()
        told.a_host_is_upgraded()
        told.the_store_is_restored()
        told.a_host_is_lost_for_good()
        told.all_is_ended()
        assert told.hosts["b"].shell("nft list tables") == ""
        for host in told.all:
            host.switch_off()

    in_nest(story, tmp_path)
