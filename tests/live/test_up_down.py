"""`holdfast up` … `down` for real: dnsmasq in two sandboxes, killed by pid; every process of Holdfast killed in turn.

Each story runs in namespaces of its own that die with it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.lab.nest import run_in_nest

pytestmark = pytest.mark.namespaces
LIMIT_S = 60.0

DNS = """\
holdfast: 1
name: dns
vms:
  vm1:
  vm2:
vnfs:
  dns:
    sal: 1
    redundancy: 2N
    place: [vm1, vm2]
    interface: {address: 10.77.0.100, port: 53, transport: udp}
    start: dnsmasq --keep-in-foreground --conf-file=${dir}/dnsmasq.conf
    files:
      dnsmasq.conf: |
        no-resolv
        no-hosts
        user=root
        pid-file=
        interface=eth0
        txt-record=owner.holdfast.test,"owner=${vnfc}"
    checks: [process, {tcp: 53, every: 100ms}]
"""
HOST_PLACED = """\
holdfast: 1
name: web
hosts: {here: {}}
vnfs:
  web:
    sal: 3
    redundancy: no-redundancy
    place: [here]
    interface: {address: 10.77.0.100, port: 8080, transport: tcp}
    start: sleep 100
"""


def in_nest(story: Callable[[Path], None], folder: Path) -> None:
    """Run the story in a nest; fail with its traceback."""
    trouble = folder / "trouble"

    def told() -> int:
        try:
            story(folder)
        except BaseException:  # noqa: BLE001  # told on the other side of the fork
            trouble.write_text(traceback.format_exc())
            return 1
        return 0

    status = run_in_nest(told)
    assert status == 0, trouble.read_text() if trouble.exists() else f"the nest ended with {status}"


def holdfast(*words: str, expected: int = 0) -> str:
    """Run a command of Holdfast; answer what it printed on both streams."""
    command = [sys.executable, "-m", "holdfast", *words]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == expected, f"{words} ended with {done.returncode}:\n{done.stdout}"
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def service() -> dict[str, Any]:
    shown = json.loads(holdfast("status", "--json"))
    found: dict[str, Any] = (
        shown["vnfs"].get("dns", {}).get("services", {}).get("dns", {"state": "unknown", "epoch": 0})
    )
    found["open"] = [one for one in shown["incidents"] if one["closed_at"] is None]
    return found


def until(holds: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < limit, f"not within {LIMIT_S} s: {what}"


def question() -> str:
    """The owner of the address, asked by DNS; empty without an answer."""
    name = b"\5owner\10holdfast\4test\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2.0)
        try:
            asker.sendto(b"\0\7\1\0\0\1\0\0\0\0\0\0" + name + b"\0\x10\0\1", ("10.77.0.100", 53))
            answer = asker.recv(512)
        except OSError:
            return ""
    return answer[answer.rindex(b"owner=") + 6 :].decode()


def processes(pattern: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if pattern in command and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def listed() -> dict[str, int]:
    return listed_in(Path("/run/holdfast/dns"))


def listed_in(run: Path) -> dict[str, int]:
    """The processes of a deployment, by name."""
    content = json.loads((run / "processes.json").read_text())
    return {name: one["pid"] for name, one in content["processes"].items()}


def nothing_is_left() -> None:
    assert [entry.name for entry in Path("/run/holdfast").iterdir() if not entry.name.endswith(".ended")] == []
    assert [name for _, name in socket.if_nameindex() if name.startswith("hf")] == []
    for pattern in ("dnsmasq", "holdfast/dns", "holdfast.runtime"):
        assert processes(pattern) == [], pattern
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    assert tables.stdout == ""


def kill_active() -> None:
    owner = service()["vnfc"]
    (pid,) = processes(f"vnfcs/{owner}/dnsmasq.conf")
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("managers", ["one", "three"])
def test_a_real_function_survives_its_failures_and_leaves_nothing(tmp_path: Path, managers: str) -> None:
    def story(folder: Path) -> None:
        descriptor = folder / "dns.yaml"
        descriptor.write_text(DNS)
        assert "dns is up" in holdfast("up", str(descriptor), "--managers", managers)
        assert "already running" in holdfast("up", str(descriptor), expected=2)
        before = service()
        assert question() == before["vnfc"]
        kill_active()
        until(lambda: question() not in {"", before["vnfc"]}, "the other one answers")
        until(lambda: not service()["open"], "the incident is closed")
        told = holdfast("why")
        assert f"{before['vnfc']} failed (killed by SIGKILL)" in told
        assert "repaired" in told
        assert json.loads(holdfast("why", "--json"))["incidents"][0]["outcome"] == "repaired"
        assert f"dns is provided by {before['vnfc']}" in holdfast("switchover", "dns")
        assert question() == before["vnfc"]
        assert "did you mean dns?" in holdfast("switchover", "dsn", expected=2)
        assert "dns-1" in holdfast("status")
        assert "nothing of it is left" in holdfast("down")
        nothing_is_left()
        assert "no deployment" in holdfast("down", expected=2)
        assert "repaired" in holdfast("why", "--name", "dns")

    in_nest(story, tmp_path)


def test_managers_agent_and_supervisor_may_be_killed_in_turn(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        descriptor = folder / "dns.yaml"
        descriptor.write_text(DNS)
        holdfast("up", str(descriptor))
        first = listed()
        os.kill(first["managers"], signal.SIGKILL)
        kill_active_of = question()
        os.kill(processes(f"vnfcs/{kill_active_of}/dnsmasq.conf")[0], signal.SIGKILL)
        until(lambda: question() not in {"", kill_active_of}, "a manager that was away takes it up")
        os.kill(first["agent:this"], signal.SIGKILL)
        until(lambda: listed()["agent:this"] != first["agent:this"], "the agent is started again")
        until(lambda: service()["state"] == "provided" and not service()["open"], "it is well")
        assert question() != ""
        for pid in listed().values():
            os.kill(pid, signal.SIGKILL)
        assert question() != "", "the service goes on without anybody"
        assert "not ended in order" in holdfast("up", str(descriptor), expected=2)
        assert "no manager of dns answers" in holdfast("status", expected=1)
        holdfast("down")
        nothing_is_left()

    in_nest(story, tmp_path)


def test_of_two_that_want_the_same_bridge_at_the_same_moment_one_is_refused(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        for name in ("one", "two"):
            (folder / f"{name}.yaml").write_text(DNS.replace("name: dns", f"name: {name}", 1))
        command = [sys.executable, "-m", "holdfast", "up"]
        started = {
            name: subprocess.Popen(
                [*command, str(folder / f"{name}.yaml")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for name in ("one", "two")
        }
        said = {name: process.communicate(timeout=60)[0] for name, process in started.items()}
        status = {name: process.returncode for name, process in started.items()}
        assert sorted(status.values()) == [0, 2], said
        winner = next(name for name in status if status[name] == 0)
        loser = next(name for name in status if status[name] == 2)
        assert f"bridge hf0 of host this belongs to the deployment {winner}" in said[loser]
        holdfast("down")
        nothing_is_left()

    in_nest(story, tmp_path)


def test_an_interrupted_up_leaves_nothing(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        descriptor = folder / "never.yaml"
        # It never listens where it is asked.
        descriptor.write_text(DNS.replace("tcp: 53", "tcp: 54"))
        command = [sys.executable, "-m", "holdfast", "up", str(descriptor)]
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
                until(lambda: bool(processes("dnsmasq")), "it is being started")
                started.send_signal(number)
                output, _ = started.communicate(timeout=LIMIT_S)
            assert started.returncode == 130, output
            assert "interrupted" in output
            assert "Traceback" not in output
            nothing_is_left()

    in_nest(story, tmp_path)


def test_a_component_that_ends_right_after_its_start_is_not_up_and_says_why(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        descriptor = folder / "web.yaml"
        # Only its process is checked, so that every run of it counts as ready for a moment.
        descriptor.write_text(HOST_PLACED.replace("sleep 100", "sh -c 'echo I cannot; exit 3'"))
        told = holdfast("up", str(descriptor), expected=1)
        assert "holdfast: not provided: web; " in told
        assert "it said: I cannot" in told
        assert "hint: " in told
        nothing_is_left()

    in_nest(story, tmp_path)


def test_what_this_machine_cannot_give_is_named_before_anything_starts(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        descriptor = folder / "dns.yaml"

        def refused(text: str, expected: int) -> str:
            descriptor.write_text(text)
            return holdfast("up", str(descriptor), expected=expected)

        told = refused(DNS.replace("dnsmasq --keep", "dnsmask --keep"), 3)
        assert "the program dnsmask of its start is not there" in told
        two_hosts = DNS.replace(
            "vms:\n  vm1:\n  vm2:\n", "hosts: {h1: {}, h2: {}}\nvms:\n  vm1: {host: h1}\n  vm2: {host: h2}\n"
        )
        assert "has 2 hosts: h1, h2" in refused(two_hosts, 2)
        subprocess.run(["ip", "link", "add", "hf0", "type", "veth"], check=True)
        assert "hf0 is there already and is no bridge" in refused(DNS, 2)
        subprocess.run(["ip", "link", "del", "hf0"], check=True)
        subprocess.run(["ip", "link", "add", "other", "type", "veth"], check=True)
        subprocess.run(["ip", "addr", "add", "10.77.5.1/16", "dev", "other"], check=True)
        assert "overlaps 10.77.5.1/16 of interface other" in refused(DNS, 2)
        subprocess.run(["ip", "link", "del", "other"], check=True)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
            taken.bind(("0.0.0.0", 8080))
            taken.listen()
            assert "tcp port 8080 of web-1 on host here is in use" in refused(HOST_PLACED, 2)
        assert not Path("/run/holdfast").exists() or not any(Path("/run/holdfast").iterdir())
        nothing = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
        assert nothing.stdout == ""

    in_nest(story, tmp_path)
