"""Everything that comes from outside as bytes, each as a function of bytes that must end well.

A target raises nothing, whatever it is given: what may be refused is refused inside it. What it returns says how
far the bytes have come, for tests of the targets themselves. `SEEDS` are inputs that come far.
"""

import atexit
import copy
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from holdfast.descriptor import check_text
from holdfast.detect.checks import trouble_with
from holdfast.drivers.files import last_line
from holdfast.errors import PeerError, UserError, WorldError
from holdfast.model.granting import (
    FAST,
    MS,
    Ack,
    Ask,
    AskEpochs,
    Change,
    EpochsAre,
    Fenced,
    Nak,
    Refusal,
    Release,
    SendTo,
    VoterSet,
    VoterSetIs,
)
from holdfast.model.limits import COMPONENT_LINE_BYTES_MAX, STRANGERS_FRAME_BYTES_MAX
from holdfast.model.names import HA, HostName, ServiceName, agent_party
from holdfast.model.reading import UNREADABLE
from holdfast.model.records import Marked, Opened
from holdfast.runtime import hot_beat, hot_grant_words, hot_words, voter_file
from holdfast.runtime.agent_terms import Terms
from holdfast.runtime.hot_grants import GrantRider
from holdfast.runtime.manager_process import core_of
from holdfast.runtime.seat import Seat
from holdfast.runtime.view import View
from holdfast.state.frames import UPDATE_BYTES_MAX, Frames, Greeting, greeting
from holdfast.store import etcd_words
from holdfast.store.journal import Journal, read
from holdfast.store.port import Saved
from holdfast.wire import component, link_messages, peer
from holdfast.wire.datagrams import Datagrams
from holdfast.wire.frames import FrameReader, FrameWriter
from holdfast.wire.handshake import PROTOCOL, Calling, Hello, Listening
from tests.contract.test_hot_window import ADDRESSES, FakeClocks
from tests.contract.window_fakes import FakeWindow
from tests.fuzz.descriptors import sources
from tests.scripts.layouts import LAYOUTS

A, B = HostName("a"), HostName("b")
KEY = b"k" * 32
NONCE = b"n" * 16
FOLDER = Path(tempfile.mkdtemp(prefix="holdfast-fuzz-"))
"""Of this process: several may run beside each other."""
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def in_pieces(data: bytes) -> list[bytes]:
    """Cut as a stream may deliver it; the first byte says how."""
    if not data:
        return []
    size = data[0] % 7 * 37 or len(data)
    return [data[at : at + size] for at in range(0, len(data), size)]


# Links between agents, managers and the command line.


def stranger(data: bytes) -> str:
    """Somebody calls who may know no key."""
    reader, listening = FrameReader(), Listening(KEY, HA, NONCE)
    try:
        for piece in in_pieces(data):
            reader.feed(piece)
            while (payload := reader.next()) is not None:
                listening.answer(payload)
            assert len(reader._buffer) <= STRANGERS_FRAME_BYTES_MAX + 4
    except PeerError:
        return "refused"
    assert not listening.is_done, "somebody without the key was let in"
    return "waited for"


def called(data: bytes) -> str:
    """Somebody answers who may know no key."""
    reader, calling = FrameReader(), Calling(KEY, HA, agent_party(A), NONCE)
    try:
        reader.feed(data)
        while (payload := reader.next()) is not None:
            calling.answer(payload)
    except PeerError:
        return "refused"
    assert not calling.is_done, "somebody without the key was believed"
    return "waited for"


def tampered(data: bytes) -> str:
    """On the way between two that know each other, bytes are changed, doubled, left out, put in."""
    writer, reader = FrameWriter(), FrameReader()
    writer.seal(KEY)
    reader.seal(KEY)
    sent = [b"one", b"", b"three" * 20]
    stream = bytearray(b"".join(writer.frame(payload) for payload in sent))
    for at in range(0, len(data) - 2, 3):
        where = data[at] % (len(stream) + 1)
        match data[at + 1] % 3:
            case 0:
                stream[where : where + 1] = bytes([data[at + 2]])
            case 1:
                del stream[where : where + data[at + 2]]
            case _:
                stream[where:where] = stream[: data[at + 2]]
    heard: list[bytes] = []
    try:
        reader.feed(bytes(stream))
        while (payload := reader.next()) is not None:
            heard.append(payload)
    except PeerError:
        assert heard == sent[: len(heard)], "something was let through that was not sent"
        return "refused"
    assert heard == sent[: len(heard)], "something was let through that was not sent"
    return "let through"


def link(data: bytes) -> str:
    """What a peer that knows the key says."""
    try:
        message = link_messages.decoded(data)
    except PeerError:
        return "refused"
    assert link_messages.decoded(link_messages.encoded(message)) == message
    return type(message).__name__


