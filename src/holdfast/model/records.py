"""The journal: one line of JSON a record, the same for managers, agents and lab.

Everything a person is shown (why, timeline, sequence chart, report) and everything a judge reads is
made from these records. `at` is the machine's monotonic clock in seconds: records of all processes
of one machine can be merged by it. `wall` is for people.
"""

from msgspec import Struct

from holdfast.model.actions import Action
from holdfast.model.events import Event
from holdfast.model.names import ActionId, IncidentId, Party
from holdfast.model.reasons import Reason

FORMAT = 1


class Opened(Struct, frozen=True, tag=True):
    """First record of each process: which format, who writes, since when."""

    at: float
    by: Party
    n: int
    wall: float
    format: int = FORMAT
    pid: int = 0


class Seen(Struct, frozen=True, tag=True):
    """An event reached a core. `n` is what reasons refer to."""

    at: float
    by: Party
    n: int
    event: Event


class Decided(Struct, frozen=True, tag=True):
    """A core decided; `on` is the number of the event it was answering."""

    at: float
    by: Party
    n: int
    on: int
    action: Action
    reasons: tuple[Reason, ...]
    incident: IncidentId | None = None


class Begun(Struct, frozen=True, tag=True):
    """An agent (or the VIM's power driver) began to carry an action out."""

    at: float
    by: Party
    n: int
    action: ActionId
    what: str
    """Name of the action's type, for readers that have not seen its Decided."""
    about: str


class Ended(Struct, frozen=True, tag=True):
    """An agent has carried an action out, or has failed to."""

    at: float
    by: Party
    n: int
    action: ActionId
    what: str
    about: str
    ok: bool
    detail: str = ""


class Marked(Struct, frozen=True, tag=True):
    """Something else worth a line: a fault injected by the lab, a check missed, an address announced."""

    at: float
    by: Party
    n: int
    name: str
    about: str = ""
    detail: str = ""


TAKING = "taking-over"
"""Name of the mark with which an agent notes that its grants follow a standing order, and why they may."""
CARRIES = "carries"
"""Name of the mark with which a new leader says what it carries on: all that it does not name is forgotten."""


def carried_in(detail: str) -> frozenset[str]:
    """The items of such a mark: `incident:NAME`, `alarm:NAME`, `report:NAME`, `provided:SERVICE=VNFC`."""
    return frozenset(detail.split())


def provided_in(detail: str) -> dict[str, str]:
    """Who provides which service, by such a mark."""
    items = (item.removeprefix("provided:") for item in carried_in(detail) if item.startswith("provided:"))
    return {service: vnfc for service, _, vnfc in (item.partition("=") for item in items)}


LEADERSHIP = {"leads": True, "leads-on": True, "lapsed": False, "followed": False}
"""Names of the marks with which a manager says that it leads, or does not; each names the term in its detail."""


def term_in(detail: str) -> int:
    """The term that such a mark is about: `term NUMBER` is how its detail begins.

    Raises:
        ValueError: it does not.
    """
    word, _, rest = detail.partition(" ")
    if word != "term":
        raise ValueError(f"{detail!r} does not begin with the term that it is about")
    return int(rest.partition(" ")[0].removesuffix(":"))


Record = Opened | Seen | Decided | Begun | Ended | Marked
