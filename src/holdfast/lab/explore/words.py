"""A path in words, a line each move, as a golden script: `t=STEP HOST what happens`."""

from collections.abc import Iterable

from holdfast.lab.explore.contest import BEFORE, Contest, Letter, Move, Whole
from holdfast.lab.explore.explorer import Move as AnyMove
from holdfast.model.granting import Ack, Ask, GrantMessage, Nak, Release


def script(contest: Contest, path: Iterable[AnyMove], wrong: str) -> str:
    """The whole path, and what is wrong at its end."""
    lines = [f"# {contest.scope.name}: {contest.scope.says}"]
    state = contest.start()
    for move in path:
        assert isinstance(move, Move)
        lines.append(line(contest, state, move))
        state = next(after for one, after in contest.moves(state) if one == move)
    return "\n".join([*lines, f"JUDGE: {wrong}"]) + "\n"


def line(contest: Contest, state: Whole, move: Move) -> str:
    step = state.step - BEFORE
    if move.what == "time":
        return f"t={step + 1}"
    text = f"t={step} h{move.host + 1} {move.what.rstrip('*')}"
    if move.what.startswith(("receives", "does not get")):
        text += f" {letter(contest.letters[move.detail])}"
    elif move.what.startswith("is told"):
        text += f": {contest.scope.commands[move.host][move.detail]}"
    if move.upto >= 0:
        text += f", and {'is killed' if move.what.endswith('*') else 'stops'} after {move.upto} of what follows from it"
    return text


def letter(post: Letter) -> str:
    return f"from {post.sender}: {message(post.letter.message)}"


def message(sent: GrantMessage) -> str:
    match sent:
        case Ask():
            changes = [f"{change.step} under {change.epoch}" for change in sent.changes]
            return f"ASK {sent.seq}" + (f" ({', '.join(changes)})" if changes else "")
        case Ack():
            refused = [f"{one.reason}" for one in sent.refused]
            notes = [f"refused: {', '.join(refused)}" if refused else "", "granted" if sent.granted else ""]
            notes += ["free" if sent.free else ""]
            return f"ACK {sent.seq}, recorded {sent.number}" + "".join(f", {note}" for note in notes if note)
        case Nak():
            return f"NAK {sent.seq}, {sent.reason}"
        case Release():
            return "RELEASE " + ", ".join(f"under {epoch}" for _, epoch in sent.claims)
    return type(sent).__name__
