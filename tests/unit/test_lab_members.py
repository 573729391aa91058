"""Where the store's members of a lab are: an odd number, and no host alone decides about two."""

import pytest
from msgspec.structs import replace

from holdfast.lab.members import BESIDE, store_members
from holdfast.model.layout import Host
from holdfast.model.names import HostName
from tests.scripts.layouts import registry


@pytest.mark.parametrize(
    ("hosts", "members"),
    [
        (1, ["h1"]),
        (2, ["h1", "h2", BESIDE]),
        (3, ["h1", "h2", "h3"]),
        (4, ["h1", "h2", "h3"]),
        (6, ["h1", "h2", "h3", "h4", "h5"]),
        (7, ["h1", "h2", "h3", "h4", "h5"]),
    ],
)
def test_an_odd_number_of_machines_has_a_member(hosts: int, members: list[str]) -> None:
    names = [HostName(f"h{n}") for n in range(1, hosts + 1)]
    of_many = {name: Host(name, (f"10.77.0.{n}/24",)) for n, name in enumerate(names, 1)}
    found = store_members(replace(registry(), hosts=of_many), "10.77.0.251")
    assert list(found) == members
    assert found.get(BESIDE, ("10.77.0.251",)) == ("10.77.0.251",)
    assert found[names[0]] == ("10.77.0.1",)


def test_members_may_be_chosen() -> None:
    names = [HostName(f"h{n}") for n in range(1, 6)]
    of_many = {name: Host(name, (f"10.77.0.{n}/24",)) for n, name in enumerate(names, 1)}
    found = store_members(replace(registry(), hosts=of_many), "10.77.0.251", names[1:4])
    assert found == {"h2": ("10.77.0.2",), "h3": ("10.77.0.3",), "h4": ("10.77.0.4",)}
