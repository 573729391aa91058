"""Which lengths suit hosts whose jitter was measured, and which cannot work, and why. Pure arithmetic.

In:   a `Profile` (heartbeat, grant), `Jitter` (how late the loop wakes, how long datagrams take, the kernel's tick).
Out:  `Verdict`: what the lengths mean (outage, tolerance) and what speaks against them; a `Proposal`.
Always: a finding names what is needed and what is there, both as numbers. Without a measurement the same arithmetic
tells what no machine can do, which is what `validate` refuses.
"""

from bisect import bisect_left
from typing import Literal

from msgspec import Struct, structs

from holdfast.core.suspicion_words import in_ms, patience
from holdfast.model.granting import DEFAULT, MS, PROFILES, SECOND, Implied, Profile, implied

TICKS_MIN = 2
"""The kernel rounds less than two ticks up, so such a grant is never armed."""
LOST_ROUNDS_MIN = 2
"""Heartbeats that may be lost in a row without the grant lapsing."""
TAKE_OVER_NS = 3 * MS
"""From the end of the promise to the first answer of the successor: claim, arm, announce."""
SAFETY = 2
"""A measurement of seconds does not see the worst of a day: twice the worst lateness seen must be borne."""
TRIP_NS = 300_000
"""On a LAN, where it was not measured."""
GRANT_HEARTBEATS = 5
HEARTBEAT_NS_MIN = MS
GRANT_NS_MAX = 60 * SECOND
"""A voter is silent for one grant after its start, and a lost host keeps its services for as long."""
HEARTBEATS_NS = tuple(length * MS for length in (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000))
"""Heartbeats that are tried when lengths are fitted."""


class RoundTrip(Struct, frozen=True):
    """Datagrams to one peer and back."""

    p50_ns: int
    p99_ns: int
    max_ns: int
    sent: int
    lost: int


class Jitter(Struct, frozen=True):
    """What was measured on one host."""

    seconds: float
    rounds: int
    late_p50_ns: int
    late_p99_ns: int
    late_p999_ns: int
    late_max_ns: int
    tick_ns: int = 4 * MS
    round_trips: dict[str, RoundTrip] = {}
    """By address."""
    peers: tuple[tuple[str, ...], ...] = ()
    """The addresses of each peer: one for each network. Where it is empty, each address is a peer of its own."""
    lacks: tuple[str, ...] = ()
    """What the machine did not give the loop: priority, locked memory."""


Code = Literal[
    "kernel-too-coarse",
    "too-few-rounds",
    "heartbeat-too-short",
    "grant-too-long",
    "loop-too-late",
    "loop-near-limit",
    "loop-doubts-itself",
    "peer-too-far",
    "peer-lossy",
    "detection-after-grant",
]

SENTENCES: dict[Code, str] = {
    "kernel-too-coarse": "the kernel ends such a grant {there} after the ask at the earliest, and a heartbeat with two "
    "ticks needs {needed}",
    "too-few-rounds": "heartbeats that may be lost in a row: {there}; needed: {needed}",
    "heartbeat-too-short": "the heartbeat is {there}, it must be at least {needed}",
    "grant-too-long": "the grant is {there}, it must be no more than {needed}",
    "loop-too-late": "the loop of {about} woke {needed} late, and {there} are borne",
    "loop-near-limit": "the loop of {about} woke late by more than half of the {there} that are borne: twice what was "
    "seen would be {needed}",
    "loop-doubts-itself": "one round in a hundred of {about} is {needed} late or more, and from {there} on a loop "
    "doubts itself",
    "peer-too-far": "a majority answers within {needed} when the nearest peer is lost, and {there} are left for it",
    "peer-lossy": "{needed} of 1000 datagrams to {about} were lost; more than {there} make heartbeats unsteady",
    "detection-after-grant": "a peer counts as failed after {needed}, later than its grant ends ({there})",
}
LOSSY_PER_THOUSAND = 50


class Finding(Struct, frozen=True):
    """Something that speaks against lengths."""

    code: Code
    needed: int
    """In nanoseconds, or a count where the sentence counts."""
    there: int
    about: str = ""
    is_refusal: bool = True
    """False: it will work, and not always well."""

    @property
    def sentence(self) -> str:
        counts = self.code in {"too-few-rounds", "peer-lossy"}
        needed, there = (str(value) if counts else in_ms(value) for value in (self.needed, self.there))
        return SENTENCES[self.code].format(needed=needed, there=there, about=self.about)


class Verdict(Struct, frozen=True):
    """One set of lengths judged."""

    profile: Profile
    implied: Implied
    failed_after_ns: int
    """Silence after which a peer counts as failed."""
    bears_late_ns: int
    """A loop later than this lets its grant lapse, or is found failed by the others."""
    host_off_ns: tuple[int, int]
    """From the last answer of a host that is switched off to the first one of the successor: at best, at worst."""
    findings: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        return not any(finding.is_refusal for finding in self.findings)

    @property
    def is_comfortable(self) -> bool:
        return not self.findings


class Proposal(Struct, frozen=True):
    """What to use on hosts with this jitter."""

    jitter: Jitter
    verdicts: dict[str, Verdict]
    """By the profile's name."""
    profile: str | None
    """The shortest profile without a finding, else the shortest that works; None if none does."""
    fitted: Verdict | None
    """The shortest lengths without a finding, whatever they are called."""


