"""Names of things, as types, so that a VM's name is never taken for a host's."""

from typing import Literal, NewType

HostName = NewType("HostName", str)
VmName = NewType("VmName", str)
VnfName = NewType("VnfName", str)
VnfcName = NewType("VnfcName", str)
"""`<vnf>.<component>-<n>`, or `<vnf>-<n>` where the VNF has one component type."""
GroupName = NewType("GroupName", str)
"""`<vnf>.<component>`, or `<vnf>` where the VNF has one component type."""
ServiceName = NewType("ServiceName", str)
"""The group's name, with `#<n>` behind it where the group has several actives."""
VnfmName = NewType("VnfmName", str)
IncidentId = NewType("IncidentId", str)
ActionId = NewType("ActionId", str)
"""`<party>/<number>`: unique for the life of a deployment, so that repeating an action is harmless."""

Party = NewType("Party", str)
"""Who speaks: `ha`, `vnfm:<name>`, `vim`, `agent:<host>`, `operator`, `lab`."""

HA = Party("ha")
VIM = Party("vim")
OPERATOR = Party("operator")
LAB = Party("lab")


def vnfm_party(name: VnfmName) -> Party:
    return Party(f"vnfm:{name}")


def agent_party(host: HostName) -> Party:
    return Party(f"agent:{host}")


Redundancy = Literal["2N", "N+M", "no-redundancy"]
Role = Literal["active", "standby", "spare", "quiescing", "none"]
StateKind = Literal["none", "internal", "external"]
Reserve = Literal["standby", "spare", "late-spare"]
"""What waits beside the actives: holds state; holds none but runs; is instantiated after the failure."""
