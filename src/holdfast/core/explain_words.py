"""Events, actions and messages as parts of sentences, for people: in the typed thing, out words without a full stop."""

import re
from collections.abc import Sequence
from typing import assert_never

from holdfast.model.actions import (
    Action,
    Activate,
    ClearAlarm,
    CloseIncident,
    ConfirmLoss,
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
from holdfast.model.events import (
    ActionDone,
    ActionFailed,
    AgentJoined,
    AgentLost,
    DeadlinePassed,
    Event,
    HostFailed,
    HostLocked,
    HostReturned,
    HostUnlocked,
    LossAccepted,
    ManagerStarted,
    NetworkHeard,
    NetworkSilent,
    Received,
    ServiceTaken,
    StandbyLost,
    StandbySynced,
    SwitchoverAsked,
    VmBooted,
    VmDied,
    VnfcFailed,
    VnfcIsolated,
    VnfcReady,
)
from holdfast.model.messages import (
    ErrorCleared,
    ErrorOnVm,
    ErrorReport,
    HostIsOff,
    HostsAre,
    Message,
    RepairAck,
    RepairRequest,
    VmFailed,
    VmIsolated,
    VmNotRepaired,
    VmUp,
)
from holdfast.model.reasons import Reason, sentence
from holdfast.model.records import Ended


def happened(event: Event) -> str:
    match event:
        case ManagerStarted():
            return "the manager started"
        case DeadlinePassed():
            return "a time limit passed"
        case VnfcReady(vnfc, run):
            return f"{vnfc} is running and well (run {run})"
        case VnfcFailed(vnfc, run, cause, detail):
            return f"{vnfc} failed ({detail or cause}; run {run})"
        case VnfcIsolated(vnfc, run, detail):
            return f"nothing of {vnfc} runs any more{' (' + detail + ')' if detail else ''}; run {run}"
        case StandbyLost(vnfc, _, _, standby):
            return f"{vnfc} asks for leave to go on without standby {standby}"
        case StandbySynced(vnfc, _, _, standby):
            return f"{vnfc} has brought standby {standby} up to date"
        case VmBooted(vm, boot):
            return f"VM {vm} is up (boot {boot})"
        case VmDied(vm, boot, cause):
            return f"VM {vm} died ({cause + '; ' if cause else ''}boot {boot})"
        case AgentJoined(host):
            return f"the agent of {host} told how things are there"
        case AgentLost(host):
            return f"the link to the agent of {host} broke"
        case HostFailed(host, by, detail):
            return f"host {host} is not heard any more ({by} says so{': ' + detail if detail else ''})"
        case HostReturned(host, by):
            return f"host {host} is heard again ({by} says so)"
        case NetworkSilent(host, by, network, detail):
            return f"{by} does not hear {host} on the {network} network{' (' + detail + ')' if detail else ''}"
        case NetworkHeard(host, by, network):
            return f"{by} misses {host} on the {network} network no more"
        case ServiceTaken(vnfc, _, service, epoch):
            return f"{vnfc} has taken {service} over by standing order (epoch {epoch})"
        case ActionDone(action, detail):
            return f"{action} was done{' (' + detail + ')' if detail else ''}"
        case ActionFailed(action, why):
            return f"{action} failed ({why})"
        case Received(_, sender, message):
            return f"{party(sender)} said: {said(message)}"
        case SwitchoverAsked(vnf, _, to):
            return f"an operator asked for a switchover of {vnf}{' to ' + to if to else ''}"
        case HostLocked(host):
            return f"a person said that host {host} is off, and locked it"
        case HostUnlocked(host):
            return f"a person unlocked host {host}"
        case LossAccepted(vnf):
            return f"a person accepted the loss of state for {vnf}"
        case _:
            assert_never(event)


def ordered(action: Action) -> str:
    """What a manager did by this decision, after its name: `… orders the cleanup of x`."""
    match action:
        case StartVnfc(_, vnfc, run, epoch):
            return f"starts {vnfc} (run {run}, epoch {epoch})"
        case StopVnfc(_, vnfc):
            return f"stops {vnfc} in good order"
        case IsolateVnfc(_, vnfc):
            return f"isolates {vnfc} (cleans it up)"
        case Activate(_, vnfc, _, service, epoch):
            return f"gives {vnfc} the active role for {service} (epoch {epoch})"
        case StandBy(_, vnfc, _, service, _, active):
            return f"makes {vnfc} a standby of {active} for {service}"
        case Quiesce(_, vnfc, _, service):
            return f"tells {vnfc} to hand {service} over"
        case ConfirmLoss(_, vnfc, _, standby):
            return f"lets {vnfc} go on without standby {standby}"
        case IsolateVm(_, vm):
            return f"isolates VM {vm}"
        case StartVm(_, vm, boot, how):
            return f"starts VM {vm} (boot {boot}, {how})"
        case StandingOrder(_, host, service, _, holder, _, successors):
            order = ", ".join(one.vnfc for one in successors) or "nobody"
            return f"tells {host} who follows {holder} for {service}: {order}"
        case RememberEpochs(_, host):
            return f"tells the voter of {host} which epochs are over"
        case SetVoters(_, host, voters, use):
            return f"has {host} {'go by' if use else 'keep'} voter set {voters.version}"
        case FenceHost(_, host):
            return f"fences host {host}"
        case StartHost(_, host):
            return f"switches host {host} on"
        case Send(_, to, message):
            return f"tells {party(to)}: {said(message)}"
        case OpenIncident(incident, about):
            return f"opens incident {incident} about {about}"
        case CloseIncident(incident, outcome):
            return f"closes incident {incident} ({outcome})"
        case RaiseAlarm(_, text):
            return f"raises an alarm: {text}"
        case ClearAlarm(alarm):
            return f"clears the alarm {alarm}"
        case Refuse(what, about):
            return f"does not {REFUSED.get(what, what + ' of')} {about} now"
        case NoteService(service, state, vnfc):
            return f"notes that {service} is {state}{f' by {vnfc}' if state == 'provided' else ''}"
        case NoteVoters(voters, state):
            return f"notes that voter set {voters.version} ({', '.join(voters.members)}) is {state}"
        case _:
            assert_never(action)


def said(message: Message) -> str:
    match message:
        case ErrorReport():
            asks = " isolate its VM" if message.isolate_vm else " repair its VM" if message.repair_vm else ""
            return f"error on {message.vnfc} ({message.cause}){';' if asks else ''}{asks}"
        case ErrorCleared(incident):
            return f"the error reported as {incident} is over"
        case RepairRequest():
            what = "isolate" if message.isolate_only else "repair"
            return f"{what} VM {message.vm} ({message.why})"
        case RepairAck(_, vm):
            return f"restarting VM {vm} is safe"
        case ErrorOnVm():
            return f"error on VM {message.vm}: {message.failures} failures in it within {message.within_s:g} s"
        case VmFailed():
            return f"VM {message.vm} has failed ({message.cause}){'; is a restart safe?' if message.ack_wanted else ''}"
        case VmIsolated(_, vm):
            return f"VM {vm} is isolated"
        case VmUp(_, vm, boot):
            return f"VM {vm} is up (boot {boot})"
        case HostsAre():
            return f"voters are {', '.join(message.members) or 'none'}, locked {', '.join(message.locked) or 'none'}"
        case HostIsOff():
            return f"host {message.host} is off, confirmed: nothing on it runs any more"
        case VmNotRepaired():
            return f"VM {message.vm} will not be repaired ({message.why})"
        case _:
            assert_never(message)


WORK = {
    "StartVnfc": "start of",
    "StopVnfc": "stop of",
    "IsolateVnfc": "isolation of",
    "Activate": "active role for",
    "StandBy": "standby role for",
    "Quiesce": "handing over by",
    "ConfirmLoss": "leave for",
    "IsolateVm": "isolation of VM",
    "StartVm": "start of VM",
    "FenceHost": "fencing of host",
    "StartHost": "switching on of host",
    "RememberEpochs": "epochs for the voter of",
    "SetVoters": "voter set for",
}


def did(record: Ended) -> str:
    """The outcome of an action as its agent tells it."""
    text = f"{party(record.by)}: {work(record.what)} {record.about}"
    if not record.ok:
        return f"{text} failed{record.detail and ': ' + record.detail}"
    detail = "" if record.detail in ("", "confirmed") else f" ({record.detail})"
    return f"{text} confirmed{detail}"


def work(what: str) -> str:
    """An action's type as work that is done."""
    return WORK.get(what, what)


def outcome(event: ActionDone | ActionFailed, action: Action | None) -> str:
    """How an action came out, as whoever decided it hears of it."""
    match action:
        case Send(_, to, message) if isinstance(event, ActionDone):
            return f"{party(to)} has taken the message: {said(message)}"
        case None:
            text = "an action from before"
        case _:
            about = getattr(action, "vnfc", None) or getattr(action, "vm", None) or getattr(action, "host", "")
            text = f"{work(type(action).__name__)} {about}"
    detail = event.detail if isinstance(event, ActionDone) else event.why
    return f"{text} {'is done' if isinstance(event, ActionDone) else 'failed'}{detail and ': ' + detail}"


def heard_of(by: str, received: Received) -> str:
    return f"{party(by)} heard from {party(received.sender)}: {said(received.message)}"


REFUSED = {
    "start": "start",
    "fence": "fence",
    "repair": "repair",
    "restart": "restart",
    "second repair": "begin a second repair of",
    "repair request": "ask for the repair of",
    "take-over": "let anybody take over",
    "switchover": "switch over",
    "give-back": "give back",
    "accept-loss": "accept a loss of state for",
}
"""What is refused, as a verb."""


def party(name: str) -> str:
    """A party as people call it."""
    kind, _, which = name.partition(":")
    return f"{PARTIES.get(kind, kind)} {which}".strip()


PARTIES = {"ha": "HA manager", "vnfm": "VNFM", "vim": "VIM", "agent": "agent of", "lab": "lab"}


def because(reasons: Sequence[Reason]) -> str:
    """All reasons as one clause, each said once."""
    parts = list(dict.fromkeys(plain(sentence(reason)) for reason in reasons))
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def plain(text: str) -> str:
    """Without what says nothing more to a person: a cause before its own detail, a confirmed confirmation."""
    text = CAUSE_BEFORE_DETAIL.sub("(", text).replace(" (confirmed)", "")
    return BY_PARTY.sub(lambda found: f"by {party(found[1])}", text)


CAUSES = {
    "exited": "its process ended",
    "check": "a check failed",
    "role": "it did not take its role",
    "start": "it could not be started",
    "lost": "it was not there any more",
    "grant": "its host may not be active for it any more",
    "vm-gone": "its VM is gone",
    "too-many-failures": "too many failures in it",
}
"""Causes of incidents where no detail is known; the others are words already."""
CAUSE_BEFORE_DETAIL = re.compile(r"\((exited|killed|check|role|start|lost|grant|vm-gone): ")
BY_PARTY = re.compile(r"\bby (ha|vim|vnfm:[a-z0-9-]+)\b(?!#)")
