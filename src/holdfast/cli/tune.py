"""`holdfast tune`: measure this host's jitter, and say which lengths suit it and which cannot work."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.core.tuning import Proposal, Verdict


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    seconds: Annotated[float, typer.Option(help="how long to measure")] = 5.0,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="address of another host, to be pinged; on two networks both, with a comma between"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the measurement and the proposal as JSON")] = False,
) -> None:
    """Measure how late this host is at times, and propose a profile; run it while the host does its usual work."""
    import socket

    import msgspec

    from holdfast.core.tuning import propose
    from holdfast.runtime.hot_tune import measure

    proposal = propose(measure(seconds, peer or ()), socket.gethostname())
    if as_json:
        body = {"format": 1, **msgspec.to_builtins(proposal)}
        for name, verdict in proposal.verdicts.items():
            body["verdicts"][name] |= _extra(verdict)
        typer.echo(msgspec.json.format(msgspec.json.encode(body)).decode())
    else:
        show(proposal)
    if proposal.profile is None:
        raise typer.Exit(1)


def _extra(verdict: "Verdict") -> dict[str, object]:
    return {"works": verdict.works, "sentences": [finding.sentence for finding in verdict.findings]}


def show(proposal: "Proposal") -> None:
    from holdfast.core.suspicion_words import in_ms
    from holdfast.model.granting import MS

    jitter = proposal.jitter
    typer.echo(
        f"measured for {jitter.seconds:g} s: the loop woke {in_ms(jitter.late_p50_ns)} late (half of the rounds), "
        f"{in_ms(jitter.late_p99_ns)} (99 %), {in_ms(jitter.late_max_ns)} at worst; "
        f"tick of the kernel {in_ms(jitter.tick_ns)}"
    )
    for lack in jitter.lacks:
        typer.echo(f"  without its rights: {lack}")
    for address, trip in jitter.round_trips.items():
        typer.echo(
            f"  {address}: there and back {in_ms(trip.p50_ns)} (half), {in_ms(trip.p99_ns)} (99 %); "
            f"{trip.lost} of {trip.sent} lost"
        )
    for name, verdict in proposal.verdicts.items():
        profile, means, word = verdict.profile, verdict.implied, "works" if verdict.works else "cannot work"
        if verdict.works and not verdict.is_comfortable:
            word = "works narrowly"
        typer.echo(
            f"{name}: {word} (heartbeat {in_ms(profile.heartbeat_ns)}, "
            f"grant {in_ms(profile.length_ns)}; "
            f"host off: {in_ms(verdict.host_off_ns[0])} to {in_ms(verdict.host_off_ns[1])}; "
            f"bears a loop {in_ms(verdict.bears_late_ns)} late, "
            f"{means.rounds_lost_surely} heartbeats lost)"
        )
        for finding in verdict.findings:
            typer.echo(f"  {finding.sentence}")
    if proposal.profile is None:
        typer.echo("no profile works here")
    else:
        typer.echo(f"proposed: {proposal.profile}")
    if proposal.fitted is not None:
        fitted = proposal.fitted.profile
        typer.echo(
            f"the shortest lengths that suit it: grants: {{heartbeat: {fitted.heartbeat_ns // MS}ms, "
            f"grant: {fitted.length_ns // MS}ms}}"
        )
