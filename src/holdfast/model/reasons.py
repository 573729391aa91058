"""Why: reasons are data. Log line, `why`, report and tests all read these; nobody parses prose.

A reason names its code, what it is about, and the numbers of the observations (in the deciding
manager's journal) that it rests on. SENTENCES turns one into words.
"""

from typing import Literal, get_args

from msgspec import Struct

Code = Literal[
    "declared",  # the descriptor wants it so
    "vnfc-failed",
    "vnfc-isolated",
    "vnfc-not-isolated",
    "vnfc-ready",
    "vm-failed",
    "vm-gone",
    "vm-ran-on",
    "vm-isolated",
    "vm-up",
    "vm-needed",
    "vm-not-repaired",
    "host-failed",
    "host-fenced",
    "must-be-off",
    "host-up",
    "host-lives-anew",
    "error-reported",
    "error-cleared",
    "repair-requested",
    "repair-acknowledged",
    "ack-missing",
    "repair-configured",
    "repair-failed",
    "service-back",
    "service-interrupted",
    "successor-is-first",
    "holds-newest-state",
    "newest-state-missing",
    "heir-unheard",
    "standby-stale",
    "standby-synced",
    "standby-lost",
    "loss-accepted",
    "no-successor",
    "dependency-missing",
    "promotion-failed",
    "role-assigned",
    "too-many-failures",
    "below-maximum",
    "several-vms-of-host",
    "already-in-repair",
    "operator-asked",
    "manager-restarted",
    "time-limit-passed",
    "agent-away",
    "older-epoch",
    "start-failed",
    "zone-above-unknown",
    "grant-ends",
    "took-over",
    "peer-silent",
    "peer-heard",
    "peer-heard-by-other",
    "peer-unheard-by-other",
    "peer-restarted",
    "peer-late",
    "peer-does-not-hear",
    "peer-never-heard",
    "peer-unsteady",
    "network-silent",
    "own-loop-late",
    "own-sends-refused",
    "outnumbered",
    "nobody-to-ask",
    "nobody-confirms",
]


class Reason(Struct, frozen=True):
    code: Code
    about: str
    detail: str = ""
    seen: tuple[int, ...] = ()


SENTENCES: dict[Code, str] = {
    "declared": "the descriptor asks for it ({about})",
    "vnfc-failed": "{about} has failed ({detail})",
    "vnfc-isolated": "{about} is isolated: nothing of it runs any more ({detail})",
    "vnfc-not-isolated": "{about} could not be isolated ({detail})",
    "vnfc-ready": "{about} is running and answers its checks",
    "vm-failed": "VM {about} has failed ({detail})",
    "vm-gone": "VM {about} is gone, so nothing in it can still run",
    "vm-ran-on": "VM {about} runs on although it was confirmed gone",
    "vm-isolated": "VM {about} is isolated: confirmed by the VIM",
    "vm-up": "VM {about} is up again",
    "vm-needed": "VM {about} must be up first",
    "vm-not-repaired": "VM {about} will not come back by itself ({detail})",
    "host-failed": "host {about} has failed ({detail})",
    "host-fenced": "host {about} is switched off: confirmed by its fence device ({detail})",
    "must-be-off": "host {about} must be confirmed off first: only one may use the storage of {detail}",
    "host-lives-anew": "host {about} has started again since, and its agent has joined ({detail})",
    "host-up": "host {about} is up",
    "error-reported": "an error on {about} was reported ({detail})",
    "error-cleared": "the error on {about} is cleared",
    "repair-requested": "repair of {about} was requested ({detail})",
    "repair-acknowledged": "restart of {about} was acknowledged as safe ({detail})",
    "ack-missing": "the acknowledgement for {about} is still missing ({detail})",
    "repair-configured": "repair of {about} is configured ({detail}) and needs no acknowledgement",
    "repair-failed": "repair of {about} has failed ({detail})",
    "service-back": "service {about} is provided again ({detail})",
    "service-interrupted": "service {about} is interrupted",
    "successor-is-first": "{about} is the first successor that is ready",
    "holds-newest-state": "{about} holds the newest state ({detail})",
    "newest-state-missing": "the newest state may be at {about}, which is not there yet",
    "heir-unheard": "{about} may have taken over by standing order; its host has not said that it has not",
    "standby-stale": "{about} has not got all acknowledged state",
    "standby-synced": "{about} has caught up with the active",
    "standby-lost": "{about} was lost as a standby",
    "loss-accepted": "a person accepted the loss of state for {about}",
    "no-successor": "there is nothing left to take over {about}",
    "dependency-missing": "{about} must be provided first",
    "promotion-failed": "{about} could not become active ({detail})",
    "role-assigned": "{about} has got its role ({detail})",
    "too-many-failures": "{about} has failed too often ({detail})",
    "below-maximum": "{about} may be tried again ({detail})",
    "several-vms-of-host": "several VMs of host {about} are in error ({detail})",
    "already-in-repair": "{about} is already being repaired ({detail})",
    "operator-asked": "an operator asked for it ({about})",
    "manager-restarted": "the manager has started again",
    "time-limit-passed": "the time limit for {about} has passed ({detail})",
    "agent-away": "the agent of {about} cannot be reached",
    "older-epoch": "{about} carries an older epoch ({detail})",
    "start-failed": "{about} could not be started ({detail})",
    "grant-ends": "the grant of host {about} ends before anybody else's can begin",
    "took-over": "{about} has taken over by standing order ({detail})",
    "zone-above-unknown": "nothing above {about} can be isolated from here",
    "peer-silent": "nothing is heard of {about} ({detail})",
    "peer-heard": "{about} is heard ({detail})",
    "peer-heard-by-other": "others hear {about} ({detail})",
    "peer-unheard-by-other": "others do not hear {about} either ({detail})",
    "peer-restarted": "the agent of {about} has started again ({detail})",
    "peer-late": "{about} says that its own loop was late ({detail})",
    "peer-does-not-hear": "{about} does not hear this host ({detail})",
    "peer-never-heard": "{about} has not been heard since this agent started ({detail})",
    "peer-unsteady": "{about} came and went ({detail})",
    "network-silent": "one network carries nothing from {about} ({detail})",
    "own-sends-refused": "the kernel of {about} does not take what is sent ({detail}), so that nobody is blamed",
    "own-loop-late": "the own loop of {about} was late, so that nobody is blamed ({detail})",
    "outnumbered": "{about} hears no more than half of all agents, so that nobody is blamed ({detail})",
    "nobody-to-ask": "there is no third agent that could be asked about {about}",
    "nobody-confirms": "no other agent has confirmed the silence of {about} yet",
}

if set(SENTENCES) != set(get_args(Code)):  # pragma: no cover
    raise ValueError("every reason code needs its sentence")


def sentence(reason: Reason) -> str:
    """The reason in words, without a full stop."""
    text = SENTENCES[reason.code].format(about=reason.about, detail=reason.detail)
    return text.replace(" ()", "")
