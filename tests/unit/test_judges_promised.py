"""The judge of service availability levels: what is too long, and for whom nothing is promised."""

import pytest
from msgspec.structs import replace

from holdfast import descriptor
from holdfast.lab.judges.probed import Gap
from holdfast.lab.judges.promised import within_level
from holdfast.lab.judges.words import Struck
from holdfast.lab.scenario import LAYOUTS
from holdfast.model.names import HostName, ServiceName

FAULT = Struck("host-off", "h1", 10.0, 12.0)
LAYOUT = descriptor.load(LAYOUTS / "registry-hosts.yaml")
SERVICE = LAYOUT.services[ServiceName("registry")]
LIMIT_S = LAYOUT.sal_s[LAYOUT.vnfs[LAYOUT.groups[SERVICE.group].vnf].sal]


@pytest.mark.parametrize(("length_s", "is_wrong"), [(LIMIT_S - 0.1, False), (LIMIT_S + 0.1, True)])
def test_an_outage_is_judged_by_the_level_of_its_vnf(length_s: float, is_wrong: bool) -> None:
    found = within_level(LAYOUT, SERVICE, Gap(10.0, 10.0 + length_s, True), FAULT)
    assert [one.judge for one in found] == (["level"] if is_wrong else [])
    assert all("host-off h1" in one.text for one in found)


def test_nothing_is_promised_where_one_host_has_it_all_and_nothing_was_silent() -> None:
    assert within_level(LAYOUT, SERVICE, None, FAULT) == []
    together = {name: replace(one, host=HostName("h1")) for name, one in LAYOUT.vnfcs.items()}
    assert within_level(replace(LAYOUT, vnfcs=together), SERVICE, Gap(10.0, 99.0, True), FAULT) == []
