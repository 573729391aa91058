"""What surrounds one run of a VNFC: its folder, the values of its placeholders, its environment.

In: layout, run folder, run number and epoch. Out: texts and paths. Nothing is started or written here.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from holdfast.drivers.files import fill_in, fill_in_words
from holdfast.drivers.process import Surroundings
from holdfast.model.layout import Component, Layout, Service, Vnfc
from holdfast.model.names import VnfcName
from holdfast.runtime.agent_network import bare
from holdfast.runtime.folder import RunFolder

INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
LOOPBACK = "127.0.0.1"


def own_address(layout: Layout, vnfc: Vnfc) -> str:
    """Where a VNFC is reached itself, in whatever role: its VM's first address, else its host's, else loopback."""
    addresses = layout.vms[vnfc.vm].addresses if vnfc.vm is not None else layout.hosts[vnfc.host].addresses
    return bare(addresses[0]) if addresses else LOOPBACK


def replication_peer(layout: Layout, active: VnfcName) -> str:
    """Where a standby asks this active for the state: `10.0.0.1:7001`, `[fd00::1]:7001`; empty if nowhere."""
    vnfc = layout.vnfcs.get(active)
    if vnfc is None:
        return ""
    replication = layout.components[vnfc.group].replication
    if replication is None:
        return ""
    address = own_address(layout, vnfc)
    return f"[{address}]:{replication.port}" if ":" in address else f"{address}:{replication.port}"


@dataclass(frozen=True)
class Setting:
    """One run of one VNFC."""

    vnfc: Vnfc
    folder: Path
    values: dict[str, str]
    around: Surroundings

    @classmethod
    def of_run(cls, layout: Layout, folder: RunFolder, vnfc: Vnfc, run: int, epoch: int) -> "Setting":
        component = layout.components[vnfc.group]
        own_folder = folder.vnfc(vnfc.name)
        services = [layout.services[name] for name in layout.groups[vnfc.group].services]
        values = {
            "vm": vnfc.vm or "",
            "host": vnfc.host,
            "vnfc": vnfc.name,
            "vnf": vnfc.vnf,
            "dir": str(own_folder),
            "address": bare(services[0].address) if services else "",
            "own_address": own_address(layout, vnfc),
            "epoch": str(epoch),
            "storage": _storage(folder, component),
            "python": sys.executable,
        }
        env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env |= {name: fill_in(value, values) for name, value in component.environment.items()}
        env |= {
            "HOLDFAST_VNFC": vnfc.name,
            "HOLDFAST_VM": vnfc.vm or "",
            "HOLDFAST_HOST": vnfc.host,
            "HOLDFAST_EPOCH": str(epoch),
            "HOLDFAST_RUN_NUMBER": str(run),
            "HOLDFAST_SOCKET": str(folder.component_socket(vnfc.host)),
            "HOLDFAST_DIR": str(own_folder),
            "HOLDFAST_STORAGE": values["storage"],
        }
        around = Surroundings(env, own_folder, folder.log(f"vnfc-{vnfc.name}"))
        return cls(vnfc, own_folder, values, around)

    def words(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """A command with its placeholders filled in."""
        return fill_in_words(command, self.values)

    def for_role(self, role: str, service: Service, epoch: int, **more: str) -> "Setting":
        """The setting of a command that tells the VNFC its role for a service."""
        values = self.values | {"address": bare(service.address), "epoch": str(epoch)}
        env = {
            **self.around.env,
            "HOLDFAST_ROLE": role,
            "HOLDFAST_SERVICE": service.name,
            "HOLDFAST_EPOCH": str(epoch),
            "HOLDFAST_ADDRESS": service.address,
            **more,
        }
        return Setting(self.vnfc, self.folder, values, Surroundings(env, self.around.cwd, self.around.log))


def _storage(folder: RunFolder, component: Component) -> str:
    if component.storage == "yes":
        return str(folder.storage(component.vnf))
    return component.storage