# Components.


def from_component(data: bytes) -> str:
    return _lines(component.from_component(), data)


def from_agent(data: bytes) -> str:
    return _lines(component.from_agent(), data)


def _lines(
    decoder: "component.Decoder[component.FromAgent] | component.Decoder[component.FromComponent]", data: bytes
) -> str:
    said = "waited for"
    try:
        for piece in in_pieces(data):
            for message in decoder.feed(piece):
                said = type(message).__name__
            assert len(decoder._rest) < COMPONENT_LINE_BYTES_MAX
    except PeerError:
        return "refused"
    return said


def replication(data: bytes) -> str:
    """What active and standby say to each other."""
    frames, found = Frames(), 0
    try:
        for piece in in_pieces(data):
            for frame in frames.feed(piece):
                found += 1
                greeting(frame.payload)
            assert len(frames._rest) <= UPDATE_BYTES_MAX + 64
    except PeerError:
        return "refused"
    return "heard" if found else "waited for"


def http_answer(data: bytes) -> str:
    return trouble_with(data, 200) or "well"


def log(data: bytes) -> str:
    """What a component, or an OCF agent, has written to its output."""
    path = FOLDER / "log"
    path.write_bytes(data)
    said = last_line(path)
    assert len(said) <= 2000
    return "said" if said else "nothing"


# Hosts among themselves.


def datagram(data: bytes) -> str:
    """What anybody may send to the port of the heartbeats."""
    me = Datagrams("lab", A, (B,), (KEY,), 11, lambda size: b"r" * size)
    assert me.open(data, 0) is None
    assert not me.take()
    return next(reason for reason, count in me.refused.items() if count)


def heartbeat(data: bytes) -> str:
    beat = hot_beat.decode(data)
    return "none" if beat is None else "heard"


@cache
def _rider() -> GrantRider:
    clocks = FakeClocks()
    voters = FOLDER / "voters-of-rider"
    settings = hot_grant_words.GrantSettings(
        A, FAST, (A, B), (), ADDRESSES, "holdfast", str(voters), learns_epochs=False
    )
    return GrantRider(settings, 1, FakeWindow(ADDRESSES.values(), FAST.length_ns, clocks.raw_ns), clocks.now, clocks)


def grants(data: bytes) -> str:
    """What another agent of the deployment says about grants: it knows the key, and may be of another version."""
    rider = copy.copy(_rider())
    rider._unread = set()
    rider.grantor = copy.deepcopy(rider.grantor)
    rider.received(B, 22, data, FakeClocks().now + MS)
    list(rider.take())
    list(rider.news())
    return "refused" if rider._unread else "heard"


def hot_command(data: bytes) -> str:
    """What an agent says to the hot process, and to the grants in it."""
    try:
        command = hot_words.command(data)
    except UNREADABLE:
        return "refused"
    if isinstance(command, hot_words.ToRider):
        try:
            hot_grant_words.command_in(command.body)
        except PeerError:
            return "refused by the grants"
    return type(command).__name__


def hot_news(data: bytes) -> str:
    try:
        heard = hot_words.event(data)
        if isinstance(heard, hot_words.FromRider):
            hot_grant_words.news_in(heard.body)
    except (*UNREADABLE, PeerError):
        return "refused"
    return type(heard).__name__


# What is stored.


class OneSaved:
    """A store that holds what it is given."""

    pieces = 16

    def __init__(self, parts: dict[str, bytes]) -> None:
        self._parts = parts

    def load(self, party: object) -> Saved:
        return Saved(1, self._parts)


@cache
def _core() -> "tuple[object, tuple[str, ...]]":
    core = core_of(LAYOUTS["registry"](), HA)
    fields = [f"state.{name}" for name in core.initial().__struct_fields__]
    views = [f"view.{name}" for name in View.__struct_fields__]
    pieces = [f"{name}/3" for name in (*fields, *views)]
    return core, (*fields, *views, *pieces, "state.ledger.taken", "state.ledger.pending/3", "heard", "n", "clock")


def saved(data: bytes) -> str:
    """One part of the state of a manager, as its store gives it back."""
    core, names = _core()
    parts = {names[data[0] % len(names)]: data[1:]} if data else {}
    journal = Journal(FOLDER / "journal-of-seat", HA)
    try:
        Seat(HA, core, OneSaved(parts), journal, lambda: 0.0)  # type: ignore[arg-type]
    except WorldError as error:
        return "refused" if error.hint else ""
    finally:
        journal.close()
    return "taken"


def journal(data: bytes) -> str:
    path = FOLDER / "journal"
    path.write_bytes(data)
    opened = Journal(path, HA)
    opened.close()
    try:
        return f"{len(list(read(path)))} records"
    except WorldError as error:
        return "refused" if str(path) in error.message else ""


