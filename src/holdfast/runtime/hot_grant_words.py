"""What an agent and the grants in its hot process tell each other; each message is the body of ToRider or FromRider."""

import msgspec
from msgspec import Struct

from holdfast.errors import PeerError
from holdfast.model.granting import (
    Held,
    Lapsed,
    Lost,
    Profile,
    Refused,
    Regained,
    Released,
    Succession,
    Taking,
    VoterSet,
)
from holdfast.model.names import HostName, ServiceName
from holdfast.model.reading import UNREADABLE

AGENT_SILENT_NS = 3_000_000_000
"""An agent that says nothing for so long looks after nothing: what it holds is given up."""
ALIVE_EVERY_S = 0.25
"""A watchdog ends an agent that is stuck, and the next one says this before it is too late (packaging/systemd)."""


class GrantSettings(Struct, frozen=True):
    """Everything that the grants know at the start of the hot process."""

    me: HostName
    profile: Profile
    members: tuple[HostName, ...]
    witnesses: tuple[HostName, ...]
    addresses: dict[ServiceName, str]
    """Service addresses; empty for services that nothing in the kernel keeps."""
    table: str
    """Name of the agent's tables in the kernel: that of its gates."""
    voter_set_file: str
    learns_epochs: bool = True
    """Somebody tells which epochs are over; False where no service can ever go to another host."""
    interface: str = ""
    """Interface of the host that carries addresses of VNFCs without a VM."""
    way: str = "best"


class Claim(Struct, frozen=True, tag=True):
    """Hold the service under this epoch: `Held` when the kernel answers for it here."""

    service: ServiceName
    epoch: int


class GiveUp(Struct, frozen=True, tag=True):
    """Let the service go: the kernel first, then everybody is told."""

    service: ServiceName


class GuardPort(Struct, frozen=True, tag=True):
    """A VM's port is there: what it answers for is kept by the window too."""

    port: str


class Follow(Struct, frozen=True, tag=True):
    """A standing order. Successors on other hosts need no incarnation. Answered by `Followed`."""

    order: Succession
    told: bytes = b""
    """The order as the agent was given it: kept for the agent that comes after this one."""


class Known(Struct, frozen=True, tag=True):
    """An order that an earlier agent was given and that is followed still; comes before `Ready`."""

    told: bytes


class Followed(Struct, frozen=True, tag=True):
    """This order is followed and no older one; what an older one claimed has been held, or never will be."""

    service: ServiceName
    number: int


class TakeEpochs(Struct, frozen=True, tag=True):
    """These numbers are recorded by a majority: claims under lower ones are over. Answered by `EpochsTaken`."""

    number: int
    epochs: dict[ServiceName, int]


class EpochsTaken(Struct, frozen=True, tag=True):
    """Done; and below which number claims are refused here."""

    number: int
    floors: dict[ServiceName, int]


class VotersWritten(Struct, frozen=True, tag=True):
    """This voter set is on disk; with `use`, it shall be gone by. Answered by `VotersAre`."""

    voters: VoterSet
    use: bool


class WriteVoters(Struct, frozen=True, tag=True):
    """The voter wants to go by this: have it on disk, and say `VotersWritten`."""

    voters: VoterSet


class VotersAre(Struct, frozen=True, tag=True):
    """The voter goes by this, which is on disk."""

    voters: VoterSet


class Alive(Struct, frozen=True, tag=True):
    """The agent is there, and looks after what is held."""


class Greet(Struct, frozen=True, tag=True):
    """First word on each connection; answered by `Ready`."""


class Ready(Struct, frozen=True, tag=True):
    """What the window is like, and what is held."""

    incarnation: int
    gate_is_timed: bool
    held: dict[ServiceName, int]
    claimed: tuple[ServiceName, ...] | None = None
    """What is claimed for this host, be it held at this moment or not; None where that is not said."""
    voters: VoterSet | None = None
    """What its voter goes by; None where that is not said."""


class PortGuarded(Struct, frozen=True, tag=True):
    port: str
    trouble: str = ""


class Said(Struct, frozen=True, tag=True):
    """Something that a person has to know."""

    name: str
    about: str
    detail: str


GrantCommand = Claim | GiveUp | GuardPort | Follow | TakeEpochs | VotersWritten | Alive | Greet


class HeldNow(Struct, frozen=True, tag=True):
    service: ServiceName
    epoch: int
    again: bool = False
    """After a lapse."""


class TakingNow(Struct, frozen=True, tag=True):
    """A standing order is being followed here; `HeldNow` comes if that succeeds."""

    service: ServiceName
    epoch: int
    why: str


class NotHeld(Struct, frozen=True, tag=True):
    """lapsed: it is asked for again; lost: somebody else's; released: given up; refused: never was."""

    service: ServiceName
    epoch: int
    how: str
    why: str = ""


GrantNews = (
    Ready
    | Known
    | PortGuarded
    | Said
    | HeldNow
    | TakingNow
    | NotHeld
    | Followed
    | EpochsTaken
    | WriteVoters
    | VotersAre
)

_ENCODE = msgspec.msgpack.Encoder()
_COMMANDS: msgspec.msgpack.Decoder[GrantCommand] = msgspec.msgpack.Decoder(GrantCommand)
_NEWS: msgspec.msgpack.Decoder[GrantNews] = msgspec.msgpack.Decoder(GrantNews)


def packed(message: GrantCommand | GrantNews) -> bytes:
    return _ENCODE.encode(message)


def command_in(body: bytes) -> GrantCommand:
    """Raises PeerError for bytes that are none."""
    try:
        return _COMMANDS.decode(body)
    except UNREADABLE as error:
        raise PeerError(f"what the agent says about grants cannot be read: {error}") from error


def news_in(body: bytes) -> GrantNews:
    """Raises PeerError for bytes that are none."""
    try:
        return _NEWS.decode(body)
    except UNREADABLE as error:
        raise PeerError(f"what the hot process says about grants cannot be read: {error}") from error


def news_of(output: object) -> GrantNews | None:
    """What the agent is told of an output of the grants; None for what is not for it."""
    match output:
        case Held(service=service, epoch=epoch):
            return HeldNow(service, epoch)
        case Regained(service=service, epoch=epoch):
            return HeldNow(service, epoch, again=True)
        case Lapsed(service=service, epoch=epoch, reason=reason):
            return NotHeld(service, epoch, "lapsed", reason)
        case Lost(service=service, epoch=epoch, reason=reason):
            return NotHeld(service, epoch, "lost", reason)
        case Refused(service=service, epoch=epoch, reason=reason):
            return NotHeld(service, epoch, "refused", reason)
        case Released(service=service, epoch=epoch):
            return NotHeld(service, epoch, "released")
        case Taking(service=service, epoch=epoch, reason=reason):
            return TakingNow(service, epoch, reason)
        case _:
            return None
