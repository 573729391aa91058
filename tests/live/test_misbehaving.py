"""Components that flood, lie, fork away, hang or fill their output, live: theirs fails over, others notice nothing.

A bad service and a good one share two VMs. The active of the bad one, a real process, misbehaves in each of these ways
(`tests/misbehaving/component.py`), in one life of the deployment.
"""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.live.test_up_down import holdfast, in_nest, processes, until

pytestmark = pytest.mark.namespaces
PROGRAM = Path(__file__).parents[1] / "misbehaving" / "component.py"
RUN = Path("/run/holdfast/bad")
LOG_BYTES_MAX = 17 << 20
VNF = """\
  {name}:
    sal: 1
    redundancy: 2N
    place: [vm1, vm2]
    interface: {{address: {address}, port: {port}, transport: udp}}
    start: ${{python}} -I -S {program}
    environment: {{PORT: "{port}"}}
    speaks: yes
    checks: [process, {{protocol: , every: 100ms}}]
    escalation: {{maximum: 100, probation: 60s}}
"""
DESCRIPTOR = "holdfast: 1\nname: bad\nvms: {vm1: , vm2: }\nvnfs:\n" + "".join(
    VNF.format(name=name, address=address, port=port, program=PROGRAM)
    for name, address, port in (("bad", "10.77.0.100", 5300), ("good", "10.77.0.101", 5301))
)
TOLD = {
    "floods_with_lines": "more than 2000 lines within a second",
    "floods_with_one_line": "a line is longer than 4096 bytes",
    "floods_with_losses": "more than 200 losses and returns of standbys within a second",
    "floods_with_connections": "more than 200 connections within a second",
    "speaks_nonsense": "a line is not UTF-8",
    "speaks_of_others": "speaks of 'good-1', which is none of bad",
    "takes_anothers_name": "nothing of the name 'good-1' runs here",
    "forks_away": "ended with status 3",
    "hangs": "no answer",
}
COUNTED = {"components:flood", "components:words", "components:nobody"}


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(holdfast("status", "--json"))
    return found


def holder(vnf: str) -> str:
    found: str = status()["vnfs"][vnf]["services"][vnf]["vnfc"]
    return found


def answers(address: str, port: int) -> str:
    """Who answers there; empty without an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(1.0)
        try:
            asker.sendto(b"?", (address, port))
            return asker.recv(100).decode().split(" ")[0]
        except OSError:
            return ""


def is_well() -> bool:
    """Nothing is open, and both of the bad service run, one of them active."""
    shown = status()
    roles = sorted(vnfc["role"] for vnfc in shown["vnfs"]["bad"]["vnfcs"].values())
    return roles == ["active", "spare"] and all(one["closed_at"] is not None for one in shown["incidents"])


def tell(vnfc: str, way: str) -> Path:
    folder = RUN / "vnfcs" / vnfc
    (folder / "misbehave.new").write_text(way)
    (folder / "misbehave.new").rename(folder / "misbehave")
    return folder


def fails_over(way: str) -> None:
    active = holder("bad")
    tell(active, way)
    until(lambda: answers("10.77.0.100", 5300) not in {"", active}, f"{way}: the other one answers")
    until(is_well, f"{way}: the failed one is repaired")
    assert TOLD[way] in holdfast("why", "bad"), way


def goes_on(way: str, vnfc: str) -> None:
    active = holder("bad")
    folder = tell(vnfc, way)
    until((folder / "done").exists, f"{way} is done")
    (folder / "done").unlink()
    assert (answers("10.77.0.100", 5300), holder("bad")) == (active, active)


def test_a_misbehaving_component_fails_over_and_harms_nobody_else(tmp_path: Path) -> None:
    def story(folder: Path) -> None:
        descriptor = folder / "bad.yaml"
        descriptor.write_text(DESCRIPTOR)
        holdfast("up", str(descriptor))
        until(is_well, "all is well")
        good = status()["vnfs"]["good"]
        for way in TOLD:
            fails_over(way)
        active = holder("bad")
        (standby,) = {"bad-1", "bad-2"} - {active}
        goes_on("says_it_is_active", standby)
        assert "role-not-given" in "".join(one.read_text() for one in (RUN / "journal").iterdir())
        goes_on("fills_its_output", active)
        log = RUN / "log" / f"vnfc-{active}.log"
        until(lambda: log.stat().st_size < LOG_BYTES_MAX, "its output is cut")
        assert status()["vnfs"]["good"] == good
        refused = status()["managers"]["ha"]["refused"]["agent:this"]
        assert set(refused) >= COUNTED, refused
        holdfast("down")
        assert processes(str(PROGRAM)) == []

    in_nest(story, tmp_path)
