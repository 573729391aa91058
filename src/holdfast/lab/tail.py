"""The journals of a running deployment, read as they grow: what the lab's steps wait for.

In: the journal folder. Out: everything known so far about services, incidents, standbys and single records. The lab
learns from the journals only, like every other reader; it never asks a manager what it thinks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from holdfast.model.actions import Activate, CloseIncident, NoteService, NoteVoters, OpenIncident, Send
from holdfast.model.events import Received, StandbySynced
from holdfast.model.layout import Layout
from holdfast.model.names import HostName, IncidentId, Party, ServiceName, VnfcName
from holdfast.model.records import CARRIES, LEADERSHIP, Decided, Marked, Record, Seen, carried_in, provided_in, term_in


@dataclass
class JournalTail:
    folder: Path
    layout: Layout
    records: list[Record] = field(default_factory=list)
    providers: dict[ServiceName, VnfcName | None] = field(default_factory=dict)
    """Who provides each service, by the last word of the manager in charge."""
    noted_by: dict[ServiceName, Party] = field(default_factory=dict)
    opened: dict[IncidentId, float] = field(default_factory=dict)
    by: dict[IncidentId, Party] = field(default_factory=dict)
    """Who opened it."""
    closed: set[IncidentId] = field(default_factory=set)
    synced: dict[VnfcName, set[VnfcName]] = field(default_factory=dict)
    """Standbys that the (present) active has reported as up to date, by active."""
    voters: tuple[HostName, ...] = ()
    """Members of the last voter set that was sealed."""
    leads: dict[Party, tuple[int, bool]] = field(default_factory=dict)
    """The newest term of each party's manager, and whether it leads on under it; of managers on several hosts."""
    unreadable: int = 0
    """Lines whose writer was killed in the middle of them."""
    _offsets: dict[Path, int] = field(default_factory=dict)
    _decoder: "msgspec.json.Decoder[Record]" = field(default_factory=lambda: msgspec.json.Decoder(Record))

    def read(self) -> list[Record]:
        """Take in what is new; returns the new records in the order of their time."""
        fresh: list[Record] = []
        for path in sorted(self.folder.glob("*.jsonl")):
            fresh += self._read(path)
        fresh.sort(key=lambda record: record.at)
        for record in fresh:
            self._take(record)
        self.records += fresh
        return fresh

    def _read(self, path: Path) -> list[Record]:
        offset = self._offsets.get(path, 0)
        with path.open("rb") as file:
            file.seek(offset)
            text = file.read()
        whole, newline, _ = text.rpartition(b"\n")
        self._offsets[path] = offset + len(whole) + len(newline)
        return [record for line in whole.splitlines() if line.strip() and (record := self._record(line)) is not None]

    def _record(self, line: bytes) -> Record | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unreadable += 1
            return None

    def _take(self, record: Record) -> None:
        match record:
            case Seen(event=StandbySynced(vnfc=active, standby=standby)):
                self.synced.setdefault(active, set()).add(standby)
            case Decided(action=NoteService(service=service, state=state, vnfc=vnfc)):
                self.providers[service] = vnfc if state == "provided" else None
                self.noted_by[service] = record.by
            case Decided(action=OpenIncident(incident=incident)):
                self.opened[incident] = record.at
                self.by[incident] = record.by
            case Decided(action=CloseIncident(incident=incident)):
                self.closed.add(incident)
            case Marked(name=name, by=by, detail=detail) if name == CARRIES:
                # What an earlier leader opened and the store never had is nobody's any more.
                carried = carried_in(detail)
                self.closed |= {one for one in self.opened if f"incident:{one}" not in carried and self.by[one] == by}
                self._carries_on(by, provided_in(detail))
            case Marked(name=name, by=by, detail=detail) if name in LEADERSHIP:
                # A leader that was stopped may say only after its follower's first word that it leads no more.
                if (term := term_in(detail)) >= self.leads.get(by, (0, False))[0]:
                    self.leads[by] = term, LEADERSHIP[name]
            case Decided(action=NoteVoters(voters=voters, state="sealed")):
                self.voters = voters.members
            case Decided(action=Activate(vnfc=vnfc)):
                self.synced[vnfc] = set()
            case _:
                return

    def _carries_on(self, by: Party, provided: Mapping[str, str]) -> None:
        """What an earlier leader has noted of services, and the store never had, is no more."""
        for service in [service for service, noted_by in self.noted_by.items() if noted_by == by]:
            vnfc = provided.get(service)
            self.providers[service] = VnfcName(vnfc) if vnfc else None

    def forget(self) -> None:
        """Records that have been read, and incidents that are over: a run of many hours has no use for them."""
        self.records.clear()
        for incident in self.closed:
            self.opened.pop(incident, None)
            self.by.pop(incident, None)
        self.closed.clear()

    # --- questions ----------------------------------------------------------------------------------------------

    def provided(self) -> bool:
        """Whether every service of the layout is provided."""
        return all(self.providers.get(service) for service in self.layout.services)

    def in_sync(self) -> bool:
        """Whether every active with internal state has all its standbys up to date."""
        for group in self.layout.groups.values():
            if group.reserve != "standby":
                continue
            for service in group.services:
                active = self.providers.get(service)
                if active is None or not set(group.vnfcs) - {active} <= self.synced.get(active, set()):
                    return False
        return True

    def leaderless(self) -> list[Party]:
        """Parties whose manager leads no more: what it has noted last may be out of date."""
        return [party for party, (_, leads) in self.leads.items() if not leads]

    def repaired(self, since: float) -> bool:
        """Whether something was opened since then and everything opened is closed."""
        return any(at >= since for at in self.opened.values()) and set(self.opened) <= self.closed

    def find(self, party: str, kind: str, what: str, detail: str, since: float) -> Record | None:
        """The first record of that party since then: record type, action, event or message type, detail within it."""
        for record in self.records:
            if record.at < since or not record.by.startswith(party) or type(record).__name__ != kind:
                continue
            if what in _names(record) and detail in str(record):
                return record
        return None


def _names(record: Record) -> set[str]:
    """The names a record goes by: of its action or event, and of the message in it."""
    inner: object = getattr(record, "action", None) or getattr(record, "event", None)
    names = {type(inner).__name__, getattr(record, "what", ""), getattr(record, "name", "")}
    if isinstance(inner, Send | Received):
        names.add(type(inner.message).__name__)
    return names
