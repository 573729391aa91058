"""Which machines of the lab have a member of the store, as docs/several-hosts.md has it.

An odd number of the hosts, up to five, or those that are named; where there are only two, the third member is beside
them, on a machine that is no host of the deployment.
"""

from collections.abc import Collection

from holdfast.model.layout import Layout
from holdfast.model.names import HostName

BESIDE = HostName("beside")
"""Name of the machine that is no host."""
MEMBERS_MAX = 5


def store_members(layout: Layout, beside: str, chosen: Collection[HostName] = ()) -> dict[HostName, tuple[str, ...]]:
    """The addresses of each member, by its name.

    Args:
        layout: whose hosts.
        beside: the address of the machine that is no host.
        chosen: the hosts that have one, if not as many as there can be.
    """
    places = {name: host.reached_at for name, host in layout.hosts.items()}
    if chosen:
        return {name: places[name] for name in chosen}
    if len(places) == 2:
        return {**places, BESIDE: (beside,)}
    count = len(places) if len(places) % 2 else len(places) - 1
    return dict(list(places.items())[: min(count, MEMBERS_MAX)])