def voters(data: bytes) -> str:
    path = FOLDER / "voters"
    path.write_bytes(data)
    try:
        voter_file.read(path)
    except UserError:
        return "refused"
    return "taken"


def terms(data: bytes) -> str:
    path = FOLDER / "terms"
    path.write_bytes(data)
    troubles: list[str] = []
    Terms(path, troubles.append)
    return "refused" if troubles else "taken"


_ETCD = (etcd_words.Found, etcd_words.TxnDone, etcd_words.WatchLine, etcd_words.Status, etcd_words.Failed)


def etcd(data: bytes) -> str:
    """What a member of etcd answers."""
    try:
        etcd_words.decode(data[1:], _ETCD[data[0] % len(_ETCD)] if data else _ETCD[0])
    except UNREADABLE:
        return "refused"
    return "taken"


def descriptor(data: bytes) -> str:
    mistakes, _, layout = check_text(data)
    assert (layout is None) == bool(mistakes)
    return "refused" if mistakes else "taken"


def _framed(*payloads: bytes) -> bytes:
    return b"".join(FrameWriter().frame(payload) for payload in payloads)


S = ServiceName("s")
_HELLO = msgspec.msgpack.encode(Hello(PROTOCOL, HA, NONCE))
_GRANTS = (
    Ask(1, 0, 1, (Change(1, S, 3, "take"),)),
    Ack(1, 1, 1, (Refusal(1, "busy", 5),), (1,), (1,)),
    Nak(1, "quarantine", 7),
    Release(((S, 3),)),
    Fenced(B, 22, "x"),
    VoterSetIs(VoterSet(2, (A, B), FAST.length_ns, FAST.length_ns)),
    AskEpochs(S),
    EpochsAre(S, ((S, 4),), "whole"),
)
_MARK = Marked(1.0, HA, 2, "told", "registry", "x")
_JOURNAL = b"".join(msgspec.json.encode(one) + b"\n" for one in (Opened(1.0, HA, 1, 2.0, 3), _MARK, _MARK))

TARGETS: dict[str, Callable[[bytes], str]] = {
    one.__name__: one
    for one in (
        *(stranger, called, tampered, link, from_component, from_agent, replication, http_answer, log, datagram),
        *(heartbeat, grants, hot_command, hot_news, saved, journal, voters, terms, etcd, descriptor),
    )
}
SEEDS: dict[str, list[bytes]] = {
    "stranger": [_framed(_HELLO), _framed(_HELLO, _HELLO), b"\xff\xff\xff\xff"],
    "called": [_framed(_HELLO)],
    "tampered": [b"\0\0\0", b"\x05\1\x03", b"\x20\2\x10"],
    "link": [link_messages.encoded(one) for one in (link_messages.Leads(3), link_messages.Refused({"links:key": 1}))],
    "from_component": [
        b"hello version=1 name=registry-1 position=7:1234 role=active service=registry epoch=7\n",
        b"@1 ok position=1:2\n@2 failed reason=a%20b\nunwell reason=x\n",
        b"lost standby=b epoch=1\nsynced standby=b epoch=2\n",
    ],
    "from_agent": [
        b"welcome version=1\n@1 active service=s epoch=3 in-sync=a,b address=10.0.0.1/24 claim=yes\n@2 stop\n"
    ],
    "replication": [Greeting("s", "n", component.Position(1, 2)).encode(), b"\0\0\0\0\1" + b"\0" * 16],
    "http_answer": [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 503 no\r\n\r\n"],
    "log": [b"one\ntwo\n"],
    "datagram": [b"\1\0" + b"x" * 80],
    "heartbeat": [b"\1\1\0\0\0\0\0\0", b"\1\1\1\0\0\0\0\0" + b"\0" * 24],
    "grants": [peer.packed([SendTo(A, one, 1, 5, 1)]) for one in _GRANTS],
    "hot_command": [
        hot_words.packed(hot_words.ToRider(hot_grant_words.packed(hot_grant_words.Claim(S, 3)))),
        hot_words.packed(hot_words.AskStanding()),
    ],
    "hot_news": [hot_words.packed(hot_words.FromRider(hot_grant_words.packed(hot_grant_words.HeldNow(S, 3))))],
    "saved": [bytes([number, 0x80]) for number in range(60)],
    "journal": [_JOURNAL],
    "voters": [msgspec.json.encode(VoterSet(2, (A, B), FAST.length_ns, FAST.length_ns))],
    "terms": [b'{"ha":{"term":3,"leader":"x"},"vim":2}'],
    "etcd": [b'\0{"header":{"revision":"5"},"kvs":[{"key":"YQ==","value":"Yg=="}]}', b'\1{"succeeded":true}'],
    "descriptor": [one.encode() for one in sources()[:12]],
}
