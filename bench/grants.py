"""What grants cost an agent: one heartbeat round among several hosts, with few and with many services.

`.venv/bin/python bench/grants.py [peers] [rounds]`. Nothing is sent: the agent measured is given what its peers would
say. A round is: ask every voter, hear their answers, arm (the kernel itself is not in it), hear each peer's asking
and answer it. Prints microseconds a round, and what that is of one core with the profiles `default` and `fast`.
"""

import gc
import os
import sys
import time
from collections.abc import Callable

from holdfast.core.grants import Grantor
from holdfast.model.granting import (
    DEFAULT,
    FAST,
    MS,
    Ack,
    Arm,
    Ask,
    Change,
    Close,
    CloseAll,
    Heard,
    SendTo,
    Step,
    voter_set,
)
from holdfast.model.names import HostName, ServiceName
from holdfast.wire.datagrams import Datagrams
from holdfast.wire.peer import packed, unpacked

ME = HostName("h0")
LIFE = 7
WARM_UP = 200


class Bench:
    """One agent, and peers that answer as they should."""

    def __init__(self, peers: int, own: int, waiting: int, theirs: int) -> None:
        self.hosts = [HostName(f"h{n}") for n in range(1, peers + 1)]
        self.now = 10**12
        voters = voter_set((ME, *self.hosts), FAST)
        self.grantor = Grantor(ME, LIFE, FAST, voters, self.now)
        self.grantor.voter.quarantine_end_ns = 0
        self.grantor.set_floors({}, self.now)
        self.numbers = dict.fromkeys(self.hosts, 0)
        self.seq = 0
        self.theirs = theirs
        self._carry_out(0)
        for n in range(own):
            self.grantor.claim(ServiceName(f"function-{n}.component"), 1, "take", self.now)
        for n in range(waiting):
            self.grantor.claim(ServiceName(f"other-{n}.component"), 2, "wait", self.now)
        self.now += MS
        self._others_ask(first=True)
        for _ in range(WARM_UP):
            self.round()

    def round(self) -> None:
        self.now += FAST.heartbeat_ns
        self.grantor.tick(self.now)
        self._carry_out(300_000)
        self._others_ask()

    def _carry_out(self, later: int) -> None:
        """What an agent does with the outputs; the voters answer at once."""
        grantor = self.grantor
        asked: list[tuple[HostName, Ask]] = []
        while outputs := grantor.take():
            for output in outputs:
                if isinstance(output, SendTo):
                    if isinstance(output.message, Ask):
                        asked.append((output.host, output.message))
                elif isinstance(output, Arm):
                    grantor.armed(output.until_ns, self.now)
                elif isinstance(output, CloseAll):
                    grantor.all_closed(self.now)
                elif isinstance(output, Close):
                    grantor.closed(output.service, self.now)
        self.now += later
        for host, ask in asked:
            grantor.receive(Heard(host, 1, LIFE, 1, self.now, Ack(ask.seq, ask.upto, ask.upto)), self.now)
        while outputs := grantor.take():
            for output in outputs:
                if isinstance(output, Arm):
                    grantor.armed(output.until_ns, self.now)

    def _others_ask(self, first: bool = False) -> None:
        """Each peer asks this host's voter; the first one holds what is waited for here."""
        self.seq += 1
        for host in self.hosts:
            changes: tuple[Change, ...] = ()
            base = self.numbers[host]
            if first:
                held: Step = "take"
                prefix = "other" if host == self.hosts[0] else host
                changes = tuple(
                    Change(n + 1, ServiceName(f"{prefix}-{n}.component"), 1, held) for n in range(self.theirs)
                )
                base, self.numbers[host] = 0, len(changes)
            ask = Ask(self.seq, base, self.numbers[host], changes)
            self.grantor.receive(Heard(host, 1, 0, 1, self.now, ask), self.now)
        self.grantor.take()


def microseconds(act: Callable[[], object], times: int) -> float:
    gc.collect()
    gc.freeze()
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(times // 5):
            act()
        best = min(best, (time.perf_counter() - begun) / (times // 5))
    gc.unfreeze()
    return best * 1e6


def of_a_core(us: float, heartbeat_ns: int) -> str:
    return f"{us * 1000 / heartbeat_ns * 100:.2f} %"


def wire_us(peers: int, rounds: int) -> float:
    """Packing, sealing, opening and reading what one round sends and receives."""
    names = [HostName("a"), HostName("b")]
    one, other = (Datagrams("bench", me, names, (b"k" * 32,), n + 1, os.urandom) for n, me in enumerate(names))
    one.tick(0)
    for _ in range(3):
        for sender, receiver in ((one, other), (other, one)):
            for greeting in sender.take():
                receiver.open(greeting.datagram, 0)
    ask = SendTo(names[1], Ask(123456, 200, 200), 3, 10**15, 0)

    def one_way() -> None:
        datagram = one.seal(names[1], packed((ask,)))
        assert datagram is not None
        opened = other.open(datagram, 0)
        assert opened is not None
        assert unpacked(opened.peer, opened.incarnation, opened.body)

    return microseconds(one_way, rounds) * 2 * peers


def measure(peers: int, rounds: int) -> None:
    cases = [
        ("holds 1", (1, 0, 1)),
        ("holds 200", (200, 0, 200)),
        ("waits for 200", (0, 200, 200)),
        ("holds 200, waits for 200", (200, 200, 200)),
    ]
    print(f"{peers} peers")
    print("| the agent | us a round | of a core, default | of a core, fast | blocks kept, 1000 rounds |")
    print("|---|---|---|---|---|")
    for name, numbers in cases:
        bench = Bench(peers, *numbers)
        us = microseconds(bench.round, rounds)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(1000):
            bench.round()
        kept = sys.getallocatedblocks() - before
        default, fast = of_a_core(us, DEFAULT.heartbeat_ns), of_a_core(us, FAST.heartbeat_ns)
        print(f"| {name} | {us:.0f} | {default} | {fast} | {kept} |")
    us = wire_us(peers, rounds)
    default, fast = of_a_core(us, DEFAULT.heartbeat_ns), of_a_core(us, FAST.heartbeat_ns)
    print(f"| datagrams of a round, both ways | {us:.0f} | {default} | {fast} | |")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 7, int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
