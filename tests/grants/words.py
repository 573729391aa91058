"""What agents notice, in words, as the stories show it."""

from holdfast.model.granting import (
    MS,
    Close,
    CloseAll,
    Disown,
    Doubt,
    Held,
    Lapsed,
    Lost,
    NeedVoterSet,
    Output,
    Persist,
    Refused,
    Regained,
    Released,
    Taking,
)


def told(output: Output) -> str:
    """One line; empty for what a story does not show (messages, armings)."""
    if isinstance(output, Held):
        return f"holds {output.service} under epoch {output.epoch}"
    if isinstance(output, Lapsed):
        return f"{output.service} has lapsed: {output.reason}"
    if isinstance(output, Regained):
        return f"has {output.service} again under epoch {output.epoch}, after {output.dark_ns / MS:.1f} ms"
    if isinstance(output, Lost):
        return f"has lost {output.service} (epoch {output.epoch}): {output.reason}"
    if isinstance(output, Close):
        return f"closes {output.service}"
    if isinstance(output, CloseAll):
        return f"closes everything: {output.reason}"
    if isinstance(output, Disown):
        return f"lets go of {output.service}"
    if isinstance(output, Released):
        return f"releases {output.service} (epoch {output.epoch})"
    if isinstance(output, Taking):
        return f"takes {output.service} with epoch {output.epoch}: {output.reason}"
    if isinstance(output, Refused):
        return f"refuses {output.service} epoch {output.epoch}: {output.reason}"
    if isinstance(output, Persist):
        return f"writes voter set {output.voter_set.version}: {' '.join(output.voter_set.members)}"
    if isinstance(output, NeedVoterSet):
        return f"needs voter set {output.version}"
    if isinstance(output, Doubt):
        return f"doubts: {output.reason}"
    return ""
