"""Decisions and states in words, one line each, as the stories show them."""

from holdfast.core.ha_state import State
from holdfast.model.actions import (
    Action,
    Activate,
    ClearAlarm,
    CloseIncident,
    ConfirmLoss,
    Decision,
    FenceHost,
    IsolateVm,
    IsolateVnfc,
    NoteService,
    NoteVoters,
    OpenIncident,
    Quiesce,
    RaiseAlarm,
    Refuse,
    RememberEpochs,
    Send,
    SetVoters,
    StandBy,
    StandingOrder,
    StartHost,
    StartVm,
    StartVnfc,
    StopVnfc,
)
from holdfast.model.messages import (
    ErrorCleared,
    ErrorOnVm,
    ErrorReport,
    HostIsOff,
    HostsAre,
    Message,
    RepairRequest,
    VmFailed,
    VmUp,
)
from holdfast.model.names import Party
from holdfast.model.reasons import sentence

TEMPLATES: dict[type, str] = {
    StartVnfc: "StartVnfc {0.vnfc} run {0.run} epoch {0.epoch}",
    StopVnfc: "StopVnfc {0.vnfc} run {0.run}",
    IsolateVnfc: "IsolateVnfc {0.vnfc} run {0.run}",
    Activate: "Activate {0.vnfc} for {0.service} epoch {0.epoch}",
    StandBy: "StandBy {0.vnfc} behind {0.active} epoch {0.epoch}",
    Quiesce: "Quiesce {0.vnfc}",
    ConfirmLoss: "ConfirmLoss of {0.standby} to {0.vnfc}",
    StandingOrder: "StandingOrder {0.number} for {0.service} to {0.host}",
    SetVoters: "SetVoters {0.voters.version}",
    IsolateVm: "IsolateVm {0.vm} boot {0.boot}",
    StartVm: "StartVm {0.vm} boot {0.boot} ({0.how})",
    FenceHost: "FenceHost {0.host}",
    StartHost: "StartHost {0.host}",
    OpenIncident: "OpenIncident {0.incident} on {0.about}",
    CloseIncident: "CloseIncident {0.incident} {0.outcome}",
    RaiseAlarm: "RaiseAlarm {0.alarm}",
    ClearAlarm: "ClearAlarm {0.alarm}",
    Refuse: "Refuse {0.what} {0.about}",
    NoteService: "NoteService {0.service} {0.state}",
    NoteVoters: "NoteVoters {0.voters.version} {0.state}:",
}


def told(party: Party, decision: Decision) -> str:
    """`who: what | why; why`."""
    return f"{party}: {deed(decision.action)} | {'; '.join(sentence(reason) for reason in decision.reasons)}"


def deed(action: Action) -> str:
    if isinstance(action, Send):
        return f"Send to {action.to}: {_message(action.message)}"
    if isinstance(action, RememberEpochs):
        known = ", ".join(f"{service} {epoch}" for service, epoch in action.epochs.items())
        return f"RememberEpochs to {action.host}: {known or 'none so far'}"
    text = TEMPLATES[type(action)].format(action)
    if isinstance(action, SetVoters):
        text += f" ({' '.join(action.voters.members)}) {'in use' if action.use else 'on disk'} at {action.host}"
    if isinstance(action, NoteVoters):
        text += f" {' '.join(action.voters.members)}"
    if isinstance(action, StartVnfc) and action.service is not None:
        text += f", serving {action.service}"
    if isinstance(action, Activate) and action.in_sync:
        text += f", in sync {' '.join(action.in_sync)}"
    if isinstance(action, NoteService) and action.vnfc is not None and action.state == "provided":
        text += f" by {action.vnfc}"
    return text


def _message(message: Message) -> str:
    kind = type(message).__name__
    if isinstance(message, ErrorReport):
        wishes = [
            f"on {message.vnfc}",
            f"interrupting {message.service}" if message.service else "",
            "isolate its VM" if message.isolate_vm else "",
            "repair its VM" if message.repair_vm else "",
        ]
        return f"{kind} {message.incident} " + ", ".join(wish for wish in wishes if wish)
    if isinstance(message, ErrorCleared):
        return f"{kind} {message.incident}"
    if isinstance(message, HostsAre):
        return f"{kind}: {' '.join(message.members)} vote, locked {' '.join(message.locked) or 'none'}"
    if isinstance(message, HostIsOff):
        return f"{kind} {message.host}"
    text = f"{kind} {message.vm}"
    if isinstance(message, VmUp):
        text += f" boot {message.boot}"
    if isinstance(message, RepairRequest) and message.isolate_only:
        text += " isolate only"
    if isinstance(message, VmFailed) and message.ack_wanted:
        text += ", ack wanted"
    if isinstance(message, ErrorOnVm):
        text += f", {message.failures} failures"
    return text


def ha_lines(state: State) -> list[str]:
    """What the HA manager believes."""
    lines: list[str] = []
    for group in state.groups.values():
        for name, service in group.services.items():
            holder = f" by {service.holder} epoch {service.epoch}" if service.holder else ""
            in_sync = f", in sync {' '.join(service.in_sync)}" if service.in_sync else ""
            lines.append(f"{name}: {service.state}{holder}{in_sync}")
        for vnfc, now in group.vnfcs.items():
            doing = f", {now.doing.kind} outstanding" if now.doing else ""
            role = "" if now.role == "none" else f" {now.role}"
            lines.append(f"  {vnfc}: {now.phase}{role} run {now.run}{doing}")
        for incident, one in group.incidents.items():
            lines.append(f"  incident {incident} on {one.about}")
        lines += [f"  alarm {alarm}" for alarm in group.alarms]
    return lines
