"""What an agent learns from its hot process of the other hosts, and whom it tells.

In:   what suspicion has noticed, and how everybody stands.
Out:  hosts that fail and return, networks that are lost and back, hosts that are heard again; told to `Told`.
Always: what was dropped on its way from the hot process is made up for by the next `Standing`, which follows it.
"""

from collections.abc import Iterable

from holdfast.core.suspicion_words import (
    NetworkChanged,
    NetworkName,
    Noticed,
    PeerChanged,
    PeerHeard,
    PeerState,
    in_ms,
    patience,
)
from holdfast.model.events import HostFailed, NetworkSilent, Silence
from holdfast.model.granting import Profile
from holdfast.model.names import HostName
from holdfast.runtime.exclusivity import Told
from holdfast.runtime.hot_words import Standing

DEAF_AFTER_NS = 2_000_000_000


class HostsHeard:
    """The other hosts in the eyes of this one."""

    def __init__(self, me: HostName, lengths: Profile, told: Told) -> None:
        self._me = me
        self._told = told
        patient = patience(lengths.heartbeat_ns)
        self._patient_ns = patient.suspected_after_ns
        self._deaf_after_ns = max(DEAF_AFTER_NS, 4 * patient.failed_after_ns)
        self._unheard: set[HostName] = set()
        """Suspected or failed, and nothing has come of them since."""
        self._lost: set[tuple[HostName, str]] = set()
        """Networks on which a host is not heard, and has not failed: it is heard on another one, or by others."""

    def noticed(self, noticed: Noticed) -> None:
        match noticed:
            case PeerChanged(peer=peer, after=after):
                if after in ("suspected", "failed"):
                    self._unheard.add(peer)
                self._host_changed(noticed)
            case PeerHeard(peer=peer):
                self._heard(peer)
            case NetworkChanged(peer=peer, network=network, is_lost=is_lost, silent_ns=silent_ns):
                self._network_changed(peer, network, is_lost, silent_ns)

    def _host_changed(self, changed: PeerChanged) -> None:
        if changed.after == "failed":
            silent_ms = changed.silent_ns / 1e6
            self._told.host_changed(changed.peer, True, f"silent for {silent_ms:.0f} ms", changed.incarnation)
        elif changed.before == "failed":
            self._told.host_changed(changed.peer, False, "", changed.incarnation)

    def _heard(self, peer: HostName) -> None:
        if peer in self._unheard:
            self._unheard.discard(peer)
            self._told.heard_again(peer)

    def _network_changed(self, peer: HostName, name: str, is_lost: bool, silent_ns: int) -> None:
        if is_lost == ((peer, name) in self._lost):
            return
        (self._lost.add if is_lost else self._lost.discard)((peer, name))
        self._told.network_changed(peer, name, is_lost, _silence(silent_ns) if is_lost else "")

    def stands(self, standing: Standing) -> tuple[Silence, ...]:
        """Catch up with how everybody stands; answers what is silent now."""
        for name, peer in standing.peers.items():
            if min(peer.silent_ns.values()) < self._patient_ns:
                self._heard(name)
            elif peer.level in ("suspected", "failed"):
                self._unheard.add(name)
        lost = {(name, network): peer for name, peer in standing.peers.items() for network in self._lost_to(peer)}
        for name, network in self._lost - set(lost):
            self._network_changed(name, network, False, 0)
        for (name, network), peer in lost.items():
            self._network_changed(name, network, True, peer.silent_ns[network])
        return (*self._failed(standing), *self._silent_networks(standing))

    def _failed(self, standing: Standing) -> tuple[HostFailed, ...]:
        """One that is heard again, but not for long enough to count as back, may be well: nothing is told of it."""
        return tuple(
            HostFailed(name, self._me, f"silent for {in_ms(silent_ns)}", peer.incarnation)
            for name, peer in standing.peers.items()
            if peer.level == "failed" and (silent_ns := min(peer.silent_ns.values())) >= self._patient_ns
        )

    def _silent_networks(self, standing: Standing) -> tuple[NetworkSilent, ...]:
        return tuple(
            NetworkSilent(name, self._me, network, _silence(peer.silent_ns[network]))
            for name, peer in standing.peers.items()
            for network in self._lost_to(peer)
        )

    def _lost_to(self, peer: PeerState) -> Iterable[NetworkName]:
        """Networks on which nothing gets through from it, for longer than it takes to find that a host has failed.

        Not heard on any, it may be well: its heartbeats do not get through to here, or nobody is left to agree.
        """
        if peer.level != "failed" and min(peer.silent_ns.values()) >= self._deaf_after_ns:
            return peer.silent_ns
        return peer.lost


def _silence(silent_ns: int) -> str:
    return f"nothing for {in_ms(silent_ns)}"
