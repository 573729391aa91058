"""The VIM and the voter set: what agents say about it, and when the next one is not made yet."""

from msgspec.structs import replace

from holdfast.core import vim
from holdfast.core.vim_state import State
from holdfast.model.actions import Action, ClearAlarm, FenceHost, NoteVoters, RaiseAlarm, SetVoters
from holdfast.model.events import (
    ActionDone,
    AgentJoined,
    AgentLost,
    DeadlinePassed,
    Event,
    HostFailed,
    ManagerStarted,
    Observed,
)
from holdfast.model.granting import FAST, VoterSet, voter_set
from holdfast.model.layout import FenceDevice, Grants, Host, Layout
from holdfast.model.names import HostName

H1, H2, H3, H4 = HOSTS = tuple(HostName(f"h{n}") for n in range(1, 5))
FIRST = voter_set(HOSTS, FAST)


class Vim:
    """Its core, with agents that do at once what they are told."""

    def __init__(self, hosts: tuple[HostName, ...] = HOSTS) -> None:
        fence = ((FenceDevice("fence_test"),),)
        self.layout = Layout(
            name="four", hosts={name: Host(name, fence=fence) for name in hosts}, grants=Grants("fast")
        )
        self.state: State = vim.initial(self.layout)
        self.now = 0.0
        self.n = 0
        self.does: dict[HostName, bool] = dict.fromkeys(hosts, True)
        """Whether the agent of the host answers."""
        self.decided: list[Action] = []
        self.see(ManagerStarted())

    def see(self, event: Event) -> None:
        todo = [event]
        while todo:
            self.n += 1
            self.state, decisions = vim.step(self.layout, self.state, Observed(self.n, todo.pop(0)), self.now)
            actions = [decision.action for decision in decisions]
            self.decided += actions
            todo += [ActionDone(one.id) for one in actions if isinstance(one, SetVoters) and self.does.get(one.host)]

    def join(self, host: HostName, voters: VoterSet | None = None) -> None:
        self.see(AgentJoined(host, (), (), voters=voters or FIRST))

    def all_join(self) -> "Vim":
        for host in self.layout.hosts:
            self.join(host)
        return self

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := vim.deadline(self.state)) is not None and due <= end:
            self.now = max(self.now, due)
            self.see(DeadlinePassed())
        self.now = end

    def fenced(self, host: HostName) -> None:
        self.does[host] = False
        self.see(AgentLost(host))
        self.see(HostFailed(host, next(other for other in self.layout.hosts if other != host)))
        while not (fences := [one for one in vim.outstanding(self.state) if isinstance(one, FenceHost)]):
            self.wait(1.0)
        self.see(ActionDone(fences[0].id, "confirmed"))

    @property
    def noted(self) -> list[tuple[int, str]]:
        return [(one.voters.version, one.state) for one in self.decided if isinstance(one, NoteVoters)]

    def told(self, host: HostName) -> list[tuple[int, bool]]:
        return [
            (one.voters.version, one.use) for one in self.decided if isinstance(one, SetVoters) and one.host == host
        ]

    def alarms(self) -> set[str]:
        found: set[str] = set()
        for action in self.decided:
            if isinstance(action, RaiseAlarm):
                found.add(action.alarm)
            elif isinstance(action, ClearAlarm):
                found.discard(action.alarm)
        return {alarm for alarm in found if alarm.startswith("voters")}


def test_a_deployment_begins_with_all_its_hosts_as_voters() -> None:
    made = Vim()
    assert made.state.voters is not None
    assert made.state.voters.current == FIRST
    assert made.noted == [(1, "sealed")]
    made.all_join()
    assert made.told(H1) == []


def test_nothing_of_it_is_there_without_grants() -> None:
    layout = Layout(name="plain", hosts={H1: Host(H1)})
    state, decisions = vim.step(layout, vim.initial(layout), Observed(1, ManagerStarted()), 0.0)
    assert state.voters is None
    assert decisions == ()


