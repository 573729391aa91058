"""Datagrams that nobody of ours has sent: counted by the hot process, and told by the managers of all hosts."""

from pathlib import Path

from holdfast import descriptor
from holdfast.lab.sim.end import end_all
from holdfast.lab.sim.run import plugged
from holdfast.lab.sim.talk import status
from holdfast.lab.sim.world import SimWorld
from holdfast.model.names import VIM

LAYOUT = Path(descriptor.__file__).parents[1] / "lab" / "layouts" / "registry-hosts.yaml"
S = 1_000_000_000
FORGED = bytes([1, 0]) + bytes(100)


def test_forged_datagrams_are_seen_in_the_status(tmp_path: Path) -> None:
    world = SimWorld(plugged(descriptor.load(LAYOUT)), 1, tmp_path)
    world.open()
    world.timeline.run(10 * S)
    address = next(at for at in world.site.ether.sockets if at[0] == "10.77.0.1")
    for datagram in (FORGED, FORGED, b"", b"x", b"\x07" * 200):
        world.site.ether.arrived(address, datagram)
    world.timeline.run(world.timeline.now_ns + 4 * S)
    answers = [status(world.site, node, VIM) for node in world.nodes.values()]
    (told,) = [answer for answer in answers if answer is not None]
    refused = told["refused"]["agent:h1"]
    assert (refused["heartbeats:mac"], refused["heartbeats:short"], refused["heartbeats:version"]) == (2, 2, 1)
    assert all("heartbeats:mac" not in counts for who, counts in told["refused"].items() if who != "agent:h1")
    assert list(end_all(world)) == []
    world.close()
