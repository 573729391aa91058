"""The outside client: one request each millisecond in open loop, in a process of its own inside the client's network.

In: address, port and kind of the service (arguments). Out: a file (`judges/probed.py` reads it), `ready` on standard
output after the first good answer, and `up <time>` / `down <time>` lines on `--status-fd`. Requests go out on an
absolute schedule and never wait for answers; the probe's own lateness is recorded as its noise floor. SIGTERM (or
SIGINT) ends the load; the probe then waits for late answers, reads every acknowledged update back, writes the file
and exits with 0. So the service must still be there when it is told to stop.
"""

import argparse
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from holdfast.lab.judges.probed import NEITHER, PUT, ProbeRun, save_probe
from holdfast.lab.probe_clients import Client, HttpClient, UdpClient
from holdfast.lab.probe_record import REQUESTS_MAX, Recorder, Updates
from holdfast.lab.probe_words import dns_answer, dns_query, registry_answer, registry_get, registry_put

BURST_MAX = 32
"""Overdue requests sent in one go; then the socket is read before the rest."""
PAUSE_WORTH_NOTING_S = 0.002
LATE_ANSWERS_S = 0.3
READ_BACK_WINDOW = 64
READ_BACK_RETRY_S = 0.02
READ_BACK_LIMIT_S = 10.0
REALTIME_PRIORITY = 20


@dataclass
class Load:
    """One run of the probe: the loop and what it works on."""

    client: Client
    recorder: Recorder
    rate_s: float
    updates: Updates | None = None
    request: Callable[[int], bytes] = field(default=lambda n: b"")
    on_ready: Callable[[], None] = lambda: None
    on_status: Callable[[str], None] = lambda line: None
    stopping: bool = False
    was_ready: bool = False

    def stop(self) -> None:
        self.stopping = True

    def run(self) -> float:
        """Send on the schedule until `stop`; returns the time of the last slot."""
        begin = time.monotonic()
        slot = 0
        now = begin
        while not self.stopping and not self.recorder.is_full:
            now = time.monotonic()
            late_s = now - (begin + slot * self.rate_s)
            if late_s >= PAUSE_WORTH_NOTING_S:
                self.recorder.note_pause(now, late_s)
            for _ in range(BURST_MAX):
                if begin + slot * self.rate_s > now or self.recorder.is_full:
                    break
                self._send_one()
                slot += 1
            self._take_answers()
            self.client.wait(max(0.0, begin + slot * self.rate_s - time.monotonic()))
            self._take_answers()
        return now

    def wait_for_late_answers(self, limit_s: float = LATE_ANSWERS_S) -> None:
        until = time.monotonic() + limit_s
        while (left := until - time.monotonic()) > 0:
            self.client.wait(left)
            self._take_answers()

    def _send_one(self) -> None:
        n, updates = self.recorder.sent, self.updates
        if updates is None:
            payload, kind = self.request(n), NEITHER
        else:
            read = None if (kind := updates.kind(n)) == PUT else updates.choose_read(n)
            if kind == PUT:
                payload = registry_put(n, updates.key(n), updates.value(n))
            else:
                payload = registry_get(n, updates.key(read) if read is not None else "nothing-yet")
        # Noted before it is sent: an answer can be there before send() returns.
        self.recorder.note_sent(time.monotonic(), kind)
        self.client.send(n, payload)

    def _take_answers(self) -> None:
        recorder = self.recorder
        for heard, at in self.client.receive():
            if recorder.note_answer(heard, at) and self.updates is not None:
                self.updates.note_answer(heard, recorder.kinds[heard.n])
        line = recorder.change(time.monotonic())
        if line is not None:
            self.on_status(line)
        if not self.was_ready and recorder.last_answer_at >= 0:
            self.was_ready = True
            self.on_ready()


def read_back(client: Client, updates: Updates, first_n: int, limit_s: float = READ_BACK_LIMIT_S) -> bool:
    """Read every acknowledged update; those not found go to `updates.missing`. False if not all were answered."""
    todo = list(reversed(updates.acknowledged))
    under_way: dict[int, tuple[int, float]] = {}
    n = first_n
    until = time.monotonic() + limit_s
    while (todo or under_way) and (now := time.monotonic()) < until:
        overdue = [number for number, (_, sent_at) in under_way.items() if now - sent_at > READ_BACK_RETRY_S]
        todo.extend(under_way.pop(number)[0] for number in overdue)
        while todo and len(under_way) < READ_BACK_WINDOW:
            update = todo.pop()
            under_way[n] = (update, now)
            client.send(n, registry_get(n, updates.key(update)))
            n += 1
        client.wait(READ_BACK_RETRY_S)
        for heard, _ in client.receive():
            if heard.good and heard.n in under_way:
                update, _ = under_way.pop(heard.n)
                if heard.value != updates.value(update):
                    updates.missing.add(update)
    return not todo and not under_way


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    recorder = Recorder(options.requests_max)
    run = ProbeRun(options.kind, options.address, options.port, options.rate_ms / 1000)
    updates = Updates(f"{options.prefix}-", options.label) if options.kind == "registry" else None
    client = _client(options, recorder)
    load = Load(
        client,
        recorder,
        run.rate_s,
        updates,
        request=dns_query if options.kind == "dns" else lambda n: b"",
        on_ready=_say_ready,
        on_status=partial(_write_line, options.status_fd) if options.status_fd >= 0 else lambda line: None,
    )
    if options.status_fd >= 0:
        os.set_blocking(options.status_fd, False)
    signal.signal(signal.SIGTERM, lambda number, frame: load.stop())
    signal.signal(signal.SIGINT, lambda number, frame: load.stop())
    run.realtime = _ask_for_realtime()
    gc.collect()
    gc.freeze()
    gc.disable()
    run.began_at = time.monotonic()
    run.stopped_at = load.run()
    load.wait_for_late_answers()
    sent = recorder.sent
    if updates is not None:
        run.verified = read_back(client, updates, sent)
        run.lost_updates = sorted(updates.missing)
    client.close()
    save_probe(recorder.result(run), Path(options.out))
    return 0


def _client(options: argparse.Namespace, recorder: Recorder) -> Client:
    if options.kind == "http":
        return HttpClient(options.address, options.port, options.path, options.interface)
    if options.kind == "dns":
        return UdpClient(
            options.address, options.port, lambda data: dns_answer(data, recorder.sent - 1), options.interface
        )
    return UdpClient(options.address, options.port, registry_answer, options.interface)


def _ask_for_realtime() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
    except OSError:
        return False
    return True


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _write_line(handle: int, line: str) -> None:
    # Nobody reading any more is no reason to stop measuring.
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(handle, line.encode() + b"\n")


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m holdfast.lab.probe", description="measure a service from outside")
    parser.add_argument("--kind", choices=("registry", "dns", "http"), required=True)
    parser.add_argument("--address", required=True, help="IPv4 or IPv6, without prefix length")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate-ms", type=float, default=1.0, help="time between two requests")
    parser.add_argument("--out", required=True, help="file to write at the end")
    parser.add_argument("--interface", default="", help="send from this interface only")
    parser.add_argument("--status-fd", type=int, default=-1, help="where `up <time>` and `down <time>` lines go")
    parser.add_argument("--path", default="/", help="path to ask for (http)")
    parser.add_argument("--prefix", default="p", help="begin of the keys written (registry)")
    parser.add_argument("--label", default="", help="begin of the values written (registry)")
    parser.add_argument("--requests-max", type=int, default=REQUESTS_MAX, help="send no more than so many")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
