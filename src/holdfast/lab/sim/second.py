"""The second client of a simulated world: asks seldom, and may be misled about where the service is."""

from holdfast.drivers.ports import port_name
from holdfast.lab.acts import FaultFailed
from holdfast.lab.sim.client import Client, Neighbour, SimProbe
from holdfast.lab.sim.window import plain
from holdfast.lab.sim.world import SimWorld
from holdfast.model.layout import Service
from holdfast.model.names import VnfcName

EVERY_NS = 10_000_000
REQUESTS_MAX = 20_000
ANSWER_LIMIT_NS = 20_000_000_000


class SimSecond:
    def __init__(self, world: SimWorld, service: Service) -> None:
        self._world, self._service = world, service
        self._address = plain(service.address)
        self._client: Client | None = None
        self.probe: SimProbe | None = None

    def join(self) -> None:
        """It is there, and is answered."""
        client = self._client = self._world.client()
        # Its updates must not be taken for those of the first one.
        probe = self.probe = SimProbe(client, self._address, self._service.port, EVERY_NS, REQUESTS_MAX, "q-")
        timeline = self._world.timeline
        timeline.run(timeline.now_ns + ANSWER_LIMIT_NS, lambda: probe.recorder.last_answer_at >= 0)
        if probe.recorder.last_answer_at < 0:
            raise FaultFailed("the second client got no answer")

    def mislead(self, vnfc: VnfcName) -> None:
        """It takes this one's VM for the owner of the service's address."""
        world = self._world
        of = world.layout.vnfcs[vnfc]
        port = None
        if of.vm is not None:
            port = world.nodes[of.host].host.network.ports.get(port_name(world.layout.name, of.vm))
        if self._client is None or port is None:
            raise FaultFailed(f"there is no second client, or no VM of {vnfc}")
        self._client.mislead(self._address, Neighbour(of.host, port.inner.mac))
