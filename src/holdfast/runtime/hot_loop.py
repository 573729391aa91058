"""The hot loop: heartbeats out on an absolute schedule, everything received handed to pure objects, nothing else.

In:   datagrams of other agents, commands of the own one, time.
Out:  heartbeats (with what rides on them), events for the own agent, the loop's own lateness.
Always: one reading of the clock a round, taken before anything is read; own lateness is told to suspicion first, then
what has arrived, then time; nothing waits but the one `epoll`, no file is written, no log line, no memory grows.
A round that is stopped in its middle therefore judges by an older time, and never by less than what had arrived. The
rider alone is given a reading of its own for each call: promises must not be counted from before the request was there.
"""

import struct
from collections.abc import Callable, Sequence

from holdfast.core.suspicion import Suspicion
from holdfast.core.suspicion_words import patience
from holdfast.errors import PeerError
from holdfast.model.names import HostName
from holdfast.runtime import hot_beat, hot_rights
from holdfast.runtime.hot_clock import KERNEL_CLOCKS, Clocks
from holdfast.runtime.hot_lateness import LatenessCounter
from holdfast.runtime.hot_link import HotLink
from holdfast.runtime.hot_sockets import HotSockets
from holdfast.runtime.hot_speech import NoRider, Rider, Speech
from holdfast.runtime.hot_waiting import KernelWaiting, Source, Waiting, Way
from holdfast.runtime.hot_words import (
    AskStanding,
    Began,
    EndHot,
    FromRider,
    HotCommand,
    HotSettings,
    Pulse,
    SetPeers,
    Standing,
    ToRider,
)

YOUNG_OBJECTS_MAX = 50_000
_LENGTH = struct.Struct("!H")
"""In front of the heartbeat in each body; what follows the heartbeat is the rider's."""
NO_BEAT = _LENGTH.pack(0)


