"""What is still open at the end: reports, incidents and alarms.

In: facts in order of time. Out: what was opened and not closed, each with the fact that opened it. Always: what a
leader began and lost together with its leadership (the store never had it) counts as over when its successor says what
it carries on, and that is not among it; nobody else can take anything back that way.
"""

from collections.abc import Sequence

from holdfast.lab.judges.facts import Fact
from holdfast.model.records import CARRIES, carried_in

Key = tuple[str, str]
"""Kind (report, incident, alarm) and name."""


def still_open(all_facts: Sequence[Fact]) -> dict[Key, Fact]:
    open_: dict[Key, Fact] = {}
    for fact in all_facts:
        fields = fact.fields
        match fact.verb, fact.kind:
            case "sent", "ErrorReport" | "ErrorOnVm":
                open_["report", fields["incident"]] = fact
            case "sent", "ErrorCleared":
                open_.pop(("report", fields["incident"]), None)
            case "decided", "OpenIncident":
                open_["incident", fields["incident"]] = fact
            case "decided", "CloseIncident":
                open_.pop(("incident", fields["incident"]), None)
            case "decided", "RaiseAlarm":
                open_["alarm", fields["alarm"]] = fact
            case "decided", "ClearAlarm":
                open_.pop(("alarm", fields["alarm"]), None)
            case "marked", mark if mark == CARRIES:
                _drop(open_, fact)
    return open_


def _drop(open_: dict[Key, Fact], carries: Fact) -> None:
    carried = carried_in(carries.fields["detail"])
    for (kind, name), fact in tuple(open_.items()):
        keeper = fact.fields["to"] if kind == "report" else fact.by
        if keeper == carries.by and f"{kind}:{name}" not in carried:
            del open_[kind, name]
