"""The active's and the standby's end of replication, one situation at a time."""

from collections.abc import Iterable

import pytest

from holdfast.errors import PeerError
from holdfast.state import frames
from holdfast.state.follower import Fence, Follower, Restore
from holdfast.state.frames import Entry, Frames, frame, greeting
from holdfast.state.history import ENTRIES_KEPT, History
from holdfast.state.replication import (
    PENDING_MAX,
    Acknowledged,
    CloseLink,
    Effect,
    Flushed,
    Mode,
    Sender,
    SendTo,
    SnapshotWanted,
    StandbyIsLost,
    StandbyIsSynced,
    Superseded,
)
from holdfast.wire.component import Position


def _sender(
    in_sync: Iterable[str] = (), *, history: History | None = None, epoch: int = 7, mode: Mode = "synchronous"
) -> Sender:
    base = history if history is not None else History(Position())
    return Sender(service="s", epoch=epoch, history=base, in_sync=in_sync, now=0.0, mode=mode, period_s=0.1)


def _follower(position: Position = Position(), known_epoch: int = 0, name: str = "b") -> Follower:  # noqa: B008 it is frozen
    return Follower(service="s", name=name, position=position, known_epoch=known_epoch)


def _sent(effects: Iterable[Effect], link: int) -> bytes:
    return b"".join(effect.data for effect in effects if isinstance(effect, SendTo) and effect.link == link)


def _others(effects: Iterable[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, SendTo)]


def _talk(sender: Sender, follower: Follower, link: int, now: float = 0.0) -> list[Effect]:
    """Connect them and let them say what they have to say."""
    sender.connected(link, now)
    sender.received(link, follower.greet(), now)
    return _exchange(sender, follower, link, now)


def _exchange(sender: Sender, follower: Follower, link: int, now: float = 0.0) -> list[Effect]:
    seen: list[Effect] = []
    while effects := sender.take():
        seen += _others(effects)
        heard = follower.received(_sent(effects, link))
        assert not heard.broken
        sender.received(link, heard.answer, now)
    return seen


def test_alone_the_active_acknowledges_at_once() -> None:
    sender = _sender()
    assert sender.append(b"x") == Entry(7, 1, b"x")
    assert list(sender.take()) == [Acknowledged(1)]


def test_an_update_waits_for_every_standby_in_sync() -> None:
    sender, b, c = _sender(["b", "c"]), _follower(name="b"), _follower(name="c")
    _talk(sender, b, 1)
    _talk(sender, c, 2)
    sender.append(b"x")
    effects = list(sender.take())
    assert _others(effects) == []
    sender.received(1, b.received(_sent(effects, 1)).answer, 0.0)
    assert _others(sender.take()) == []
    sender.received(2, c.received(_sent(effects, 2)).answer, 0.0)
    assert _others(sender.take()) == [Acknowledged(1)]


def test_losing_a_standby_is_reported_at_once_and_holds_updates_until_it_is_recorded() -> None:
    sender = _sender(["b"])
    _talk(sender, _follower(), 1)
    sender.append(b"x")
    sender.disconnected(1)
    assert _others(sender.take()) == [StandbyIsLost("b")]
    assert sender.losing == ("b",)
    sender.append(b"y")
    assert _others(sender.take()) == []
    sender.recorded("b")
    assert _others(sender.take()) == [Acknowledged(2)]


def test_a_standby_in_sync_that_does_not_come_is_lost_after_the_limit() -> None:
    sender = _sender(["b"])
    for step in range(1, 5):
        sender.tick(step * 0.075)
    assert _others(sender.take()) == []
    sender.tick(0.376)
    assert _others(sender.take()) == [StandbyIsLost("b")]


def test_a_silent_standby_is_lost_after_the_limit() -> None:
    sender = _sender(["b"])
    _talk(sender, _follower(), 1)
    for step in range(1, 5):
        sender.tick(step * 0.075)
    assert _others(sender.take()) == []
    sender.tick(0.375)
    assert _others(sender.take()) == [CloseLink(1, "b was silent for 0.3 s"), StandbyIsLost("b")]


def test_an_active_that_was_held_up_itself_blames_nobody() -> None:
    sender, b = _sender(["b"]), _follower()
    _talk(sender, b, 1)
    sender.tick(5.0)
    assert _exchange(sender, b, 1, 5.0) == []
    assert sender.in_sync == ("b",)


def test_a_standby_that_has_caught_up_is_waited_for_and_then_told_of() -> None:
    sender, b = _sender(), _follower()
    for number in range(5):
        sender.append(b"%d" % number)
    sender.take()
    assert _talk(sender, b, 1) == [StandbyIsSynced("b")]
    assert b.position == Position(7, 5)
    sender.append(b"x")
    assert _others(sender.take()) == []