class HotLoop:
    """Joins sockets, suspicion, speech and rider; `run` returns when it is told to end."""

    def __init__(
        self,
        settings: HotSettings,
        speech: Speech,
        sockets: HotSockets,
        link: HotLink,
        *,
        rider: Rider | None = None,
        rights: hot_rights.Rights | None = None,
        clocks: Clocks = KERNEL_CLOCKS,
        waiting: Waiting | None = None,
        tidy: Callable[[int], None] = hot_rights.tidy,
    ) -> None:
        self._settings = settings
        self._speech = speech
        self._sockets = sockets
        self._link = link
        self._rider: Rider = rider if rider is not None else NoRider()
        self._rights = rights if rights is not None else hot_rights.Rights((), ())
        self._clocks = clocks
        self._now_ns = clocks.raw_ns
        now = self._now_ns()
        names = tuple(network.name for network in settings.networks)
        self.suspicion = Suspicion(settings.me, settings.peers, names, patience(settings.heartbeat_ns), now)
        self._peers = tuple(settings.peers)
        self._lateness = LatenessCounter()
        self._received = self._refused = self._sent_before = 0
        self._processor_ns = clocks.processor_ns()
        self._next_beat_ns = now + settings.heartbeat_ns
        self._next_pulse_ns = now + settings.pulse_ns
        self._due_ns = 0
        self._round_ns = now
        """The reading of the clock of the present round, or of the last one."""
        self._waiting = waiting if waiting is not None else KernelWaiting()
        self._tidy = tidy
        for place, one in enumerate(sockets.sockets):
            self._waiting.watch(one, lambda now, place=place: self._read_network(place, now))  # type: ignore[misc]
        self._waiting.watch(link.listener, self._greet)
        self._followed: Source | None = None
        self._is_drained = True
        self.is_ending = False

    # The loop.

    def run(self) -> None:
        """Go round until told to end."""
        while not self.is_ending:
            self.round()

    def round(self) -> None:
        """Wait for something to happen, and do what follows from it."""
        self.set_alarm()
        self.go_on(self._waiting.wait())

    def go_on(self, ready: Sequence[Way]) -> None:
        """What follows from these being ready, and from the time."""
        now = self._round_ns = self._now_ns()
        is_due = now >= self._due_ns
        if is_due:
            late_ns = now - self._due_ns
            self._lateness.add(late_ns)
            self.suspicion.late(now, late_ns)
            # All of it first, also what has come since `poll` returned: silence is judged after this.
            for place in range(len(self._sockets.sockets)):
                self._read_network(place, now)
        for way in ready:
            way(now)
        self._judge(now)
        if now >= self._next_beat_ns:
            self._beat(now)
        if now >= self._next_pulse_ns:
            self._pulse(now)
        self._pass_on(now)

    def set_alarm(self) -> None:
        """For the next thing to do. One that has passed meanwhile stays as it is: by so much the loop is late."""
        due_ns = min(self._next_beat_ns, self.suspicion.deadline())
        rider_ns = self._rider.deadline()
        if rider_ns is not None and rider_ns < due_ns:
            # A rider may wish for something that is over already: that is not the loop's lateness.
            due_ns = max(rider_ns, self._round_ns)
        if due_ns != self._due_ns:
            self._waiting.set_alarm(due_ns)
            self._due_ns = due_ns

    def _judge(self, now: int) -> None:
        if now >= self._next_beat_ns or now >= self.suspicion.deadline():
            self.suspicion.tick(now)
        for noticed in self.suspicion.take():
            self._rider.noticed(noticed, self._now_ns())
            self._link.tell(noticed)
        rider_ns = self._rider.deadline()
        if rider_ns is not None and now >= rider_ns:
            self._rider.tick(self._now_ns())

    def _beat(self, now: int) -> None:
        """Send a heartbeat to everybody; those missed while the process stood still are not made up for."""
        heartbeat_ns = self._settings.heartbeat_ns
        self._next_beat_ns += ((now - self._next_beat_ns) // heartbeat_ns + 1) * heartbeat_ns
        suspicion, speech, rider = self.suspicion, self._speech, self._rider
        speech.tick(now)
        views = hot_beat.encode_views(suspicion.views(now))
        late_ns = suspicion.told_late_ns(now)
        rider.beat(self._now_ns())
        along: dict[HostName, bytes] = {}
        alone: list[tuple[HostName, bytes]] = []
        for peer, body in rider.take():
            if along.setdefault(peer, body) is not body:
                alone.append((peer, body))
        for peer in self._peers:
            beat = hot_beat.encode(late_ns, suspicion.hears(peer, now), views)
            body = _LENGTH.pack(len(beat)) + beat + along.get(peer, b"")
            datagram = speech.seal(peer, body, now)
            if datagram is not None:
                self._sockets.send(peer, datagram)
        for peer, body in alone:
            self._send_alone(peer, body, now)
        for peer, place in self._sockets.take_refused():
            suspicion.unsent(peer, place, now)

    def _read_network(self, place: int, now: int) -> None:
        for datagram in self._sockets.received(place):
            heard = self._speech.open(datagram, place, now)
            if heard is None:
                self._refused += 1
                continue
            self._received += 1
            length = _LENGTH.unpack_from(heard.body)[0] if len(heard.body) >= _LENGTH.size else 0
            end = _LENGTH.size + length
            # Everything is sent on every network; a copy proves that its network carries, and says nothing new.
            beat = hot_beat.decode(heard.body[_LENGTH.size : end]) if length and not heard.is_copy else None
            self.suspicion.receive(heard.peer, place, heard.incarnation, now, beat)
            if len(heard.body) > end and not heard.is_copy:
                self._rider.received(heard.peer, heard.incarnation, heard.body[end:], self._now_ns())

    def _pass_on(self, now: int) -> None:
        """What sessions and rider have to say, at once."""
        for outgoing in self._speech.take():
            self._sockets.send(outgoing.peer, outgoing.datagram, outgoing.network)
        for peer, body in self._rider.take():
            self._send_alone(peer, body, now)
        for news in self._rider.news():
            self._link.tell(FromRider(news))
        self._follow_link()

    def _send_alone(self, peer: HostName, body: bytes, now: int) -> None:
        datagram = self._speech.seal(peer, NO_BEAT + body, now)
        if datagram is not None:
            self._sockets.send(peer, datagram)

    # The agent.

    def _greet(self, now: int) -> None:
        if not self._link.accept():
            return
        speech, settings = self._speech, self._settings
        self._link.tell(Began(settings.me, speech.incarnation, settings.heartbeat_ns, self._rights))
        self._link.tell(self._standing(now))

    def _read_link(self, now: int) -> None:
        self._link.flush()
        if self._link.has_gap and self._link.is_drained:
            self._link.has_gap = False
            self._link.tell(self._standing(now))
        while (command := self._link.read()) is not None:
            self._obey(command, now)

    def _obey(self, command: HotCommand, now: int) -> None:
        if isinstance(command, AskStanding):
            self._link.tell(self._standing(now))
        elif isinstance(command, SetPeers):
            self._peers = tuple(command.peers)
            self._sockets.set_peers(command.peers)
            self._speech.set_peers(command.peers)
            self.suspicion.set_peers(command.peers, now)
            self._rider.set_peers(command.peers, self._now_ns())
        elif isinstance(command, ToRider):
            try:
                self._rider.told(command.body, self._now_ns())
            except PeerError:
                self._link.disconnect()  # As one that speaks nonsense to the loop itself.
        else:
            assert isinstance(command, EndHot)
            self.is_ending = True

    def _follow_link(self) -> None:
        """Watch the connection that is there now; for room to write only while something waits."""
        connection = self._link.connection
        is_drained = self._link.is_drained
        if connection is self._followed and is_drained == self._is_drained:
            return
        if connection is not self._followed:
            if self._followed is not None:
                self._waiting.forget(self._followed)
            self._followed = connection
            if connection is not None:
                self._waiting.watch(connection, self._read_link)
        if connection is not None:
            self._waiting.want_room(connection, not is_drained)
        self._is_drained = is_drained

    def _standing(self, now: int) -> Standing:
        suspicion = self.suspicion
        late_ns = suspicion.told_late_ns(now)
        return Standing(now, suspicion.states(now), suspicion.is_outnumbered, suspicion.is_in_doubt, late_ns)

    def _pulse(self, now: int) -> None:
        self._next_pulse_ns = now + self._settings.pulse_ns
        processor_ns = self._clocks.processor_ns()
        sent = self._sockets.sent
        self._link.tell(
            Pulse(
                now,
                self._lateness.lateness(),
                processor_ns - self._processor_ns,
                sent - self._sent_before,
                self._received,
                self._refused,
                self._sockets.unsent_by_name(),
                self._link.dropped,
                {reason: count for reason, count in self._speech.refused.items() if count},
            )
        )
        self._processor_ns, self._sent_before, self._received, self._refused = processor_ns, sent, 0, 0
        self._lateness.clear()
        self._tidy(YOUNG_OBJECTS_MAX)

    def close(self) -> None:
        self._waiting.close()
        self._link.close()
        self._sockets.close()
