"""Clients outside the hosts: they keep neighbours as a kernel does, ask a service in open loop, and note what they saw.

In:   the service network, an address, a rate.
Out:  what `judges/probed.py` and `judges/asked.py` read: requests and answers, who answered for the address and when.
Always: times are true time; nothing here knows what the product thinks.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, NamedTuple, Protocol

from holdfast.lab.judges.asked import OwnerAnswer, OwnersRun
from holdfast.lab.judges.probed import NEITHER, PUT, ProbeRun
from holdfast.lab.probe_record import Recorder, Updates
from holdfast.lab.probe_words import (
    Heard,
    dns_answer,
    dns_query,
    http_answer,
    http_request,
    registry_answer,
    registry_get,
    registry_put,
)
from holdfast.lab.sim.net import OUTSIDE, Net
from holdfast.lab.sim.timeline import Timeline

NS = 1_000_000_000
ASK_AGAIN_NS = NS
"""Between two questions for an address that nobody answers for, as a kernel asks."""
UNREACHABLE_NS = 8 * NS
"""After so long without an answer a kernel has found its neighbour gone, and asks everybody again."""
READ_BACK_WAIT_NS = 20_000_000
OWNERS_EVERY_NS = 5_000_000
CLOSE_NS = 250_000_000
"""For so long something that has happened is looked at closely."""


class Request(NamedTuple):
    """A datagram for a service, with the way back."""

    data: bytes
    asked_at: str
    """The address that it was sent to, and is answered from."""
    answer: Callable[[bytes, str], None]


class Neighbour(NamedTuple):
    """Who answers for an address, as far as somebody outside can know."""

    host: str
    mac: str


class Segment(Protocol):
    """The service network: every host with its VMs."""

    @property
    def net(self) -> Net: ...

    def hosts(self) -> Iterable[str]: ...

    def owners_at(self, host: str, address: str) -> Iterable[str]:
        """The MACs that answer a question for the address at that host at this instant."""

    def deliver(self, host: str, mac: str, port: int, request: Request) -> None:
        """A request has arrived at that host for that MAC."""


class Client:
    """One machine outside."""

    def __init__(self, timeline: Timeline, segment: Segment) -> None:
        self.timeline = timeline
        self._segment = segment
        self.neighbours: dict[str, Neighbour] = {}
        self._heard_ns: dict[str, int] = {}
        self._asked_ns: dict[str, int] = {}
        self.told: list[Callable[[str, Neighbour, bool], None]] = []
        """Hear of each answer for an address, and of announcements (True)."""

    def ask_owner(self, address: str) -> None:
        """ARP request, or neighbour solicitation, to everybody."""
        for host in self._segment.hosts():
            self._segment.net.send(OUTSIDE, host, self._asked, host, address)

    def _asked(self, host: str, address: str) -> None:
        for mac in self._segment.owners_at(host, address):
            found = Neighbour(host, mac)
            self._segment.net.send(
                host,
                OUTSIDE,
                lambda found=found: self.learn(address, found, is_announcement=False),
            )

    def learn(self, address: str, found: Neighbour, *, is_announcement: bool) -> None:
        """Somebody says that the address is theirs."""
        self.neighbours[address] = found
        self._heard_ns[address] = self.timeline.now_ns
        for told in self.told:
            told(address, found, is_announcement)

    def mislead(self, address: str, wrong: Neighbour) -> None:
        """As if somebody had just said so who has not."""
        self.neighbours[address] = wrong
        self._heard_ns[address] = self.timeline.now_ns

    def send(self, address: str, port: int, data: bytes, answered: Callable[[bytes], None]) -> None:
        """A datagram; what cannot be sent is lost."""
        now_ns = self.timeline.now_ns
        neighbour = self.neighbours.get(address)
        if neighbour is not None and now_ns - self._heard_ns[address] > UNREACHABLE_NS:
            del self.neighbours[address]
            neighbour = None
        if neighbour is None:
            if now_ns - self._asked_ns.get(address, -ASK_AGAIN_NS) >= ASK_AGAIN_NS:
                self._asked_ns[address] = now_ns
                self.ask_owner(address)
            return
        net, host, mac = self._segment.net, neighbour.host, neighbour.mac

        def answer(reply: bytes, _source: str) -> None:
            net.send(host, OUTSIDE, self._answered, address, reply, answered)

        net.send(OUTSIDE, host, self._segment.deliver, host, mac, port, Request(data, address, answer))

    def _answered(self, address: str, reply: bytes, answered: Callable[[bytes], None]) -> None:
        self._heard_ns[address] = self.timeline.now_ns
        answered(reply)


class SimProbe:
    """One request each `rate_ns`, and at the end every acknowledged update read back."""

    def __init__(
        self,
        client: Client,
        address: str,
        port: int,
        rate_ns: int,
        requests_max: int,
        prefix: str,
        kind: Literal["registry", "dns", "http"] = "registry",
        quiet_ns: int = 0,
    ) -> None:
        """
        Args:
            client: the machine that it is on.
            address: of the service, with its port.
            port: of the service.
            rate_ns: from one request to the next.
            requests_max: more are not sent.
            prefix: begin of the keys that it writes.
            kind: what it speaks; only a registry is written to.
            quiet_ns: instead of `rate_ns` while nothing happens: all requests are answered, and nobody has said
                otherwise (`look_closely`) for a while.
        """
        self._client = client
        self._address = address
        self._port = port
        self._rate_ns = rate_ns
        self._quiet_ns = quiet_ns or rate_ns
        self._close_until_ns = 0
        self._pass = 0
        self._timeline = client.timeline
        self.recorder = Recorder(requests_max)
        self.updates = Updates(prefix)
        self._kind = kind
        self.run = ProbeRun(kind, address, port, rate_ns / NS)
        self.run.realtime = True
        self.run.began_at = self._now_s()
        self._is_stopped = False
        self.status: list[str] = []
        self._slot(0)

    def _now_s(self) -> float:
        return self._timeline.now_ns / NS

    def look_closely(self) -> None:
        """Something happens: every `rate_ns` for a while, and as long as requests are left without an answer."""
        was_close = self._timeline.now_ns < self._close_until_ns
        self._close_until_ns = self._timeline.now_ns + CLOSE_NS
        if not was_close and self._quiet_ns > self._rate_ns:
            self._pass += 1
            self._slot(self._pass)

    def _slot(self, number: int) -> None:
        if self._is_stopped or self.recorder.is_full or number != self._pass:
            return
        self._send_one()
        self._note_change()
        now_ns = self._timeline.now_ns
        if now_ns - self.recorder.last_answer_at * NS > self._quiet_ns + self._rate_ns:
            self._close_until_ns = now_ns + CLOSE_NS
        self._timeline.after(self._rate_ns if now_ns < self._close_until_ns else self._quiet_ns, self._slot, number)

    def _send_one(self) -> None:
        n, updates = self.recorder.sent, self.updates
        if self._kind != "registry":
            self.recorder.note_sent(self._now_s(), NEITHER)
            payload = dns_query(n) if self._kind == "dns" else http_request(self._address, "/")
            parse = self._dns if self._kind == "dns" else partial(http_answer, n)
            self._client.send(self._address, self._port, payload, lambda data: self._heard(parse(data)))
            return
        kind = updates.kind(n)
        if kind == PUT:
            payload = registry_put(n, updates.key(n), str(n))
        else:
            read = updates.choose_read(n)
            payload = registry_get(n, updates.key(read) if read is not None else "nothing-yet")
        self.recorder.note_sent(self._now_s(), kind)
        self._client.send(self._address, self._port, payload, self._answered)

    def _dns(self, data: bytes) -> Heard | None:
        return dns_answer(data, self.recorder.sent - 1)

    def _heard(self, heard: Heard | None) -> None:
        if heard is not None and self.recorder.note_answer(heard, self._now_s()):
            self._note_change()

    def _answered(self, data: bytes) -> None:
        heard = registry_answer(data)
        if heard is not None and self.recorder.note_answer(heard, self._now_s()):
            self.updates.note_answer(heard, self.recorder.kinds[heard.n])
            self._note_change()

    def _note_change(self) -> None:
        line = self.recorder.change(self._now_s())
        if line is not None:
            self.status.append(line)

    def stop(self) -> None:
        self._is_stopped = True
        self.run.stopped_at = self._now_s()

    def read_back(self, limit_ns: int) -> None:
        """Read every acknowledged update; to be called when all late answers are there."""
        if self._kind != "registry":
            return
        todo = list(reversed(self.updates.acknowledged))
        under_way: dict[int, int] = {}
        n = self.recorder.sent

        def answered(data: bytes) -> None:
            heard: Heard | None = registry_answer(data)
            if heard is not None and heard.good and heard.n in under_way:
                update = under_way.pop(heard.n)
                if heard.value != str(update):
                    self.updates.missing.add(update)

        until_ns = self._timeline.now_ns + limit_ns
        while (todo or under_way) and self._timeline.now_ns < until_ns:
            todo.extend(under_way.values())
            under_way.clear()
            for _ in range(min(len(todo), 256)):
                update = todo.pop()
                under_way[n] = update
                self._client.send(self._address, self._port, registry_get(n, self.updates.key(update)), answered)
                n += 1
            self._timeline.run(self._timeline.now_ns + READ_BACK_WAIT_NS, lambda: not under_way)
        self.run.verified = not todo and not under_way
        self.run.lost_updates = sorted(self.updates.missing)

    def result(self) -> ProbeRun:
        return self.recorder.result(self.run)


class SimWatcher:
    """Asks again and again who has the address, as `lab/owners.py` does."""

    def __init__(self, client: Client, address: str, every_ns: int = OWNERS_EVERY_NS) -> None:
        self._client = client
        self._address = address
        self._every_ns = every_ns
        self._is_stopped = False
        self.run = OwnersRun(address, every_ns / NS, client.timeline.now_ns / NS, 0.0, [], [])
        client.told.append(self._told)
        self._ask()

    def _ask(self) -> None:
        if self._is_stopped:
            return
        self.run.asked_at.append(self._client.timeline.now_ns / NS)
        self._client.ask_owner(self._address)
        self._client.timeline.after(self._every_ns, self._ask)

    def _told(self, address: str, found: Neighbour, is_announcement: bool) -> None:
        if address == self._address:
            kind = "announcement" if is_announcement else "answer"
            self.run.answers.append(OwnerAnswer(self._client.timeline.now_ns / NS, found.mac, kind))  # type: ignore[arg-type]

    def stop(self) -> None:
        self._is_stopped = True
        self.run.stopped_at = self._client.timeline.now_ns / NS
