"""Voter set and epochs in every store there is: who leads next goes on with them, and of two managers one decides."""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.model.actions import NoteVoters, RememberEpochs, SetVoters
from holdfast.model.events import ActionDone, AgentJoined, AgentLost, HostFailed, ManagerStarted
from holdfast.model.layout import Layout, first_voters
from holdfast.model.names import HA, VIM, HostName, Party, ServiceName
from holdfast.runtime.manager_process import core_of
from holdfast.runtime.seat import Seat
from holdfast.store.journal import Journal
from holdfast.store.port import Store, Superseded
from tests.contract.conftest import Opener
from tests.scripts.layouts import registry_four

H1, H2, H3, H4 = (HostName(f"host{n}") for n in range(1, 5))
REGISTRY = ServiceName("registry")


class Seats:
    """Seats of one party, each taking over from the one before in the same store."""

    def __init__(self, folder: Path, layout: Layout, party: Party) -> None:
        self._folder, self._layout, self._party = folder, layout, party
        self._clock = itertools.count()
        self._journals: list[Journal] = []

    def seat(self, store: Store, term: int = 0) -> Seat:
        path = self._folder / f"{self._party}-{len(self._journals)}.jsonl"
        self._journals.append(Journal(path, self._party))
        core = core_of(self._layout, self._party)
        return Seat(self._party, core, store, self._journals[-1], partial(next, self._clock), term)

    def close(self) -> None:
        for journal in self._journals:
            journal.close()


@pytest.fixture
def seats(tmp_path: Path) -> Iterator[Seats]:
    made = Seats(tmp_path, registry_four(), VIM)
    yield made
    made.close()


def begun(seat: Seat) -> Seat:
    seat.take(ManagerStarted())
    for host in (H1, H2, H3, H4):
        seat.take(AgentJoined(host, (), (), voters=first_voters(registry_four())))
    return seat


def lose_host_4(seat: Seat) -> list[SetVoters]:
    """Until the voter set without it is made; what is to be told of it."""
    seat.take(AgentLost(H4))
    fence = next(one.action for one in seat.take(HostFailed(H4, H1)) or () if type(one.action).__name__ == "FenceHost")
    decisions = seat.take(ActionDone(fence.id)) or ()  # type: ignore[union-attr]
    return [one.action for one in decisions if isinstance(one.action, SetVoters)]


def test_a_voter_set_that_was_made_is_there_for_the_next_leader_who_brings_it_to_its_end(
    opener: Opener, seats: Seats
) -> None:
    told = lose_host_4(begun(seats.seat(opener())))
    assert {action.host for action in told} == {H1, H2, H3}
    seat = seats.seat(opener(), term=2)
    seat.take(ManagerStarted())
    assert seat.state.voters.current == told[0].voters
    decided = [seat.take(AgentJoined(host, (), (), voters=told[0].voters)) or () for host in (H1, H2, H3)]
    notes = [one.action for few in decided for one in few if isinstance(one.action, NoteVoters)]
    assert [(note.voters.version, note.state) for note in notes] == [(2, "used")]


def test_of_two_managers_one_makes_the_next_voter_set_and_the_other_one_is_refused(
    opener: Opener, seats: Seats
) -> None:
    store = opener()
    one = begun(seats.seat(store))
    other = seats.seat(store)
    assert lose_host_4(one)
    with pytest.raises(Superseded):
        lose_host_4(other)
    assert seats.seat(store).state.voters.version == 2


def test_epochs_that_were_recorded_are_told_by_who_leads_next(opener: Opener, tmp_path: Path) -> None:
    seats = Seats(tmp_path, registry_four(), HA)
    seat = seats.seat(opener())
    seat.take(ManagerStarted())
    name, group = next(iter(seat.state.groups.items()))
    services = {REGISTRY: replace(group.services[REGISTRY], recorded=7, epoch=6, sealed=7)}
    seat.state = replace(seat.state, groups={name: replace(group, services=services)})
    seat.keep()
    again = seats.seat(opener(), term=2)
    decisions = again.take(AgentJoined(H4, (), (), voters=first_voters(registry_four()))) or ()
    assert [one.action.epochs for one in decisions if isinstance(one.action, RememberEpochs)] == [{REGISTRY: 7}]
    seats.close()
