"""The page that states what was found: docs/judges-proof.md.

In: what `finding` has found. Out: the page's text. Always: every figure in it comes from the runs.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.plants.defects import OWN
from tests.plants.finding import Found
from tests.plants.known import KNOWN
from tests.plants.planting import BOTH, Defect

GUARDED = (
    "Behind some of these mistakes another guard stands, so that alone they never lead to two owners. What was taken "
    "out together with them, and who sees something in the same runs if it is one of the two alone:"
)
HEAD = Path(__file__).parent / "page-head.md"


def page(found: Mapping[str, Found], seeds: int, findings: int) -> str:
    """The whole text."""
    parts = [HEAD.read_text().format(seeds=seeds, findings=findings)]
    parts.append(_table("Our own mistakes", OWN, found))
    parts.append(_table("The 27 mistakes of the grants", KNOWN, found))
    return "\n".join(part for part in parts if part)


def _table(title: str, defects: tuple[Defect, ...], found: Mapping[str, Found]) -> str:
    known = [(defect, found[defect.name]) for defect in defects if defect.name in found]
    if not known:
        return ""
    head = ["| mistake | planted into | seen first by | also by | seeds |", "|---|---|---|---|---|"]
    text = "\n".join([f"## {title}", "", *head, *(_row(defect, one) for defect, one in known)]) + "\n"
    guarded = [row for defect, one in known if defect.guards for row in _guards(defect, one)]
    if guarded:
        head = [
            "| mistake | taken out as well | in | the mistake alone: seen by | without guards alone |",
            "|---|---|---|---|---|",
        ]
        text += "\n".join(["", GUARDED, "", *head, *guarded]) + "\n"
    return text


def _guards(defect: Defect, found: Found) -> list[str]:
    alone = [_in_words(found.alone.get(part, {})) or "nobody" for part in BOTH]
    first, *others = [f"{guard.says} | `{guard.where}`" for guard in defect.guards]
    return [f"| {defect.name} | {first} | {' | '.join(alone)} |", *(f"| | {other} | | |" for other in others)]


def _in_words(judges: Mapping[str, int]) -> str:
    return ", ".join(f"{judge} ({times})" for judge, times in judges.items())


def _row(defect: Defect, found: Found) -> str:
    seen = _in_words(found.judges) or "**nobody**"
    also = ", ".join(judge for judge in found.also if judge not in found.judges)
    seeds = str(found.median) if found.waits else f"none of {found.seeds}"
    cost = (
        f"{seeds} of `{defect.script}`" if defect.is_rare else f"{seeds} of the season" if defect.by_season else seeds
    )
    return f"| {defect.name}: {defect.says} | `{defect.where}` | {seen} | {also} | {cost} |"
