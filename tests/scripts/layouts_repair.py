"""Deployments for the stories about VMs, hosts and their repair; named in REPAIR_LAYOUTS."""

from collections.abc import Callable
from functools import partial

from holdfast.model.layout import Layout
from tests.scripts.layouts import Repair, machines, with_vnf


def single(repair: Repair = "negotiated", fenced: bool = False, bare: bool = False) -> Layout:
    """A stateless VNF of one VNFC in one VM (or on the host itself): its VNFM is in charge."""
    place = "host1" if bare else "vm1"
    layout = machines({"bare1" if bare else "vm1": "host1"}, repair, fenced)
    return with_vnf(layout, "nginx", (place,), "no-redundancy", "spare", "none", speaks=False, maximum=2)


def two_on_a_host(fenced: bool = True) -> Layout:
    """Two VMs of two VNFMs on one host."""
    layout = machines({"vm1": "host1", "vm2": "host1"}, fenced=fenced)
    layout = with_vnf(layout, "nginx", ("vm1",), "no-redundancy", "spare", "none", vnfm="web", maximum=1)
    return with_vnf(layout, "dns", ("vm2",), "no-redundancy", "spare", "none", vnfm="edge", maximum=1)


def two_in_a_vm() -> Layout:
    """Two VNFs of one VNFM in the same VM."""
    layout = machines({"vm1": "host1"})
    layout = with_vnf(layout, "nginx", ("vm1",), "no-redundancy", "spare", "none", maximum=2)
    return with_vnf(layout, "dns", ("vm1",), "no-redundancy", "spare", "none", maximum=2)


def ordered() -> Layout:
    """Two component types without redundancy, the front started after the store."""
    layout = machines({"vm1": "host1", "vm2": "host1"})
    layout = with_vnf(layout, "shop", ("vm1",), "no-redundancy", "spare", "external", group="store")
    return with_vnf(layout, "shop", ("vm2",), "no-redundancy", "spare", "none", group="front", after=("shop.store",))


REPAIR_LAYOUTS: dict[str, Callable[[], Layout]] = {
    "single": single,
    "single-initial": partial(single, "initial"),
    "single-snapshot": partial(single, "snapshot"),
    "single-standby-vm": partial(single, "standby-vm"),
    "single-no-repair": partial(single, "none"),
    "single-fenced": partial(single, fenced=True),
    "single-bare": partial(single, bare=True),
    "two-on-a-host": two_on_a_host,
    "two-on-a-host-unfenced": partial(two_on_a_host, fenced=False),
    "two-in-a-vm": two_in_a_vm,
    "ordered": ordered,
}
