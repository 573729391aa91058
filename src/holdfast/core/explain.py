"""What happened and why, in plain sentences, from nothing but the journals' records.

In: records of any parties, in any order. Out: incidents (those of several parties that belong to one fault are told as
one), and sentences about each. Times in sentences count from the incident's first observation. What a client noticed is
not in the journals, so a service's interruption is always told as the manager's own view.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from holdfast.core.explain_words import CAUSES, because, did, happened, heard_of, ordered, party, plain, said
from holdfast.model.actions import (
    Action,
    Activate,
    ClearAlarm,
    CloseIncident,
    NoteService,
    OpenIncident,
    RaiseAlarm,
    Refuse,
    Send,
    StartVnfc,
)
from holdfast.model.events import ActionFailed, DeadlinePassed, Received, VmDied, VnfcFailed
from holdfast.model.layout import Layout
from holdfast.model.messages import ErrorReport
from holdfast.model.names import IncidentId, VnfName
from holdfast.model.reasons import sentence
from holdfast.model.records import Decided, Ended, Record, Seen


class Incident(Struct, frozen=True):
    """One fault, as all managers concerned saw it."""

    ids: tuple[IncidentId, ...]
    """The first one opened comes first: it names the whole."""
    about: tuple[str, ...]
    services: tuple[str, ...]
    cause: str
    parties: tuple[str, ...]
    opened_at: float
    closed_at: float | None
    """None while any part of it is open."""
    outcome: str
    """`repaired`, `not-repaired`, or empty while it is open."""

    @property
    def id(self) -> IncidentId:
        return self.ids[0]


def by_time(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.at, record.by, record.n))


def incidents(records: Iterable[Record], layout: Layout | None = None) -> list[Incident]:
    """All incidents, oldest first.

    Two belong together if a message about the one led to the opening of the other, or if they are about the same
    entity (or a VM and what runs in it) and were open at the same time.
    """
    ordered_records = by_time(records)
    opened = _opened(ordered_records)
    closed = _closed(ordered_records)
    group: dict[IncidentId, IncidentId] = {incident: incident for incident in opened}

    def root(incident: IncidentId) -> IncidentId:
        while group[incident] != incident:
            incident = group[incident]
        return incident

    for a, b in (*_linked_by_messages(ordered_records, opened), *_linked_by_entity(ordered_records, opened, layout)):
        first, second = sorted((root(a), root(b)), key=lambda one: (opened[one].at, one))
        group[second] = first
    together: dict[IncidentId, list[IncidentId]] = {}
    for incident in opened:
        together.setdefault(root(incident), []).append(incident)
    found = [_incident([opened[one] for one in ids], closed) for ids in together.values()]
    return sorted(found, key=lambda incident: incident.opened_at)


class _Opening(Struct, frozen=True):
    at: float
    by: str
    action: OpenIncident
    on: int


def _opened(records: Sequence[Record]) -> dict[IncidentId, _Opening]:
    found: dict[IncidentId, _Opening] = {}
    for record in records:
        if isinstance(record, Decided) and isinstance(record.action, OpenIncident):
            found.setdefault(record.action.incident, _Opening(record.at, record.by, record.action, record.on))
    return found


def _closed(records: Sequence[Record]) -> dict[IncidentId, tuple[float, str]]:
    return {
        record.action.incident: (record.at, record.action.outcome)
        for record in records
        if isinstance(record, Decided) and isinstance(record.action, CloseIncident)
    }


def _linked_by_messages(
    records: Sequence[Record], opened: dict[IncidentId, _Opening]
) -> list[tuple[IncidentId, IncidentId]]:
    led_to = {(opening.by, opening.on): incident for incident, opening in opened.items()}
    links: list[tuple[IncidentId, IncidentId]] = []
    for record in records:
        if not isinstance(record, Seen) or not isinstance(record.event, Received):
            continue
        of = record.event.message.incident
        own = led_to.get((record.by, record.n))
        if own is not None and of in opened and opened[own].at >= record.at:
            links.append((own, of))
    return links


def _linked_by_entity(
    records: Sequence[Record], opened: dict[IncidentId, _Opening], layout: Layout | None
) -> list[tuple[IncidentId, IncidentId]]:
    closed = _closed(records)
    place = _places(records, layout)
    links: list[tuple[IncidentId, IncidentId]] = []
    every = list(opened.items())
    for i, (a, one) in enumerate(every):
        end = closed[a][0] if a in closed else float("inf")
        for b, other in every[i + 1 :]:
            names = {one.action.about, other.action.about}
            same = (
                len(names) == 1
                or names & place.get(one.action.about, set())
                or names & place.get(other.action.about, set())
            )
            if same and other.at <= end:
                links.append((a, b))
        if one.action.cause == "vm-gone":
            links += _its_vm(a, one, every, place)
    return links


def _its_vm(
    incident: IncidentId,
    opening: "_Opening",
    every: Sequence[tuple[IncidentId, "_Opening"]],
    place: dict[str, set[str]],
) -> list[tuple[IncidentId, IncidentId]]:
    """The failure of the VM that took this VNFC along: told apart, where the VNF level heard of it late."""
    before = [
        (other.at, name)
        for name, other in every
        if other.action.about in place.get(opening.action.about, set()) and other.at <= opening.at
    ]
    return [(incident, max(before)[1])] if before else []


def _places(records: Sequence[Record], layout: Layout | None) -> dict[str, set[str]]:
    """The VM (and host) that each VNFC or VM is in, from the layout, or else from what reports say."""
    found: dict[str, set[str]] = {}
    if layout is not None:
        for vnfc in layout.vnfcs.values():
            found[vnfc.name] = {str(vnfc.host), *((str(vnfc.vm),) if vnfc.vm else ())}
        for vm in layout.vms.values():
            found[vm.name] = {str(vm.host)}
    for record in records:
        if isinstance(record, Decided) and isinstance(record.action, Send):
            message = record.action.message
            if isinstance(message, ErrorReport) and message.vm is not None:
                found.setdefault(message.vnfc, set()).add(message.vm)
    return found


def _incident(openings: list[_Opening], closed: dict[IncidentId, tuple[float, str]]) -> Incident:
    openings.sort(key=lambda opening: opening.at)
    ids = tuple(opening.action.incident for opening in openings)
    ends = [closed[incident] for incident in ids if incident in closed]
    is_over = len(ends) == len(ids)
    outcomes = {outcome for _, outcome in ends}
    return Incident(
        ids=ids,
        about=tuple(dict.fromkeys(opening.action.about for opening in openings)),
        services=tuple(dict.fromkeys(str(o.action.service) for o in openings if o.action.service)),
        cause=openings[0].action.cause,
        parties=tuple(dict.fromkeys(opening.by for opening in openings)),
        opened_at=openings[0].at,
        closed_at=max(at for at, _ in ends) if is_over else None,
        outcome=("not-repaired" if "not-repaired" in outcomes else "repaired") if is_over else "",
    )


def tell(incident: Incident, records: Iterable[Record], layout: Layout | None = None) -> list[str]:
    """The incident in sentences: what was seen, concluded, done, and not done; and how it stands."""
    ordered_records = by_time(records)
    decided = [record for record in ordered_records if isinstance(record, Decided)]
    mine = [record for record in decided if _belongs(record, incident)]
    own = _of_agents(decided, mine)
    mine = sorted((*mine, *own), key=lambda record: (record.at, record.by, record.n))
    seen = _seen_for(mine, ordered_records)
    begin = min((_begin(incident, mine, seen), *(record.at for record in own)))
    lines = [_headline(incident, begin, _failures(mine, seen, _places(ordered_records, layout), layout))]
    numbers = {record.action.id for record in mine if hasattr(record.action, "id")}
    told: list[tuple[float, int, str]] = [
        (record.at, 0, f"{party(record.by)} saw: {plain(happened(record.event))}")
        for record in seen
        if record.at >= begin and _is_news(record)
    ]
    told += _decisions(mine)
    for record in ordered_records:
        if isinstance(record, Ended) and record.action in numbers:
            told.append((record.at, 1, did(record)))
        elif isinstance(record, Seen) and isinstance(record.event, Received) and record.event.id in numbers:
            told.append((record.at, 1, heard_of(record.by, record.event)))
    told.sort(key=lambda item: item[:2])
    lines += [f"{1000 * (at - begin):+9.1f} ms  {text}{'' if text.endswith('?') else '.'}" for at, _, text in told]
    lines += _interruptions(mine, incident)
    lines += _counters(mine)
    lines += _open_ends(mine, ordered_records, incident)
    return list(dict.fromkeys(lines))


def _begin(incident: Incident, decisions: Sequence[Decided], seen: Sequence[Seen]) -> float:
    """When the fault was first observed. What was known before it (a successor ready for hours) is no part of it."""
    answered = {(d.by, d.on) for d in decisions if isinstance(d.action, OpenIncident)}
    return min((one.at for one in seen if (one.by, one.n) in answered), default=incident.opened_at)


def _of_agents(decided: Sequence[Decided], mine: Sequence[Decided]) -> list[Decided]:
    """Take-overs that an agent decided by itself, perhaps before any manager knew of the incident."""
    told = {
        (record.action.service, record.action.epoch)
        for record in mine
        if isinstance(record.action, NoteService) and record.action.state == "provided"
    }
    return [
        record
        for record in decided
        if record.by.startswith("agent:")
        and isinstance(record.action, Activate)
        and (record.action.service, record.action.epoch) in told
    ]


def _belongs(record: Decided, incident: Incident) -> bool:
    action = record.action
    if record.by.startswith("agent:"):
        return False  # It knows of no incidents; see _of_agents.
    if record.incident is not None:
        return record.incident in incident.ids
    if isinstance(action, Send):
        return action.message.incident in incident.ids
    if isinstance(action, OpenIncident | CloseIncident):
        return action.incident in incident.ids
    end = incident.closed_at if incident.closed_at is not None else float("inf")
    names = {getattr(action, "vnfc", None), getattr(action, "vm", None), getattr(action, "about", None)}
    if isinstance(action, RaiseAlarm | ClearAlarm):
        names.add(action.alarm.partition(":")[2])
    concerned = bool(names & set(incident.about)) or getattr(action, "service", None) in incident.services
    return concerned and incident.opened_at <= record.at <= end


def _seen_for(decisions: Sequence[Decided], records: Sequence[Record]) -> list[Seen]:
    """The observations that the decisions answer or name as reasons."""
    wanted = {(d.by, d.on) for d in decisions}
    wanted |= {(d.by, n) for d in decisions for reason in d.reasons for n in reason.seen}
    last = max((d.at for d in decisions), default=0.0)
    found: dict[tuple[str, int], Seen] = {}
    for record in records:
        # A journal's numbers may begin anew; the last one before the decisions is meant.
        if isinstance(record, Seen) and (record.by, record.n) in wanted and record.at <= last:
            found[record.by, record.n] = record
    return sorted(found.values(), key=lambda record: record.at)


def _is_news(record: Seen) -> bool:
    """Messages and outcomes of our own actions are told where they are sent and done."""
    return not isinstance(record.event, Received | DeadlinePassed) and not (
        type(record.event).__name__ == "ActionDone" or isinstance(record.event, ActionFailed)
    )


def _failures(
    decisions: Sequence[Decided], seen: Sequence[Seen], places: dict[str, set[str]], layout: Layout | None
) -> str:
    """What failed: `VM vm1 died (…), and registry-1 with it`; else each in the order in which it was seen."""
    seen_by = {(one.by, one.n): one.event for one in seen}
    text: dict[str, str] = {}
    died: set[str] = set()
    kinds = {name: "VM" for around in places.values() for name in around}
    kinds |= dict.fromkeys(layout.hosts if layout is not None else (), "host")
    for record in decisions:
        if isinstance(record.action, OpenIncident) and record.action.about not in text:
            about, event = record.action.about, seen_by.get((record.by, record.on))
            text[about] = _failure(about, record.action.cause, event, kinds.get(about, ""))
            if isinstance(event, VmDied):
                died.add(about)
    taken_along = [name for name in text if places.get(name, set()) & died]
    roots = [words for name, words in text.items() if name not in taken_along] or list(text.values())
    return " and ".join(roots) + (f", and {' and '.join(taken_along)} with it" if taken_along else "")


def _failure(about: str, cause: str, event: object, kind: str) -> str:
    match event:
        case VnfcFailed(vnfc, _, _, detail) if vnfc == about and detail:
            return f"{about} failed ({detail})"
        case VmDied(vm, _, why) if vm == about and why:
            return f"VM {about} died ({why})"
        case _:
            return f"{kind} {about} {'was in error' if kind else 'failed'} ({CAUSES.get(cause, cause)})".strip()


def _headline(incident: Incident, begin: float, failures: str) -> str:
    others = f" (with {', '.join(incident.ids[1:])})" if len(incident.ids) > 1 else ""
    services = ""
    if incident.services:
        several = len(incident.services) > 1
        words = " and ".join(incident.services)
        services = f"; {'services' if several else 'service'} {words} {'were' if several else 'was'} interrupted"
    if incident.closed_at is None:
        end = "it is not over yet"
    else:
        took = 1000 * (incident.closed_at - begin)
        state = "repaired" if incident.outcome == "repaired" else "given up without repair"
        end = f"over after {took:.0f} ms, {state}"
    return f"Incident {incident.id}{others}: {plain(failures)}{services}; {end}."


def _decisions(decisions: Sequence[Decided]) -> list[tuple[float, int, str]]:
    """Each decision with its reasons; what was decided together for the same reasons does not repeat them."""
    told: list[tuple[float, int, str]] = []
    before: tuple[str, int, str] | None = None
    for record in decisions:
        if isinstance(record.action, NoteService):
            continue
        why, text = because(record.reasons), f"{party(record.by)} {ordered(record.action)}"
        if before == (record.by, record.on, why):
            text += ", for the same reason"
        elif not _says_why_itself(record.action, why):
            text += f", because {why}"
            before = (record.by, record.on, why)
        told.append((record.at, 2, text))
    return told


def _says_why_itself(action: Action, why: str) -> bool:
    """A message that passes on what its sender has just learned needs no reason beside it."""
    return isinstance(action, Send) and why.startswith(said(action.message).partition(" (")[0])


def _interruptions(decisions: Sequence[Decided], incident: Incident) -> list[str]:
    since: dict[str, Decided] = {}
    lines: list[str] = []
    for record in decisions:
        action = record.action
        if not isinstance(action, NoteService) or action.service not in incident.services:
            continue
        if action.state != "provided":
            since.setdefault(action.service, record)
        elif (begin := since.pop(action.service, None)) is not None and begin.on == record.on:
            lines.append(
                f"When the {party(record.by)} heard of it, service {action.service} was provided again, by "
                f"{action.vnfc} (epoch {action.epoch}); what a client noticed is not in the journal."
            )
        elif begin is not None:
            took = 1000 * (record.at - begin.at)
            lines.append(
                f"By the {party(record.by)}'s own view service {action.service} was interrupted for {took:.1f} ms and "
                f"then provided by {action.vnfc} (epoch {action.epoch}); what a client noticed is not in the journal."
            )
    lines += [
        f"By the {party(begin.by)}'s own view service {service} is still interrupted."
        for service, begin in since.items()
    ]
    return lines


def _counters(decisions: Sequence[Decided]) -> list[str]:
    counted = [
        reason
        for record in decisions
        for reason in record.reasons
        if reason.code in ("too-many-failures", "below-maximum", "several-vms-of-host")
    ]
    return list(dict.fromkeys(f"Counted: {plain(sentence(reason))}." for reason in counted))


def _open_ends(decisions: Sequence[Decided], records: Sequence[Record], incident: Incident) -> list[str]:
    if incident.closed_at is not None:
        return []
    ended = {record.action for record in records if isinstance(record, Ended)}
    waiting = [
        record
        for record in decisions
        if (number := getattr(record.action, "id", None))
        and number not in ended
        and not isinstance(record.action, Send)
    ]
    lines = [f"Still under way: {party(record.by)} {ordered(record.action)}." for record in waiting]
    refused = [record for record in decisions if isinstance(record.action, Refuse)]
    if not waiting and refused:
        lines.append(f"It waits: {because(refused[-1].reasons)}.")
    return lines or ["Nothing of it is under way at this moment."]


def why_runs_where(vnf: VnfName | str, records: Iterable[Record]) -> list[str]:
    """For each service of the VNF: who provides it, and why this one."""
    ordered_records = [record for record in by_time(records) if isinstance(record, Decided)]
    notes: dict[str, NoteService] = {}
    for record in ordered_records:
        if isinstance(record.action, NoteService) and _is_of(record.action.service, vnf):
            notes[record.action.service] = record.action
    lines: list[str] = []
    for service, note in notes.items():
        if note.state != "provided":
            lines.append(f"Service {service} is {note.state}: nobody provides it now.")
            continue
        lines.append(f"Service {service} is provided by {note.vnfc} (epoch {note.epoch}).")
        chosen = [
            record
            for record in ordered_records
            if isinstance(record.action, Activate | StartVnfc)
            and record.action.vnfc == note.vnfc
            and record.action.service in (service, None)
        ]
        if chosen:
            last = chosen[-1]
            lines.append(f"  {party(last.by)} {ordered(last.action)}, because {because(last.reasons)}.")
    return lines or [f"No service of {vnf} is in the journal."]


def _is_of(service: str, vnf: str) -> bool:
    return service == vnf or service.startswith((f"{vnf}.", f"{vnf}#"))
