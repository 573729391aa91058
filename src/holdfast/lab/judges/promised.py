"""Whether a service came back within what its service availability level promises, after a single failure.

In: the layout, the one fault of a run, the longest silence of each service. Out: violations.
Always: services whose declared redundancy that fault takes away as a whole are left out: nothing is promised for them.
"""

from holdfast.lab.judges.probed import Gap
from holdfast.lab.judges.words import Struck, Violation
from holdfast.model.layout import Layout, Service


def within_level(layout: Layout, service: Service, outage: Gap | None, fault: Struck) -> list[Violation]:
    """The longest outage that the level of its VNF allows (service availability levels of ETSI GS NFV-REL 001)."""
    group = layout.groups[service.group]
    hosts = [layout.vnfcs[name].host for name in group.vnfcs]
    if outage is None or len(set(hosts)) < max(2, len(hosts)):
        return []
    level = layout.vnfs[group.vnf].sal
    limit_s = layout.sal_s[level]
    if outage.length_s <= limit_s:
        return []
    text = f"{service.name} was away for {outage.length_s:.1f} s; level {level} allows {limit_s:g} s after {fault.kind}"
    return [Violation("level", f"{text} {fault.entity}".rstrip(), outage.begin)]