def test_all_have_it_on_disk_before_anybody_goes_by_it_and_the_next_waits_for_the_longest_promise() -> None:
    made = Vim().all_join()
    made.does[H2] = False
    made.fenced(H4)
    assert (made.told(H1), made.told(H2)) == ([(2, False)], [(2, False)])
    made.does[H2] = True
    waiting = next(one for one in vim.outstanding(made.state) if isinstance(one, SetVoters))
    made.see(ActionDone(waiting.id))
    assert [made.told(host) for host in (H1, H2, H3)] == [[(2, False), (2, True)]] * 3
    assert made.noted[1:] == [(2, "made"), (2, "used")]
    made.wait(0.05)
    assert made.noted[-1] == (2, "used")
    made.wait(0.001)
    assert made.noted[-1] == (2, "sealed")


def test_an_agent_that_is_only_starting_again_is_waited_for() -> None:
    made = Vim().all_join()
    made.see(AgentLost(H1))
    made.fenced(H4)
    assert made.noted == [(1, "sealed")]
    made.join(H1)
    assert made.noted[1] == (2, "made")


def test_and_no_longer_than_an_agent_may_be_away() -> None:
    made = Vim().all_join()
    made.see(AgentLost(H1))
    made.fenced(H4)
    made.wait(5.0)
    assert made.noted[1] == (2, "made")


def test_who_is_silent_is_not_waited_for() -> None:
    made = Vim().all_join()
    made.see(AgentLost(H1))
    made.see(HostFailed(H1, H2))
    made.fenced(H4)
    assert made.noted[1] == (2, "made")


def test_who_joins_later_is_told_what_it_lacks() -> None:
    made = Vim().all_join()
    made.fenced(H4)
    made.wait(1.0)
    made.does[H4] = True
    made.see(AgentJoined(H4, (), (), voters=FIRST))
    assert made.told(H4)[0] == (2, True)
    made.wait(1.0)
    assert made.state.voters is not None
    assert set(made.state.voters.current.members) == set(HOSTS)
    assert made.noted[-1] == (3, "sealed")


def test_what_agents_know_goes_before_a_store_that_was_restored() -> None:
    second = voter_set((H1, H2, H3), FAST, after=FIRST)
    third = voter_set((H1, H2), FAST, after=second)
    made = Vim((H1, H2, H3))
    made.join(H1, third)
    made.join(H2, third)
    made.join(H3, second)
    assert made.state.voters is not None
    assert made.told(H3)[0] == (3, True)
    made.wait(1.0)
    assert made.noted[-1] == (4, "sealed")
    assert set(made.state.voters.current.members) == {H1, H2, H3}


def test_two_voter_sets_of_one_version_are_an_alarm_and_no_reason_to_change_anything() -> None:
    made = Vim()
    made.join(H1)
    made.join(H2, replace(FIRST, members=(H1, H2)))
    assert made.alarms() == {"voters:h2"}
    assert made.told(H2) == []


def test_hosts_that_the_descriptor_has_no_more_leave_and_new_ones_come() -> None:
    made = Vim((H1, H2, H4))
    before = voter_set((H1, H2, H3), FAST, after=voter_set((H1, H2), FAST))
    for host in (H1, H2, H4):
        made.join(host, before)
    made.wait(1.0)
    assert made.state.voters is not None
    assert set(made.state.voters.current.members) == {H1, H2, H4}
    assert made.noted[-1] == (4, "sealed")


def test_a_witness_stays_one() -> None:
    made = Vim((H1, H2, H3))
    hosts = {**made.layout.hosts, H3: replace(made.layout.hosts[H3], witness=True)}
    made.layout = replace(made.layout, hosts=hosts)
    made.state = vim.initial(made.layout)
    made.see(ManagerStarted())
    for host in (H1, H2, H3):
        made.join(host, voter_set((H1, H2, H3), FAST, witnesses=(H3,)))
    made.fenced(H2)
    made.wait(61.0)
    assert made.state.voters is not None
    assert (made.state.voters.current.members, made.state.voters.current.witnesses) == ((H1, H3), (H3,))
