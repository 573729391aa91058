"""The networks between the hosts: one of several carries nothing, and nothing has failed by that yet.

In: what agents say of each other, and their coming and going. Out: the draft changed; one alarm for each network that
is concerned, which names the hosts. Always holds: the alarm says what the agents that are joined say now. What one of
them said counts until it says otherwise or its link ends; it says it again when it joins.
"""

from collections.abc import Iterable, Sequence

from holdfast.core.vim_draft import Draft
from holdfast.core.vim_state import Unheard
from holdfast.model.actions import RaiseAlarm
from holdfast.model.events import NetworkHeard, NetworkSilent
from holdfast.model.names import HostName
from holdfast.model.reasons import Reason

SETTLE_S = 1.0
"""A cut is noticed by several agents, one after the other: it is told once, when they all have spoken."""


def network_silent(draft: Draft, event: NetworkSilent) -> None:
    if event.host not in draft.layout.hosts or event.by not in draft.layout.hosts:
        return
    _forget(draft, (one for one in draft.unheard if _says(one, event)))
    word = Unheard(event.network, event.by, event.host, draft.n, event.detail)
    draft.unheard = (*draft.unheard, word)
    _look_soon(draft, event.network)


def network_heard(draft: Draft, event: NetworkHeard) -> None:
    _forget(draft, (one for one in draft.unheard if _says(one, event)))


def forget_word_of(draft: Draft, host: HostName) -> None:
    """The link to its agent has ended, or is a new one: what it said before may be over."""
    _forget(draft, (one for one in draft.unheard if one.by == host))


def look_at(draft: Draft, network: str) -> None:
    """Have the alarm say what is so now."""
    words = [one for one in draft.unheard if one.network == network]
    text = summary(network, words, len(draft.layout.hosts)) if words else ""
    told = draft.networks.get(network, "")
    if text == told:
        return
    if words:
        reasons = tuple(Reason("network-silent", one.host, _detail(one), (one.seen,)) for one in words)
        draft.desk.note(RaiseAlarm(f"network:{network}", text), reasons)
        draft.networks[network] = text
    else:
        draft.clear_alarm(f"network:{network}", (draft.reason("network-heard", network),))
        del draft.networks[network]


def summary(network: str, words: Sequence[Unheard], hosts: int) -> str:
    """Which hosts are concerned: the one that all words are about is the one whose network is at fault."""
    pairs = {(one.by, one.host) for one in words}
    named = sorted({host for pair in pairs for host in pair})
    in_all = [host for host in named if all(host in pair for pair in pairs)]
    if len(pairs) == hosts * (hosts - 1):
        return f"the {network} network carries nothing between any of {', '.join(named)}"
    if not in_all:
        told = [f"{host} is not heard by {_listed(by for by, of in pairs if of == host)}" for host in named]
        return f"on the {network} network " + "; ".join(one for one in told if not one.endswith("by "))
    host = in_all[0] if len(in_all) == 1 else min(of for _, of in pairs)
    others = _listed(other for other in named if other != host)
    if all(of == host for _, of in pairs):
        return f"on the {network} network {host} is not heard by {others}"
    if all(by == host for by, _ in pairs):
        return f"on the {network} network {host} does not hear {others}"
    return f"the {network} network carries nothing between {host} and {others}"


def _listed(hosts: Iterable[HostName]) -> str:
    return ", ".join(sorted(set(hosts)))


def _detail(one: Unheard) -> str:
    return f"{one.network}, by {one.by}" + (f": {one.detail}" if one.detail else "")


def _says(one: Unheard, event: NetworkSilent | NetworkHeard) -> bool:
    return (one.network, one.by, one.host) == (event.network, event.by, event.host)


def _forget(draft: Draft, words: Iterable[Unheard]) -> None:
    over = tuple(words)
    draft.unheard = tuple(one for one in draft.unheard if one not in over)
    for one in over:
        _look_soon(draft, one.network)


def _look_soon(draft: Draft, network: str) -> None:
    draft.timers.setdefault(f"network:{network}", draft.now + SETTLE_S)
