"""Who is to vote: which member of the voter set leaves it, and who comes into it. Pure arithmetic, and its reasons.

In: the members, which of them are confirmed off, who is ready to vote. Out: one change at most, and why.
Always holds: nobody leaves but who is confirmed off (or is no host of the deployment any more); a change is one that
the members that are left can bring to its end: those that are off are no majority of the present members; and it
never lowers how many more may be lost.

Why not always: five voters of which one is off bear the loss of one more, and so do the four that are left. There is
nothing to be gained, and who comes back votes at once as long as it is a member, whether there is a manager or not.
Four of which one is off bear no further loss, the three that are left bear one: then it leaves at once. Three of which
one is off bear no further loss, and neither do two. But with two the way stays open: when the next one is confirmed
off too, the last one goes on alone, while two of three that are off can never be left out. So who stays off for long,
or by a person's word, leaves.
"""

from collections.abc import Collection
from typing import Literal

from msgspec import Struct

from holdfast.model.granting import quorum
from holdfast.model.names import HostName

Members = tuple[HostName, ...]


class VoterChange(Struct, frozen=True):
    host: HostName
    kind: Literal["leaves", "comes"]
    why: str
    """What is better with it, as part of a sentence."""

    def applied(self, members: Members) -> Members:
        if self.kind == "comes":
            return (*members, self.host)
        return tuple(member for member in members if member != self.host)


def bears(members: Members, off: Collection[HostName]) -> int:
    """How many more may be lost so that the rest is still a majority; below 0: it is none now."""
    return sum(member not in off for member in members) - quorum(members)


def who_leaves(members: Members, off: Collection[HostName], for_good: Collection[HostName]) -> VoterChange | None:
    """The next one that is to be left out.

    Args:
        members: of the present voter set.
        off: hosts that are confirmed off.
        for_good: those of them that are not expected back soon.
    """
    gone = [member for member in members if member in off]
    rest = tuple(member for member in members if member not in off)
    if not gone or not rest or len(gone) >= quorum(members):
        return None
    lasting = [member for member in gone if member in for_good]
    # After the last of those that are off has left; leaving out the first of them may gain nothing yet.
    if bears(rest, ()) <= bears(members, off) and not lasting:
        return None
    return VoterChange((lasting or gone)[0], "leaves", f"without it {_says(rest, ())}; with it {_says(members, gone)}")


def who_comes(members: Members, off: Collection[HostName], ready: Collection[HostName]) -> VoterChange | None:
    """The next host that may vote and does not."""
    host = next((one for one in ready if one not in members), None)
    if host is None:
        return None
    return VoterChange(host, "comes", f"with it {_says((*members, host), off)}; without it {_says(members, off)}")


def _says(members: Members, off: Collection[HostName]) -> str:
    count, gone, losses = len(members), sum(member in off for member in members), bears(members, off)
    voters = f"{count} voter{'' if count == 1 else 's'}"
    if gone:
        voters += f" of which {gone} {'is' if gone == 1 else 'are'} off"
    if losses < 0:
        return f"{voters} {'is' if count == 1 else 'are'} no majority"
    bear = "bears" if count == 1 else "bear"
    return f"{voters} {bear} {'no further loss' if losses == 0 else f'the loss of {losses} more'}"
