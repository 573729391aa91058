"""What is written about grants: hosts that vote, a port, lengths; and whether such lengths can work on any machine.

In: models and the Notes of their file; out: `Grants`, to be used only if the Notes hold no mistake. Never raises.
"""

from collections.abc import Iterable

from holdfast.core.tuning import GRANT_NS_MAX, HEARTBEAT_NS_MIN, Finding, judge, shortest_grant_ns
from holdfast.descriptor.notes import Notes
from holdfast.descriptor.tree import Path
from holdfast.model.descriptor import DescriptorText, GrantsText, HostText
from holdfast.model.granting import MS, SECOND, Profile
from holdfast.model.layout import Grants, Vnfc

VOTERS_MIN, PORT_MAX = 2, 65534


def grants_of(text: DescriptorText, hosts: dict[str, HostText], vnfcs: Iterable[Vnfc], notes: Notes) -> Grants | None:
    """Resolve what is written about grants; None where there shall be none."""
    witnesses = {name for name, host in hosts.items() if host.witness}
    for vnfc in vnfcs:
        if vnfc.host in witnesses:
            notes.wrong(
                ("hosts", vnfc.host, "witness"), f"a host without VNFCs; {vnfc.name} is placed there", found=True
            )
            witnesses.discard(vnfc.host)
    if text.grants is None:
        if text.network.second_subnet != "none":
            notes.wrong(
                ("network", "second-subnet"),
                "`grants` in this descriptor: only agents that hold grants together speak with each other",
                found=text.network.second_subnet,
            )
        for name in sorted(witnesses):
            notes.wrong(("hosts", name, "witness"), "`grants` in this descriptor: only they need a witness", found=True)
        return None
    if len(hosts) < VOTERS_MIN:
        notes.wrong(("grants",), f"at least {VOTERS_MIN} hosts: one alone has nobody to agree with", found="1 host")
    elif len(hosts) == VOTERS_MIN and witnesses:
        expected = f"three hosts where one is a witness: with {' and '.join(hosts)} nobody is left to take over"
        notes.wrong(("grants",), expected, found=f"{len(hosts)} hosts")
    if not 1 <= text.grants.port <= PORT_MAX:
        notes.wrong(
            ("grants", "port"), f"a port from 1 to {PORT_MAX}, with the next one free too", found=text.grants.port
        )
    grants = Grants(text.grants.profile, text.grants.port, text.grants.heartbeat, text.grants.grant)
    _judge(text.grants, grants, notes)
    return grants


def _judge(text: GrantsText, grants: Grants, notes: Notes) -> None:
    """Lengths that cannot work on any machine are refused; what works, and not well, is said."""
    lengths = grants.lengths
    verdict = judge(lengths)
    for finding in verdict.findings:
        path, found = _blamed(text, lengths, finding)
        if finding.is_refusal:
            expected = f"lengths that can work: {finding.sentence}"
            notes.wrong(path, expected, _remedy(lengths.heartbeat_ns), said=found)
        elif verdict.works:
            notes.doubt(path, finding.sentence, f"write `grant: {_written(finding.needed)}` or more")


def _blamed(text: GrantsText, lengths: Profile, finding: Finding) -> tuple[Path, str]:
    """The key that a finding is about, and what was found there; a profile as it is has none."""
    heartbeat, grant = f"a heartbeat of {lengths.heartbeat_ns / MS:g} ms", f"a grant of {lengths.length_ns / MS:g} ms"
    if finding.code == "heartbeat-too-short":
        return ("grants", "heartbeat"), heartbeat
    if finding.code == "grant-too-long":
        return ("grants", "grant"), grant
    if text.grant is None:
        return ("grants", "heartbeat"), f"{heartbeat} with {grant}"
    return ("grants", "grant"), f"{grant} with {heartbeat}"


def _remedy(heartbeat_ns: int) -> str:
    shortest_ns = shortest_grant_ns(heartbeat_ns)
    if shortest_ns is None:
        return f"write a heartbeat from {_written(HEARTBEAT_NS_MIN)} to {_written(GRANT_NS_MAX // 5)}"
    return f"write `grant: {_written(shortest_ns)}` or more, up to {_written(GRANT_NS_MAX)}"


def _written(length_ns: int) -> str:
    """As it is written in a descriptor; never shorter than it is."""
    return f"{length_ns // SECOND}s" if length_ns % SECOND == 0 else f"{-(-length_ns // MS)}ms"