def test_a_standby_that_lags_a_little_is_waited_for_before_it_is_told_of() -> None:
    sender, b = _sender(), _follower()
    for number in range(3):
        sender.append(b"%d" % number)
    sender.take()
    sender.connected(1, 0.0)
    sender.received(1, b.greet(), 0.0)
    data = _sent(sender.take(), 1)
    first = len(frame(frames.WELCOME, Position())) + len(frame(frames.UPDATE, Position(), b"0"))
    sender.received(1, b.received(data[:first]).answer, 0.0)
    assert sender.in_sync == ()
    sender.append(b"more")
    later = sender.take()
    assert _others(later) == [], "it is waited for"
    sender.received(1, b.received(data[first:]).answer, 0.0)
    assert _others(sender.take()) == [StandbyIsSynced("b")]
    sender.received(1, b.received(_sent(later, 1)).answer, 0.0)
    assert _others(sender.take()) == [Acknowledged(4)]


def test_a_lagging_standby_that_goes_away_again_needs_no_record() -> None:
    sender, b = _sender(), _follower()
    sender.append(b"0")
    sender.append(b"1")
    sender.take()
    sender.connected(1, 0.0)
    sender.received(1, b.greet(), 0.0)
    data = _sent(sender.take(), 1)
    first = len(frame(frames.WELCOME, Position())) + len(frame(frames.UPDATE, Position(), b"0"))
    sender.received(1, b.received(data[:first]).answer, 0.0)
    sender.append(b"2")
    sender.take()
    sender.disconnected(1)
    assert _others(sender.take()) == [Acknowledged(3)]


def test_a_lost_standby_that_comes_back_joins_only_after_its_loss_is_recorded() -> None:
    sender, b = _sender(["b"]), _follower()
    _talk(sender, b, 1)
    sender.disconnected(1)
    sender.take()
    assert _talk(sender, b, 2) == []
    assert sender.in_sync == ()
    sender.recorded("b")
    sender.tick(0.075)
    assert _exchange(sender, b, 2) == [StandbyIsSynced("b")]


def test_a_record_that_comes_before_the_loss_was_seen_is_asked_for_again() -> None:
    # It may be an old one, from before the standby joined again: then acting on it would lose updates.
    sender, b = _sender(["b", "c"]), _follower()
    _talk(sender, b, 1)
    sender.recorded("b")
    sender.recorded("c")
    lost = [CloseLink(1, "b was recorded as lost"), StandbyIsLost("b"), StandbyIsLost("c")]
    assert _others(sender.take()) == lost
    sender.append(b"x")
    assert _others(sender.take()) == []
    sender.recorded("b")
    sender.recorded("c")
    assert _others(sender.take()) == [Acknowledged(1)]


def test_a_record_of_one_that_is_not_waited_for_changes_nothing() -> None:
    sender = _sender()
    sender.recorded("b")
    assert list(sender.take()) == []


def test_a_standby_that_connects_anew_with_all_it_had_is_not_lost() -> None:
    sender, b = _sender(["b"]), _follower()
    _talk(sender, b, 1)
    # Said again: the manager shall know that it does follow.
    assert _talk(sender, b, 2) == [CloseLink(1, "the standby has connected again"), StandbyIsSynced("b")]
    assert sender.in_sync == ("b",)


def test_a_standby_that_comes_back_with_less_than_it_had_is_lost() -> None:
    sender, b = _sender(["b"]), _follower()
    _talk(sender, b, 1)
    sender.append(b"x")
    _exchange(sender, b, 1)
    forgetful = _follower()
    assert StandbyIsLost("b") in _talk(sender, forgetful, 2)


def test_a_diverged_standby_gets_the_whole_state() -> None:
    history = History(Position(6, 10), [Entry(7, 11, b"new")])
    sender, b = _sender(history=history, epoch=8), _follower(Position(6, 11), known_epoch=6)
    sender.connected(1, 0.0)
    sender.received(1, b.greet(), 0.0)
    effects = list(sender.take())
    assert _others(effects) == [SnapshotWanted(1)]
    assert b.received(_sent(effects, 1)).changes == [Fence(8)]
    sender.snapshot(1, Position(7, 11), b"state" * 100_000)
    effects = list(sender.take())
    heard = b.received(_sent(effects, 1))
    assert heard.changes == [Restore(Position(7, 11), b"state" * 100_000)]
    sender.received(1, heard.answer, 0.0)
    assert _others(sender.take()) == [StandbyIsSynced("b")]


def test_a_standby_that_shares_our_history_gets_the_missing_tail_only() -> None:
    history = History(Position(6, 10), [Entry(6, 11, b"k"), Entry(7, 12, b"l")])
    sender, b = _sender(history=history, epoch=8), _follower(Position(6, 11), known_epoch=6)
    sender.connected(1, 0.0)
    sender.received(1, b.greet(), 0.0)
    assert b.received(_sent(sender.take(), 1)).changes == [Fence(8), Entry(7, 12, b"l")]


