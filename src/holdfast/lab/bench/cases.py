"""What is measured: the cases, and the systems they are measured with."""

from dataclasses import dataclass
from typing import Literal

Case = Literal["crash", "hang", "host-off", "switchover", "return", "return-stays", "idle-load"]

CASES: dict[str, str] = {
    "crash": "the active's process is killed (SIGKILL)",
    "hang": "the active's process is stopped (SIGSTOP); checked every 10 ms where the system can",
    "host-off": "the active's host is switched off: no process, no cable, no good-bye",
    "switchover": "the service is moved on purpose",
    "return": "the better host comes back and gets its service back",
    "return-stays": "the better host comes back; the service stays where it is",
    "idle-load": "nothing fails, and a busy loop runs for each core",
}
NOTHING_MOVES = ("return-stays", "idle-load")
IDLE_S = 60.0


@dataclass(frozen=True)
class Own:
    """Holdfast itself, in one of its shapes: a scenario for each case."""

    name: str
    says: str
    scenarios: dict[str, str]


HOLDFAST = Own(
    "holdfast",
    "Holdfast, one manager, no grants",
    {"crash": "uc1", "hang": "uc1-hang", "switchover": "switchover", "idle-load": "idle"},
)
HOLDFAST_HOSTS = Own(
    "holdfast-hosts",
    "Holdfast, three hosts with grants (`fast`), three managers, three members of etcd",
    {
        "crash": "uc1-three-hosts",
        "hang": "hosts-hang",
        "host-off": "host-off",
        "switchover": "hosts-switchover",
        "return": "hosts-return-adjusted",
        "return-stays": "hosts-return",
        "idle-load": "hosts-idle",
    },
)
OWN = {one.name: one for one in (HOLDFAST, HOLDFAST_HOSTS)}


@dataclass(frozen=True)
class Goal:
    """What a row shall reach: a median of requests lost, beside a peer's in the same call where one is named."""

    lost: float | None = None
    beside: str = ""
    """That peer, in the same case."""
    ratio: float = 1.0
    """At most so many times what the peer lost."""
    two_owners_ms: float | None = None
    failovers: int | None = None


GOALS: dict[tuple[str, str], Goal] = {
    ("holdfast", "crash"): Goal(lost=7, beside="keepalived-tuned"),
    ("holdfast-hosts", "crash"): Goal(lost=12),
    ("holdfast", "hang"): Goal(lost=45, beside="keepalived-helper", ratio=1.25),
    ("holdfast-hosts", "hang"): Goal(lost=45, beside="keepalived-helper", ratio=1.25),
    ("holdfast", "switchover"): Goal(lost=2, two_owners_ms=0),
    ("holdfast-hosts", "switchover"): Goal(lost=2, two_owners_ms=0),
    ("holdfast-hosts", "host-off"): Goal(lost=80, two_owners_ms=0),
    ("holdfast", "idle-load"): Goal(failovers=0),
    ("holdfast-hosts", "idle-load"): Goal(failovers=0),
}
