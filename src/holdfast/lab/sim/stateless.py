"""Functions of the lab without a state, as simulated programs: what dnsmasq and nginx do with the files of our layouts.

In:   a configuration as an agent has written it; requests at their VM, checks of their agent.
Out:  answers that name owner and epoch, as live.
Always: a request of HTTP is one datagram each way here: connections of clients are not simulated, those of checks are.
"""

import asyncio
import re
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.drivers import ocf
from holdfast.lab.sim.client import Request
from holdfast.lab.sim.programs import Program, Running, ocf_agent
from holdfast.lab.sim.streams import Exchange, SimStreams
from holdfast.runtime.sockets import Endpoint

NGINX_AGENT = str(ocf.ROOT / "resource.d" / "heartbeat" / "nginx")
DNSMASQ = "dnsmasq"
BOOT_NS = (2_000_000, 8_000_000)
"""From the start of the program until it answers."""
MISUSED = 1
_HEADER_BYTES = 12
_TXT, _IN = 16, 1
_TO_ITS_NAME = b"\xc0\x0c"
"""Points to the name of the question, which follows the header."""

Answer = Callable[[bytes], bytes]


class Serving:
    """A program that answers each request by itself, at one port; keeps the contract of `Callbacks`."""

    def __init__(self, running: Running, exchange: Exchange, port: int, answer: Answer) -> None:
        self._process = running.process
        self._answer = answer
        self._turns: deque[Callable[[], object]] = deque()
        self._process.run = self._run
        running.open_door(port, self._asked)
        streams = SimStreams(exchange, running.process, self, running.host.name)
        for address in filter(exchange.is_fixed, running.addresses):
            streams.listen_now(Endpoint(address, port), lambda: Said(answer))

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> None:
        self._turns.append(lambda: callback(*args))
        self._process.wake()

    def _asked(self, request: Request) -> None:
        self.call_soon(lambda: request.answer(self._answer(request.data), request.asked_at))

    def _run(self) -> None:
        for _ in range(len(self._turns)):
            self._turns.popleft()()


class Said(asyncio.Protocol):
    """A connection: one question, one answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(self._answer(data))
            self._transport.close()


def dnsmasq_program(exchange: Exchange) -> Program:
    """`dnsmasq --conf-file=FILE`, of which it knows `txt-record`."""

    def begin(running: Running) -> None:
        files = [word.partition("=")[2] for word in running.argv if word.startswith("--conf-file=")]
        record = _found(running, files, r'^txt-record=[^,]+,"(.*)"$')
        if record is not None:
            words = record[0]
            running.after(_boots(running), lambda: _serve(running, exchange, 53, lambda asked: _txt(asked, words)))

    return begin


def nginx_program(exchange: Exchange) -> Program:
    """Its OCF agent, and nginx as the daemon: of `configfile` it knows the two headers."""

    def daemon(running: Running) -> None:
        file = running.env.get("OCF_RESKEY_configfile", "")
        headers = _found(running, [file], r"add_header (X-Holdfast-Owner \S+);[^}]*add_header (X-Holdfast-Epoch \S+);")
        if headers is not None:
            lines = "".join(f"{name}: {value}\r\n" for name, value in (header.split() for header in headers))
            page = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 5\r\n\r\nwell\n".encode()
            running.after(_boots(running), lambda: _serve(running, exchange, 80, lambda _: page))

    return ocf_agent(daemon)


def _serve(running: Running, exchange: Exchange, port: int, answer: Answer) -> None:
    Serving(running, exchange, port, answer)


def _boots(running: Running) -> int:
    return running.process.timeline.chance.randint(*BOOT_NS)


def _found(running: Running, files: list[str], pattern: str) -> tuple[str, ...] | None:
    """What the pattern finds in the file; None when the program has said what is wrong, and ended."""
    try:
        text = Path(files[0]).read_text() if files else ""
    except OSError as error:
        text = ""
        running.say(str(error))
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        running.say("bad configuration")
        running.exit(MISUSED)
        return None
    return match.groups()


def _txt(question: bytes, text: str) -> bytes:
    """The answer of RFC 1035, 3.3.14, to a question for one name; a question that is none is answered as refused."""
    if len(question) <= _HEADER_BYTES:
        return question[:2].ljust(2, b"\0") + struct.pack("!HHHHH", 0x8005, 0, 0, 0, 0)
    data = bytes([len(text)]) + text.encode()
    record = _TO_ITS_NAME + struct.pack("!HHIH", _TXT, _IN, 0, len(data)) + data
    return question[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + question[_HEADER_BYTES:] + record