def test_an_active_that_meets_a_newer_epoch_stops_for_good() -> None:
    sender = _sender()
    assert _talk_refused(sender, _follower(known_epoch=8)) == [Superseded(8), CloseLink(1, "epoch 7 is older than 8")]
    assert sender.append(b"x") is None


def _talk_refused(sender: Sender, follower: Follower) -> list[Effect]:
    sender.connected(1, 0.0)
    sender.received(1, follower.greet(), 0.0)
    effects = list(sender.take())
    assert "refuses" in follower.received(_sent(effects, 1)).broken
    return sorted(_others(effects), key=lambda effect: type(effect).__name__, reverse=True)


def test_a_standby_refuses_an_active_with_an_older_epoch() -> None:
    follower = _follower(known_epoch=8)
    follower.greet()
    assert follower.received(frame(frames.WELCOME, Position(7, 0))).broken == "the active has epoch 7, known is 8"


def test_a_standby_waits_for_the_epoch_it_was_told_without_stopping_anybody() -> None:
    follower = Follower(service="s", name="b", position=Position(), known_epoch=0, least_epoch=8)
    hello = Frames().feed(follower.greet())[0]
    assert hello.position.epoch == 0
    assert follower.received(frame(frames.WELCOME, Position(7, 0))).broken == "the active has epoch 7, known is 8"


def test_a_standby_of_another_service_is_refused() -> None:
    other = Follower(service="t", name="b", position=Position(), known_epoch=0)
    assert _talk_refused(_sender(), other) == [CloseLink(1, "this is s, not t")]


def test_what_was_whole_before_a_broken_frame_is_still_handed_out() -> None:
    follower = _follower()
    follower.greet()
    data = frame(frames.WELCOME, Position(7, 0)) + frame(frames.UPDATE, Position(7, 1), b"x")
    heard = follower.received(data + frame(frames.UPDATE, Position(7, 3), b"z"))
    assert heard.changes == [Fence(7), Entry(7, 1, b"x")]
    assert "cannot follow" in heard.broken
    assert follower.position == Position(7, 1)


def test_an_acknowledgement_of_what_was_never_sent_closes_the_link() -> None:
    sender = _sender(["b"])
    _talk(sender, _follower(), 1)
    sender.received(1, frame(frames.ACK, Position(7, 9)), 0.0)
    assert _others(sender.take()) == [CloseLink(1, "b acknowledges 9, sent was 0"), StandbyIsLost("b")]


def test_too_many_waiting_updates_are_refused() -> None:
    sender = _sender(["b"])
    assert all(sender.append(b"x") is not None for _ in range(PENDING_MAX))
    assert sender.append(b"x") is None


def test_periodic_updates_are_acknowledged_at_once_and_shipped_later() -> None:
    sender, b = _sender(mode="periodic"), _follower()
    assert _talk(sender, b, 1) == [StandbyIsSynced("b")]
    sender.append(b"x")
    assert list(sender.take()) == [Acknowledged(1)]
    for step in range(1, 5):
        sender.tick(step * 0.04)
    _exchange(sender, b, 1)
    assert b.position == Position(7, 1)


@pytest.mark.parametrize("mode", ["synchronous", "periodic"])
def test_quiescing_refuses_updates_and_ends_when_the_standbys_have_everything(mode: Mode) -> None:
    sender, b = _sender(["b"], mode=mode), _follower()
    _talk(sender, b, 1)
    sender.append(b"x")
    sender.quiesce()
    assert sender.append(b"y") is None
    assert Flushed() in _exchange(sender, b, 1)
    assert b.position == Position(7, 1)


def test_quiescing_without_standbys_ends_at_once() -> None:
    sender = _sender()
    sender.quiesce()
    assert list(sender.take()) == [Flushed()]


def test_a_history_forgets_old_entries_but_none_that_is_not_acknowledged() -> None:
    history = History(Position())
    for number in range(1, ENTRIES_KEPT + 101):
        history.append(Entry(1, number, b""))
    history.trim(50)
    assert history.base == Position(1, 50)
    history.trim(ENTRIES_KEPT + 100)
    assert len(history) == ENTRIES_KEPT
    assert history.after(99) is None
    assert history.holds(Position(1, 100))
    assert not history.holds(Position(1, 99))
    assert not history.holds(Position(2, 101))


@pytest.mark.parametrize(
    "data", [b"", b"1\ns\nb", b"2\ns\nb\n1 1", b"1\ns\n\n1 1", b"1\ns\nb\n1 -1", b"\xff", b"1\ns\nb\n1 1 1"]
)
def test_bad_greetings_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="not a greeting"):
        greeting(data)


def test_bytes_that_are_no_frames_are_refused() -> None:
    with pytest.raises(PeerError, match="not a frame"):
        Frames().feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
