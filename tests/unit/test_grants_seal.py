"""A holder that goes on under a higher epoch: what was ordered under lower ones succeeds no more."""

from holdfast.core.grants import Grantor
from holdfast.model.granting import (
    FAST,
    MS,
    Arm,
    Close,
    CloseAll,
    Heard,
    Held,
    Lapsed,
    Lost,
    Output,
    Persist,
    Refused,
    Released,
    SendTo,
    Succession,
    Successor,
    Taking,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName, VnfcName

HOSTS = (HostName("a"), HostName("b"), HostName("c"))
A, B, C = HOSTS
S = ServiceName("s")


class Three:
    """Three hosts whose messages arrive at once, unless a host is cut off, and whose kernels do what they are told."""

    def __init__(self) -> None:
        self.now = 1_000 * MS
        voters = voter_set(HOSTS, FAST)
        self.agents = {host: Grantor(host, 10 + n, FAST, voters, self.now) for n, host in enumerate(HOSTS)}
        self.cut: set[HostName] = set()
        self.said: dict[HostName, list[Output]] = {host: [] for host in HOSTS}
        self.run(100)

    def run(self, length_ms: int) -> None:
        for _ in range(length_ms):
            self.now += MS
            for agent in self.agents.values():
                deadline = agent.deadline()
                if deadline is not None and deadline <= self.now:
                    agent.tick(self.now)
            self.deliver()

    def deliver(self) -> None:
        for _ in range(100):
            moved = False
            for host, agent in self.agents.items():
                for output in agent.take():
                    moved = True
                    self.do(host, agent, output)
            if not moved:
                return

    def do(self, host: HostName, agent: Grantor, output: Output) -> None:
        match output:
            case SendTo():
                if not {host, output.host} & self.cut:
                    to = self.agents[output.host]
                    meant = output.incarnation or to.incarnation
                    heard = Heard(host, agent.incarnation, meant, output.version, output.clock_ns, output.message)
                    to.receive(heard, self.now)
            case Arm():
                agent.armed(output.until_ns, self.now)
            case Close():
                agent.closed(output.service, self.now)
            case CloseAll():
                agent.all_closed(self.now)
            case Persist():
                agent.persisted(output.voter_set.version, self.now)
            case _:
                self.said[host].append(output)

    def heard_of(self, host: HostName, kind: type) -> list[Output]:
        return [output for output in self.said[host] if isinstance(output, kind)]


def held_with_successor() -> Three:
    three = Three()
    three.agents[A].claim(S, 5, "take", three.now)
    three.run(20)
    order = Succession(S, 1, A, 5, (Successor(VnfcName("s-2"), B, three.agents[B].incarnation, 6),))
    for agent in three.agents.values():
        agent.order(order, three.now)
    three.run(20)
    assert [output.epoch for output in three.heard_of(A, Held) if isinstance(output, Held)] == [5]
    return three


def test_without_a_seal_the_successor_takes_over_when_the_holder_is_silent() -> None:
    three = held_with_successor()
    three.cut.add(A)
    three.agents[B].found_failed(A, three.now)
    three.run(150)
    assert three.heard_of(B, Taking)
    assert [output.epoch for output in three.heard_of(B, Held) if isinstance(output, Held)] == [6]


def test_a_seal_is_held_without_a_lapse_and_said_when_a_majority_has_it() -> None:
    three = held_with_successor()
    three.agents[A].seal(S, 9, three.now)
    three.run(100)
    assert [output.epoch for output in three.heard_of(A, Held) if isinstance(output, Held)] == [5, 9]
    assert three.heard_of(A, Lapsed) == []
    assert three.heard_of(A, Lost) == []


def test_after_a_seal_an_order_under_a_lower_epoch_succeeds_no_more() -> None:
    three = held_with_successor()
    three.agents[A].seal(S, 9, three.now)
    three.run(30)
    three.cut.add(A)
    three.agents[B].found_failed(A, three.now)
    three.run(300)
    assert three.heard_of(B, Held) == []


def test_a_seal_that_no_majority_hears_is_not_said() -> None:
    three = held_with_successor()
    three.cut.update({B, C})
    three.agents[A].seal(S, 9, three.now)
    three.run(100)
    assert [output.epoch for output in three.heard_of(A, Held) if isinstance(output, Held)] == [5]
    assert three.heard_of(A, Lapsed)


def test_what_is_not_held_or_goes_back_cannot_be_sealed() -> None:
    three = held_with_successor()
    three.agents[A].seal(S, 5, three.now)
    three.agents[C].seal(S, 7, three.now)
    three.run(5)
    assert len(three.heard_of(A, Refused)) == 1
    assert len(three.heard_of(C, Refused)) == 1


def test_what_is_given_up_while_its_new_epoch_is_on_its_way_is_said_to_be_released_and_can_be_claimed_again() -> None:
    three = Three()
    three.agents[A].claim(S, 1, "take", three.now)
    three.run(60)
    three.cut = {B, C}
    three.agents[A].seal(S, 5, three.now)
    three.agents[A].release(S, three.now)
    three.run(5)
    assert Released(S, 5) in three.said[A]
    three.cut = set()
    three.run(120)
    three.agents[A].claim(S, 7, "take", three.now)
    three.run(60)
    assert isinstance([output for output in three.said[A] if isinstance(output, Held | Lost | Refused)][-1], Held)
