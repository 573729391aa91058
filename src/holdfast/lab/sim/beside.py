"""A simulated machine that is no host of the deployment: the third member of the store is on it where there are two."""

from holdfast.lab.members import BESIDE
from holdfast.lab.sim.host import SimHost
from holdfast.lab.sim.process import Process
from holdfast.lab.sim.site import Site


class Beside:
    """It is always on."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._host = SimHost(site.timeline, BESIDE)
        self._store: Process | None = None

    def switch_on(self) -> None:
        if BESIDE not in self._site.etcd.endpoints or self._host.is_on:
            return
        self._host.switch_on()
        for net in self._site.nets.values():
            net.switch(BESIDE, on=True)
        self.start_store()

    def start_store(self) -> None:
        """Its member of the store, if there is one here."""
        if self._host.is_on:
            self._store = self._host.spawn(f"etcd-{BESIDE}")
            self._site.etcd.start(BESIDE, self._store, self._site.exchange, BESIDE)

    def end_store(self) -> None:
        if self._store is not None:
            self._store.end()

    def switch_off(self) -> None:
        if self._host.is_on:
            self._host.switch_off()