def majority_trip_ns(jitter: Jitter) -> int:
    """How long the answer of a majority takes when the nearest peer is lost, and each peer's nearer network."""
    peers = jitter.peers or tuple((address,) for address in jitter.round_trips)
    trips = sorted(max(jitter.round_trips[address].p99_ns for address in addresses) for addresses in peers)
    if not trips:
        return TRIP_NS
    others_needed = (len(trips) + 1) // 2
    return trips[min(others_needed, len(trips) - 1)]


def judge(profile: Profile, jitter: Jitter | None = None, host: str = "this host") -> Verdict:
    """What speaks against the lengths: on any machine, and on the one that was measured."""
    if profile.heartbeat_ns < HEARTBEAT_NS_MIN:
        nothing = Implied(0, (0, 0), 0, 0, (0, 0), 0)
        return Verdict(
            profile, nothing, 0, 0, (0, 0), (Finding("heartbeat-too-short", HEARTBEAT_NS_MIN, profile.heartbeat_ns),)
        )
    trip_ns = TRIP_NS
    if jitter is not None:
        profile = structs.replace(profile, tick_ns=jitter.tick_ns, lag_ns=max(jitter.tick_ns, profile.slack_ns))
        trip_ns = majority_trip_ns(jitter)
    means = implied(profile, trip_ns)
    failed_after_ns = patience(profile.heartbeat_ns).failed_after_ns
    bears_late_ns = min(means.late_ns, max(0, failed_after_ns - profile.heartbeat_ns - trip_ns))
    findings = _of_any_machine(profile, means, failed_after_ns, trip_ns)
    if jitter is not None:
        findings += _of_this_machine(profile, bears_late_ns, jitter, host)
    longest_ns = max(means.host_off_ns[1], failed_after_ns) + TAKE_OVER_NS
    shortest_ns = max(means.host_off_ns[0], failed_after_ns - profile.heartbeat_ns) + TAKE_OVER_NS
    return Verdict(profile, means, failed_after_ns, bears_late_ns, (shortest_ns, longest_ns), tuple(findings))


def _of_any_machine(profile: Profile, means: Implied, failed_after_ns: int, trip_ns: int) -> list[Finding]:
    findings = []
    if profile.length_ns > GRANT_NS_MAX:
        findings.append(Finding("grant-too-long", GRANT_NS_MAX, profile.length_ns))
    kernel_end_ns = means.kernel_end_ns[0]
    shortest_ns = max(profile.shortest_ns, profile.heartbeat_ns + TICKS_MIN * profile.tick_ns)
    left_ns = max(0, kernel_end_ns - profile.heartbeat_ns)
    if kernel_end_ns < shortest_ns:
        findings.append(Finding("kernel-too-coarse", shortest_ns, max(0, kernel_end_ns)))
    elif left_ns <= trip_ns:
        findings.append(Finding("peer-too-far", trip_ns, left_ns))
    elif means.rounds_lost_surely < LOST_ROUNDS_MIN:
        findings.append(Finding("too-few-rounds", LOST_ROUNDS_MIN, means.rounds_lost_surely))
    if failed_after_ns > profile.length_ns:
        findings.append(Finding("detection-after-grant", failed_after_ns, profile.length_ns, is_refusal=False))
    return findings


def _of_this_machine(profile: Profile, borne_ns: int, jitter: Jitter, host: str) -> list[Finding]:
    findings = []
    safe_ns = SAFETY * jitter.late_max_ns
    if jitter.late_max_ns > borne_ns:
        findings.append(Finding("loop-too-late", jitter.late_max_ns, borne_ns, host))
    elif safe_ns > borne_ns:
        findings.append(Finding("loop-near-limit", safe_ns, borne_ns, host, is_refusal=False))
    doubts_ns = patience(profile.heartbeat_ns).late_from_ns
    if jitter.late_p99_ns > doubts_ns:
        findings.append(Finding("loop-doubts-itself", jitter.late_p99_ns, doubts_ns, host))
    for peer, trip in jitter.round_trips.items():
        lost = 1000 * trip.lost // trip.sent if trip.sent else 0
        if lost > LOSSY_PER_THOUSAND:
            findings.append(Finding("peer-lossy", lost, LOSSY_PER_THOUSAND, peer, is_refusal=False))
    return findings


def with_heartbeat(heartbeat_ns: int) -> Profile:
    """Lengths of one's own, in the proportions of the default profile."""
    of = DEFAULT.with_lengths(heartbeat_ns, GRANT_HEARTBEATS * heartbeat_ns)
    return structs.replace(of, name=f"heartbeat {in_ms(heartbeat_ns)}")


def shortest_grant_ns(heartbeat_ns: int) -> int | None:
    """The shortest grant (in whole milliseconds) that can work with this heartbeat on any machine; None if none can."""

    def works(length_ms: int) -> bool:
        return judge(DEFAULT.with_lengths(heartbeat_ns, length_ms * MS)).works

    longest_ms = GRANT_NS_MAX // MS
    # Whoever works with a grant works with a longer one.
    shortest_ms = bisect_left(range(longest_ms), True, key=works)
    return shortest_ms * MS if shortest_ms < longest_ms else None


def propose(jitter: Jitter, host: str = "this host") -> Proposal:
    """Judge the profiles, and fit lengths."""
    verdicts = {name: judge(profile, jitter, host) for name, profile in PROFILES.items()}
    comfortable = [name for name, verdict in verdicts.items() if verdict.is_comfortable]
    working = [name for name, verdict in verdicts.items() if verdict.works]
    chosen = (comfortable + working)[0] if working else None
    tried = (judge(with_heartbeat(length), jitter, host) for length in HEARTBEATS_NS)
    return Proposal(jitter, verdicts, chosen, next((verdict for verdict in tried if verdict.is_comfortable), None))
