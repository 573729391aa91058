"""The end of a simulated deployment, in good order, and what it has left behind."""

from holdfast.drivers.ports import port_name
from holdfast.lab.sim.loop import loop_of
from holdfast.lab.sim.node import Node
from holdfast.lab.sim.streams import SimStreams
from holdfast.lab.sim.world import SimWorld
from holdfast.model.names import OPERATOR, agent_party
from holdfast.runtime.link import KeptLink, Link
from holdfast.wire.link_messages import AllEnded, EndAll, LinkMessage

NS = 1_000_000_000
LIMIT_NS = 15 * NS
SETTLE_NS = NS


class _Ending:
    def __init__(self) -> None:
        self.ended: AllEnded | None = None

    def link_opened(self, link: Link) -> None:
        link.send(EndAll())

    def link_received(self, link: Link, message: LinkMessage) -> None:
        if isinstance(message, AllEnded):
            self.ended = message

    def link_closed(self, link: Link) -> None:
        """It ends with the agent."""


def end_all(world: SimWorld) -> list[str]:
    """Managers first: hosts that end one after the other look like failures to them."""
    left: list[str] = []
    if world.controller is not None:
        world.controller.stop_supervising()
        world.timeline.run(world.timeline.now_ns + LIMIT_NS, lambda: not world.controller_lives)
    for node in world.nodes.values():
        node.stop_supervising()
    for node in world.nodes.values():
        if node.host.is_on:
            left += _end(world, node)
    world.timeline.run(world.timeline.now_ns + SETTLE_NS)
    for node in world.nodes.values():
        if node.host.is_on:
            left += [f"sandbox {folder} on host {node.name}" for folder in node.host.sandboxes]
            ports = {port_name(world.layout.name, vm.name) for vm in world.layout.vms.values() if vm.host == node.name}
            left += [f"port {port} on host {node.name}" for port in sorted(ports & set(node.host.network.ports))]
    return left


def _end(world: SimWorld, node: Node) -> list[str]:
    process = node.host.spawn("holdfast agent --end")
    loop = loop_of(process, world.site.went_wrong)
    node.loops.append(loop)
    ending, me = _Ending(), agent_party(node.name)
    streams = SimStreams(world.site.exchange, process, loop, node.name)
    links: list[KeptLink] = []

    def begin() -> None:
        links.append(KeptLink([node.folder.socket(me)], world.site.key, OPERATOR, me, ending, streams))

    loop.call_soon(begin)
    world.timeline.run(world.timeline.now_ns + LIMIT_NS, lambda: ending.ended is not None)
    process.end()
    if ending.ended is None:
        return [f"the agent of host {node.name} did not end what is there"]
    return [f"{one} on host {node.name}" for one in ending.ended.left]
