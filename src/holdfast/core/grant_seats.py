"""What a voter remembers: per agent what it claims and until when it is promised, per service who has the promise.

Values with a lifetime and nothing else; the rules are in `grant_voter`.
"""

from typing import Literal

from holdfast.model.granting import Refusal, Step
from holdfast.model.names import HostName, ServiceName

Verdict = Literal["promised", "busy", "older-epoch", "open"]
AgentLife = tuple[HostName, int]
"""Host and incarnation: who holds a promise."""


class Claim:
    """A claim of one agent, as recorded here."""

    __slots__ = ("epoch", "number", "service", "step", "verdict")

    def __init__(self, service: ServiceName, epoch: int, number: int, step: Step) -> None:
        self.service = service
        self.epoch = epoch
        self.number = number
        self.step: Step = step
        self.verdict: Verdict = "open"


class Record:
    """One life of one agent at this voter: one end for all that it is promised."""

    __slots__ = (
        "check_ns",
        "claims",
        "granted",
        "is_fenced",
        "is_run_out",
        "life",
        "number",
        "open",
        "refused",
        "seq",
        "until_ns",
    )

    def __init__(self, life: AgentLife) -> None:
        self.life = life
        self.until_ns = 0
        self.number = 0
        self.seq = 0
        """The latest ASK heard."""
        self.claims: dict[ServiceName, Claim] = {}
        self.refused: dict[int, Claim] = {}
        self.granted: dict[int, Claim] = {}
        self.open: dict[ServiceName, Claim] = {}
        """Waiting claims that are promised nothing."""
        self.check_ns = 0
        """Before then none of the open ones is free, unless something happens."""
        self.is_run_out = True
        """The end was noticed, and those who wait were answered."""
        self.is_fenced = False

    def judge(self, claim: Claim, verdict: Verdict) -> None:
        """Change the verdict on a claim, and the lists that answers are made of."""
        claim.verdict = verdict
        self.refused.pop(claim.number, None)
        self.granted.pop(claim.number, None)
        self.open.pop(claim.service, None)
        if verdict == "open":
            self.open[claim.service] = claim
            self.check_ns = 0
        elif verdict != "promised":
            self.refused[claim.number] = claim
        elif claim.step != "take":
            self.granted[claim.number] = claim

    def forget(self, service: ServiceName) -> Claim | None:
        claim = self.claims.pop(service, None)
        if claim is not None:
            self.refused.pop(claim.number, None)
            self.granted.pop(claim.number, None)
            self.open.pop(service, None)
        return claim


class Seat:
    """One service at this voter."""

    __slots__ = ("epoch", "floor", "frozen_ns", "holder", "waiting")

    def __init__(self) -> None:
        self.floor = 0
        self.holder: Record | None = None
        self.epoch = 0
        """Under which the holder is promised."""
        self.frozen_ns: int | None = None
        """The promise ends then, whatever else its holder is promised: somebody sealed its epoch."""
        self.waiting: dict[AgentLife, Record] = {}

    def until_ns(self) -> int:
        """When the promise ends; 0 if there is none."""
        if self.frozen_ns is not None:
            return self.frozen_ns
        return self.holder.until_ns if self.holder is not None else 0

    def empty(self) -> None:
        self.holder, self.epoch, self.frozen_ns = None, 0, None


def refusal(claim: Claim, seat: Seat, now: int) -> Refusal:
    """A refused claim in words."""
    if claim.verdict == "older-epoch":
        return Refusal(claim.number, "older-epoch")
    return Refusal(claim.number, "busy", max(0, seat.until_ns() - now))
