"""Journal records as facts: one verb, one type, one flat set of fields, whatever kind of record it was.

In: records of all parties. Out: `Fact`s in order of time. What an action was about is taken from the decision that
ordered it, since its later records name only its number. This is where the journal's form ends; the judges behind it
see facts alone.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from holdfast.model.actions import Action, Send
from holdfast.model.events import ActionDone, ActionFailed, AgentJoined, Position, Received, VnfcFact, VnfcReady
from holdfast.model.records import Begun, Decided, Ended, Marked, Opened, Record, Seen

NO_STATE = Position()


class Fact(NamedTuple):
    verb: str
    """seen, heard, done, undone, decided, sent, begun, ended, marked, opened."""
    kind: str
    """Type of the event, action or message; name of the mark."""
    by: str
    at: float
    n: int
    on: int
    """For a decision: the number of the event that it answers; else 0."""
    fields: dict[str, Any]

    def says(self) -> str:
        about = self.fields.get("vnfc") or self.fields.get("vm") or self.fields.get("host") or ""
        return f"{self.by} {self.verb} {self.kind} {about}".rstrip() + f" (record {self.n})"


def facts(records: Iterable[Record]) -> list[Fact]:
    """All facts in order of time; those of the same moment in the order of their writers' numbers."""
    ordered = sorted(records, key=lambda record: (record.at, record.by, record.n))
    actions: dict[str, Action] = {}
    for record in ordered:
        number = getattr(record.action, "id", None) if isinstance(record, Decided) else None
        if isinstance(record, Decided) and number:
            actions[number] = record.action
    return [fact for record in ordered for fact in _facts_of(record, actions)]


def _facts_of(record: Record, actions: dict[str, Action]) -> Iterator[Fact]:
    match record:
        case Seen():
            yield from _seen(record, actions)
        case Decided():
            fields = {"decided_for": record.incident, **_fields(record.action)}
            if isinstance(record.action, Send):
                message = record.action.message
                fields = {**fields, **_fields(message)}
                yield Fact("sent", _kind(message), record.by, record.at, record.n, record.on, fields)
            else:
                yield Fact("decided", _kind(record.action), record.by, record.at, record.n, record.on, fields)
        case Begun():
            fields = _about(record.what, record.about, record.action, actions)
            yield Fact("begun", record.what, record.by, record.at, record.n, 0, fields)
        case Ended():
            fields = _about(record.what, record.about, record.action, actions)
            fields = {**fields, "ok": record.ok, "detail": record.detail}
            yield Fact("ended", record.what, record.by, record.at, record.n, 0, fields)
        case Marked():
            fields = {"about": record.about, "detail": record.detail}
            yield Fact("marked", record.name, record.by, record.at, record.n, 0, fields)
        case Opened():
            yield Fact("opened", "journal", record.by, record.at, record.n, 0, {"pid": record.pid})


def _seen(record: Seen, actions: dict[str, Action]) -> Iterator[Fact]:
    event = record.event
    fields = _fields(event)
    match event:
        case Received(_, sender, message):
            fields = {**fields, **_fields(message), "sender": sender}
            yield Fact("heard", _kind(message), record.by, record.at, record.n, 0, fields)
        case ActionDone(action) | ActionFailed(action):
            ordered = actions.get(action)
            fields = {**(_fields(ordered) if ordered else {}), **fields}
            verb = "done" if isinstance(event, ActionDone) else "undone"
            yield Fact(verb, _kind(ordered) if ordered else "", record.by, record.at, record.n, 0, fields)
        case AgentJoined(host, vnfcs, vms):
            yield Fact("seen", "AgentJoined", record.by, record.at, record.n, 0, {"host": host})
            for part in (*vnfcs, *vms):
                of_part = {**_fields(part), "host": host}
                if isinstance(part, VnfcFact):
                    of_part["has_state"] = _has_state(part.position)
                yield Fact("seen", "AgentJoined", record.by, record.at, record.n, 0, of_part)
        case VnfcReady():
            fields = {**fields, "has_state": _has_state(event.position)}
            yield Fact("seen", "VnfcReady", record.by, record.at, record.n, 0, fields)
        case _:
            yield Fact("seen", _kind(event), record.by, record.at, record.n, 0, fields)


def _about(what: str, about: str, number: str, actions: dict[str, Action]) -> dict[str, Any]:
    ordered = actions.get(number)
    if ordered is not None:
        return {"about": about, **_fields(ordered)}
    key = "host" if what.endswith("Host") else "vm" if what.endswith("Vm") else "vnfc"
    return {"about": about, "id": number, key: about}


def _has_state(position: Position | None) -> bool:
    return position is not None and position > NO_STATE


def _kind(thing: object) -> str:
    return type(thing).__name__


def _fields(thing: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in thing.__struct_fields__}
