"""What is journaled of a VNFC's checks, and what comes of them."""

from collections.abc import Callable

from holdfast.detect import checks
from holdfast.model.layout import Check
from holdfast.model.names import VnfcName
from holdfast.runtime.agent_network import Mark


def listener(name: VnfcName, mark: Mark, failed: Callable[[str], None]) -> checks.Listener:
    """Marks each miss, and each that is not counted; `failed` gets the words for a check that has failed."""

    def missed(check: Check, misses: int, trouble: str) -> None:
        mark("check-missed", name, f"{checks.words(check)}: {trouble} ({misses} of {check.misses})")

    def check_failed(check: Check, trouble: str) -> None:
        often = f", {check.misses} times in a row" if check.misses > 1 else ""
        failed(f"{checks.words(check)}: {trouble}{often}")

    def doubted(check: Check, late_s: float) -> None:
        mark("late-ourselves", name, f"{checks.words(check)} not counted: {late_s * 1000:.0f} ms late")

    def starved(check: Check, share: float) -> None:
        mark("starved", name, f"{checks.words(check)} not counted: it was not let run for {share:.0%} of the time")

    return checks.Listener(missed, check_failed, doubted, starved)
