"""The run folder: where a running deployment keeps its sockets, key, store, journals and disks.

Everything is found by name from here; no other file knows the layout of the folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.names import HostName, Party, VmName, VnfcName, VnfName


def default_base() -> Path:
    """Where run folders live: /run/holdfast for root, else the user's runtime directory."""
    chosen = os.environ.get("HOLDFAST_RUN")
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/run/holdfast")
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/holdfast-{os.geteuid()}")) / "holdfast"


@dataclass(frozen=True)
class RunFolder:
    root: Path

    @property
    def layout(self) -> Path:
        return self.root / "layout.json"

    @property
    def key(self) -> Path:
        """32 random bytes, mode 0600: who can read them may speak on the links."""
        return self.root / "key"

    def state(self, party: Party) -> Path:
        """The state of one manager. A file each, so that a manager that is stopped holds no lock another needs."""
        return self.root / "state" / (str(party).replace(":", "-") + ".db")

    @property
    def processes(self) -> Path:
        """What `up` started: pid and start time of each process, so that `down` ends those and no others."""
        return self.root / "processes.json"

    def socket(self, party: Party) -> Path:
        """The socket on which an agent or a manager listens."""
        return self.root / (str(party).replace(":", "-") + ".sock")

    def journal(self, party: Party) -> Path:
        return self.root / "journal" / (str(party).replace(":", "-") + ".jsonl")

    def log(self, process: str) -> Path:
        return self.root / "log" / f"{process}.log"

    def vm(self, vm: VmName) -> Path:
        """The VM's disk: survives restarts of the VM."""
        return self.root / "vms" / vm

    def vnfc(self, vnfc: VnfcName) -> Path:
        """The VNFC's own folder (its working directory; on its VM's disk): survives restarts of the VNFC."""
        return self.root / "vnfcs" / vnfc

    def agent_lock(self, host: HostName) -> Path:
        """Held by the agent of the host as long as it lives, so that there are never two."""
        return self.root / f"agent-{host}.lock"

    def component_socket(self, host: HostName) -> Path:
        """Where components speak to their agent (component protocol)."""
        return self.root / f"components-{host}.sock"

    def hot_socket(self, host: HostName) -> Path:
        """Where the hot process of a host listens for its agent."""
        return self.root / f"hot-{host}.sock"

    def hot_settings(self, host: HostName) -> Path:
        """What the hot process of a host is started with."""
        return self.root / "hot" / f"{host}.json"

    def voters(self, host: HostName) -> Path:
        """The voter set that the voter of a host goes by: it must not forget it."""
        return self.root / "hot" / f"{host}.voters"

    def terms(self, host: HostName) -> Path:
        """The newest terms of managers that the agent of a host has followed."""
        return self.root / f"terms-{host}.json"

    def storage(self, vnf: VnfName) -> Path:
        """Shared storage of a whole VNF (SY-3)."""
        return self.root / "storage" / vnf

    def made_bridge(self, host: HostName) -> Path:
        """There while the host's bridge is one that its agent made, and so is its to take away."""
        return self.root / f"bridge-{host}"
