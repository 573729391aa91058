"""Which machines of the lab have a member of the store, as docs/several-hosts.md has it.

An odd number of the hosts, up to five; where there are only two, the third member is beside them, on a machine that is
no host of the deployment.
"""

from holdfast.model.layout import Layout
from holdfast.model.names import HostName

BESIDE = HostName("beside")
"""Name of the machine that is no host."""
MEMBERS_MAX = 5


def store_members(layout: Layout, beside: str) -> dict[HostName, tuple[str, ...]]:
    """The addresses of each member, by its name.

    Args:
        layout: whose hosts.
        beside: the address of the machine that is no host.
    """
    places = {name: host.reached_at for name, host in layout.hosts.items()}
    if len(places) == 2:
        return {**places, BESIDE: (beside,)}
    count = len(places) if len(places) % 2 else len(places) - 1
    return dict(list(places.items())[: min(count, MEMBERS_MAX)])
