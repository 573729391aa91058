"""Journals and client's figures of the real cores on simulated hosts, as evidence for the judges.

Every event takes a millisecond, and the client asks once in each; so the order of everything is that of the harness.
"""

from array import array

from msgspec.structs import replace

from holdfast.lab.judges.evidence import Evidence, Fault, RunEvidence, merged
from holdfast.lab.judges.probed import ProbeRun
from holdfast.model.actions import Action, Activate, AgentAction, PowerAction
from holdfast.model.events import ActionDone, ActionFailed, Event, Observed, Position, Received, ServiceTaken, VnfcReady
from holdfast.model.layout import Layout
from holdfast.model.names import ActionId, Party, ServiceName, VnfcName
from holdfast.model.reasons import Reason
from holdfast.model.records import Begun, Decided, Ended, Marked, Opened, Record, Seen
from tests.scripts.harness import Stage
from tests.scripts.world import News, entity_of

STEP_S = 0.001


class JournalledStage(Stage):
    """A stage that keeps journals of all parties and lets a client ask after each event."""

    def __init__(self, layout: Layout, service: str) -> None:
        super().__init__(layout)
        self.service = ServiceName(service)
        self.clock = 100.0
        self.records: list[Record] = []
        self.writing: dict[str, int] = {}
        self.asked: list[tuple[float, str, int]] = []
        self.faults: list[Fault] = []
        for party in self.cores:
            self.records.append(Opened(self.clock, party, self.number(party), 0.0))

    def number(self, by: str) -> int:
        self.writing[by] = self.writing.get(by, 0) + 1
        return self.writing[by]

    def _step(self, party: Party, event: Event) -> None:
        self.clock += STEP_S
        if isinstance(event, VnfcReady) and self._state(event.vnfc) == "external":
            # The simulated hosts know no checkpoints.
            event = replace(event, position=Position(1, event.run - 1))
        n = self.number(party)
        self.records.append(Seen(self.clock, party, n, event))
        decisions = self.cores[party].step(Observed(n, event), self.now)
        if isinstance(event, Received):
            self.queue.append((event.sender, ActionDone(event.id)))
        for decision in decisions:
            number = self.number(party)
            self.records.append(
                Decided(self.clock, party, number, n, decision.action, decision.reasons, decision.incident)
            )
        for decision in decisions:
            self.let_out(party, decision.action)
        self.ask()

    def _state(self, vnfc: VnfcName) -> str:
        return self.layout.groups[self.layout.vnfcs[vnfc].group].state

    def let_out(self, party: Party, action: Action) -> None:
        before = len(self.queue)
        super().let_out(party, action)
        if not isinstance(action, AgentAction | PowerAction):
            return
        self.by_standing_order(list(self.queue)[before:])
        agent = Party(f"agent:{self.world.host_of(action)}") if self.world.host_of(action) else party
        what, about = type(action).__name__, entity_of(action)
        self.records.append(Begun(self.clock, agent, self.number(agent), action.id, what, about))
        for outcome in self._outcomes(list(self.queue)[before:], action):
            ok = isinstance(outcome, ActionDone)
            detail = outcome.detail if isinstance(outcome, ActionDone) else outcome.why
            at = self.clock + STEP_S / 4
            self.records.append(Ended(at, agent, self.number(agent), action.id, what, about, ok, detail))

    def by_standing_order(self, news: list[News]) -> None:
        """What an agent does without being told is in its journal as a decision of its own, and as what came of it."""
        for taken in (event for _, event in news if isinstance(event, ServiceTaken)):
            agent = Party(f"agent:{self.layout.vnfcs[taken.vnfc].host}")
            own = ActionId(f"standing/{taken.service}/{taken.epoch}")
            mark = Marked(self.clock, agent, self.number(agent), "taking-over", taken.service, f"epoch {taken.epoch}")
            self.records.append(mark)
            why = (
                Reason("nobody-holds", taken.service, "its holder's promise has run out, and host1 has failed"),
                Reason("standing-order", taken.vnfc, f"number 1 of 1 in order 1, epoch {taken.epoch}"),
            )
            action = Activate(own, taken.vnfc, taken.run, taken.service, taken.epoch, taken.in_sync)
            self.records.append(Decided(self.clock, agent, self.number(agent), mark.n, action, why))
            self.records.append(Begun(self.clock, agent, self.number(agent), own, "Activate", taken.vnfc))
            at = self.clock + STEP_S / 8
            self.records.append(Ended(at, agent, self.number(agent), own, "Activate", taken.vnfc, True))

    @staticmethod
    def _outcomes(news: list[News], action: Action) -> list[ActionDone | ActionFailed]:
        number = getattr(action, "id", None)
        return [e for _, e in news if isinstance(e, ActionDone | ActionFailed) and e.action == number]

    def ask(self) -> None:
        owners = self.world.owners(self.service)
        is_hung = bool(owners) and self.world.vnfcs[owners[0]].is_hung
        owner = owners[0] if owners and not is_hung else ""
        self.asked.append((self.clock + STEP_S / 2, owner, self.world.vnfcs[owners[0]].epoch if owner else -1))

    def quiet(self, steps: int = 300) -> None:
        """Time passes in which only the client asks."""
        for _ in range(steps):
            self.clock += STEP_S
            self.ask()

    def fault(self, kind: str, entity: str, news: list[News], order: str = "", detail: str = "") -> None:
        self.clock += STEP_S
        self.faults.append(Fault(self.clock, kind, entity, order=order, detail=detail))
        self.queue.extend(news)
        self.ask()
        self.settle()

    def kill(self, vnfc: str) -> None:
        name = next(one for one in self.layout.vnfcs if one == vnfc)
        self.fault("kill-vnfc", vnfc, self.world.fail(name, "killed", "signal 9"))

    def kill_vm(self, vm: str) -> None:
        name = next(one for one in self.layout.vms if one == vm)
        self.fault("kill-vm", vm, self.world.end_vm(name, by="the lab"))

    def release(self, party: Party) -> None:
        self.queue.extend(self.held.pop(party))
        self.settle()

    def probe(self) -> ProbeRun:
        run = ProbeRun("registry", "10.77.0.100", 80, STEP_S, self.asked[0][0], self.asked[-1][0])
        run.sent_at = array("d", [at for at, _, _ in self.asked])
        run.answered_at = array("d", [at + STEP_S / 10 if owner else -1.0 for at, owner, _ in self.asked])
        run.owners = sorted({owner for _, owner, _ in self.asked if owner})
        run.owner = array("h", [run.owners.index(owner) if owner else -1 for _, owner, _ in self.asked])
        run.epoch = array("q", [epoch for _, _, epoch in self.asked])
        run.kinds = bytearray(len(self.asked))
        run.verified = True
        return run

    def evidence(self, use_case: str, scenario: str = "") -> Evidence:
        run = RunEvidence(
            scenario=scenario or use_case,
            use_case=use_case,
            service=self.service,
            began_at=100.0,
            ended_at=self.clock,
            faults=tuple(self.faults),
            leftovers=(),
        )
        return Evidence(run, self.layout, merged([self.records]), self.probe())
