"""What an agent is told to hold, to wait for, to give up; each becomes a change of its claim set, or is refused.

In:   instructions (`claim`, `release`, `order`), and what the candidate's side finds due (`take`).
Out:  Refused, and changes of the claim set; `wants_round` says that voters should hear of them at once.
Always: an instruction is followed only if its epoch is higher than any that this life has spent on the service; and a
service is claimed anew only after it has been released.
"""

from typing import Literal

from holdfast.core.grant_candidate import Candidate
from holdfast.core.grant_claims import Claims, Entry
from holdfast.core.grant_holder import Holder
from holdfast.core.grant_members import Members
from holdfast.core.grant_rounds import Rounds
from holdfast.model.granting import Output, Refused, Succession
from holdfast.model.names import ServiceName


class Instructions:
    def __init__(
        self,
        members: Members,
        claims: Claims,
        rounds: Rounds,
        holder: Holder,
        candidate: Candidate,
        out: list[Output],
    ) -> None:
        self._members = members
        self._claims = claims
        self._rounds = rounds
        self._holder = holder
        self._candidate = candidate
        self._out = out
        self._following: dict[ServiceName, int] = {}
        """Epochs of claims that were told while the service was still being closed."""
        self.wants_round = False

    def claim(self, service: ServiceName, epoch: int, how: Literal["take", "wait"]) -> None:
        entry = self._claims.get(service)
        refusal = self.why_not(service, epoch, entry)
        if refusal is not None:
            self._out.append(Refused(service, epoch, refusal))
        elif entry is not None and entry.condition == "closing" and entry.step == "take":
            self._following[service] = epoch
        elif how == "take":
            self.take(service, epoch)
        elif entry is None or entry.epoch != epoch or entry.step not in ("take", "wait"):
            self._wait(service, epoch, 0)

    def seal(self, service: ServiceName, epoch: int) -> None:
        """Go on holding the service under a higher epoch: orders that were given under lower ones succeed no more.

        What was promised stays proven, because promises are kept for this host whatever the epoch is; `Held` is said
        again when a majority has recorded the new one.
        """
        entry = self._claims.get(service)
        if entry is None or entry.step != "take" or entry.condition != "held" or epoch <= entry.epoch:
            known = entry.epoch if entry is not None else 0
            self._out.append(Refused(service, epoch, f"it cannot be sealed: not held, or under epoch {known} already"))
            return
        self._rounds.prove(entry)
        sealed = self._claims.put(service, epoch, "take")
        sealed.proven_ns, sealed.condition = entry.proven_ns, entry.condition
        sealed.dark_since_ns = entry.dark_since_ns
        self._holder.goes_on(sealed)
        self.wants_round = True

    def why_not(self, service: ServiceName, epoch: int, entry: Entry | None) -> str | None:
        """Why this agent cannot claim the service under that epoch; None if it can."""
        if self._members.host in self._members.current.witnesses:
            return "a witness holds nothing"
        if entry is None:
            return "this agent has claimed too many services in its life" if self._claims.is_full else None
        if entry.is_live and entry.step == "take":
            return None if entry.epoch == epoch else f"it is claimed under epoch {entry.epoch}: release it first"
        spent = entry.epoch - 1 if entry.step in ("wait", "watch", "drop") else entry.epoch
        if epoch <= spent:
            return f"epoch {entry.epoch} was seen before: an older instruction"
        return None

    def take(self, service: ServiceName, epoch: int) -> None:
        """Claim it for good."""
        entry = self._claims.get(service)
        if entry is not None and entry.step == "take" and entry.is_live:
            return
        if entry is not None:
            self._rounds.prove(entry)
        self._claims.put(service, epoch, "take")
        self._candidate.stop_waiting(service)
        self._holder.is_unequal = self._holder.is_stale = True
        self.wants_round = True

    def follow_on(self, service: ServiceName) -> None:
        """It has been released: claim it anew, or wait for it, if that was told meanwhile."""
        epoch = self._following.pop(service, None)
        place = self._candidate.place_in(service)
        if epoch is not None:
            self.take(service, epoch)
        elif place is not None and self.why_not(service, place[1].epoch, self._claims.get(service)) is None:
            self._wait(service, place[1].epoch, place[0])

    def wait_no_longer(self) -> None:
        """Let go of waiting claims that cannot come to anything any more."""
        for entry in self._candidate.over:
            self._out.append(Refused(entry.service, entry.epoch, "a majority knows a newer epoch"))
            self._stop_waiting(entry)
        self._candidate.over.clear()

    def _wait(self, service: ServiceName, epoch: int, turn: int) -> None:
        self._claims.put(service, epoch, "watch" if turn else "wait")
        self._candidate.wait(service, turn)
        self.wants_round = True

    def release(self, service: ServiceName) -> None:
        self._following.pop(service, None)
        entry = self._claims.get(service)
        if entry is not None and entry.condition == "closing" and entry.step == "take":
            return
        if entry is None or not entry.is_live:
            self._out.append(Refused(service, entry.epoch if entry is not None else 0, "it is not claimed"))
        elif entry.step == "take":
            self._holder.release(entry)
        else:
            self._stop_waiting(entry)

    def _stop_waiting(self, entry: Entry) -> None:
        self._claims.end(entry, "drop")
        self._candidate.stop_waiting(entry.service)
        self.wants_round = True

    def order(self, succession: Succession) -> None:
        service = succession.service
        refusal = self._candidate.follow(succession)
        if refusal is not None:
            self._out.append(Refused(service, succession.epoch, refusal))
            return
        entry = self._claims.get(service)
        place = self._candidate.place_in(service)
        if entry is not None and entry.step == "take":
            return
        if place is None:
            if entry is not None and entry.is_live:
                self._stop_waiting(entry)
            return
        turn, successor = place
        refusal = self.why_not(service, successor.epoch, entry)
        if refusal is not None:
            self._out.append(Refused(service, successor.epoch, refusal))
        elif entry is None or (entry.epoch, entry.step) != (successor.epoch, "watch" if turn else "wait"):
            self._wait(service, successor.epoch, turn)
        else:
            self._candidate.wait(service, turn)
