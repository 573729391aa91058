"""What is said on a link once both ends are known: agent and managers, managers, command line.

Encoded with msgpack, one a frame. `at` is the machine's monotonic clock where the news arose.
"""

import zlib

import msgspec
from msgspec import Struct

from holdfast.errors import PeerError
from holdfast.model.actions import AgentAction
from holdfast.model.events import Event, HostFailed
from holdfast.model.messages import Message
from holdfast.model.names import ActionId, HostName, Party, ServiceName, VnfcName, VnfName
from holdfast.model.reading import UNREADABLE

DEFLATED_FROM_BYTES = 1 << 17


class Leads(Struct, frozen=True, tag=True):
    """Manager -> agent, first on each link: I lead under this term; 0 where managers share no store."""

    term: int
    leader: str = ""
    """Which candidature: a store that was restored may make two leaders of one term."""
    layout: str = ""
    """Fingerprint of the layout that its host was prepared with; empty where that is not said."""


class OtherLayout(Struct, frozen=True, tag=True):
    """Agent -> manager, before it closes: my host was prepared with a layout of this fingerprint."""

    layout: str


class NewestTerm(Struct, frozen=True, tag=True):
    """Agent -> manager, before it closes: I follow this term, which is newer than yours, or has another leader."""

    term: int


class Do(Struct, frozen=True, tag=True):
    """Manager -> agent: carry this out and tell me how it went."""

    action: AgentAction


class Tell(Struct, frozen=True, tag=True):
    """Agent -> manager: this has happened."""

    event: Event
    at: float
    number: int = 0
    """Not 0: the agent keeps the news, and tells it again, until the manager has answered Took."""
    is_now: bool = False
    """It was so when the manager began to be followed, or when it had asked: no news that waited on the way."""


class Refused(Struct, frozen=True, tag=True):
    """Agent -> manager: how much it has refused to hear since it began, by door and kind (docs/bad-input.md)."""

    counts: dict[str, int]


class Pace(Struct, frozen=True):
    """How late a loop woke, within the last minute."""

    median_ms: float
    worst_ms: float


class Late(Struct, frozen=True, tag=True):
    """Agent -> manager, every few seconds: how late it was itself."""

    agent: Pace
    hot: Pace | None = None
    """Of its hot process; None where there is none, or it has not said so yet."""
    lapses: int = 0
    """Grants that ran out unrenewed within the last minute."""
    lacks: tuple[str, ...] = ()
    """Rights that the machine has not given the hot process: locked memory, its priority."""


class StillSilent(Struct, frozen=True, tag=True):
    """Manager -> agent: you told that this host has failed; is that so now? Answered by `Tell`, or by nothing."""

    event: HostFailed


class Took(Struct, frozen=True, tag=True):
    """Manager -> agent: what you told under these numbers is recorded."""

    numbers: tuple[int, ...]


class Pass(Struct, frozen=True, tag=True):
    """Manager -> manager: a message; the same id on every repetition."""

    id: ActionId
    sender: Party
    message: Message
    at: float


class Taken(Struct, frozen=True, tag=True):
    """Manager -> manager: the message is recorded, and need not be repeated."""

    id: ActionId


class EndAll(Struct, frozen=True, tag=True):
    """Operator -> agent: end everything you started."""


class AllEnded(Struct, frozen=True, tag=True):
    """Agent -> operator: nothing is left, or this is what would not go."""

    left: tuple[str, ...] = ()


class AskStatus(Struct, frozen=True, tag=True):
    """What do you know and what are you doing?"""


class AskSwitchover(Struct, frozen=True, tag=True):
    vnf: VnfName
    service: ServiceName | None = None
    to: VnfcName | None = None


class AskAcceptLoss(Struct, frozen=True, tag=True):
    vnf: VnfName


class AskLock(Struct, frozen=True, tag=True):
    """To the VIM: the host is off, says a person."""

    host: HostName


class AskUnlock(Struct, frozen=True, tag=True):
    host: HostName


Question = AskStatus | AskSwitchover | AskAcceptLoss | AskLock | AskUnlock


class Ask(Struct, frozen=True, tag=True):
    """Operator -> manager."""

    number: int
    question: Question


class Answer(Struct, frozen=True, tag=True):
    """Manager -> operator: `content` is JSON, `refused` says in words why it is not done."""

    number: int
    body: bytes = b"{}"
    refused: str = ""
    is_deflated: bool = False
    """A long body is: the status of thousands of VNFs would not fit into a frame."""

    @property
    def content(self) -> bytes:
        return zlib.decompress(self.body) if self.is_deflated else self.body


def answer_with(number: int, content: bytes) -> Answer:
    if len(content) <= DEFLATED_FROM_BYTES:
        return Answer(number, content)
    return Answer(number, zlib.compress(content, 1), is_deflated=True)


LinkMessage = (
    Leads
    | OtherLayout
    | NewestTerm
    | Do
    | Tell
    | Refused
    | Late
    | StillSilent
    | Took
    | Pass
    | Taken
    | EndAll
    | AllEnded
    | Ask
    | Answer
)

_ENCODE = msgspec.msgpack.Encoder()
_DECODE: msgspec.msgpack.Decoder[LinkMessage] = msgspec.msgpack.Decoder(LinkMessage)


def encoded(message: LinkMessage) -> bytes:
    """The message as the payload of a frame."""
    return _ENCODE.encode(message)


def decoded(payload: bytes) -> LinkMessage:
    """The message in a frame's payload; raises PeerError if it is none."""
    try:
        return _DECODE.decode(payload)
    except UNREADABLE as error:
        raise PeerError(f"the peer sent what is no message of this protocol: {error}") from error
