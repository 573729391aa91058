"""The page that states what was found: docs/judges-proof.md.

In: what `finding` has found. Out: the page's text. Always: every figure in it comes from the runs.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.plants.defects import KNOWN, OWN
from tests.plants.finding import Found
from tests.plants.planting import Defect

HEAD = Path(__file__).parent / "page-head.md"


def page(found: Mapping[str, Found], seeds: int, findings: int) -> str:
    """The whole text."""
    parts = [HEAD.read_text().format(seeds=seeds, findings=findings)]
    parts.append(_table("Our own mistakes", OWN, found))
    parts.append(_table("The 27 mistakes of the grants", KNOWN, found))
    parts.append(_unseen(found))
    return "\n".join(part for part in parts if part)


def _table(title: str, defects: tuple[Defect, ...], found: Mapping[str, Found]) -> str:
    lines = [_row(defect, found[defect.name]) for defect in defects if defect.name in found and not defect.nowhere]
    if not lines:
        return ""
    head = ["| mistake | planted into | seen first by | also by | seeds |", "|---|---|---|---|---|"]
    text = "\n".join([f"## {title}", "", *head, *lines]) + "\n"
    nowhere = [f"| {defect.name} | {defect.says} | {defect.nowhere} |" for defect in defects if defect.nowhere]
    if nowhere:
        told = "These cannot be made in the code that runs here; the model of the grants shows them:"
        text += "\n".join(["", told, "", "| mistake | | why not |", "|---|---|---|", *nowhere]) + "\n"
    return text


def _row(defect: Defect, found: Found) -> str:
    seen = ", ".join(f"{judge} ({times})" for judge, times in found.judges.items()) or "**nobody**"
    also = ", ".join(judge for judge in found.also if judge not in found.judges)
    if found.by_script:
        cost = f"script `{defect.script}`"
    else:
        cost = str(found.median) if found.waits else f"none of {found.seeds}"
    return f"| {defect.name}: {defect.says} | `{defect.where}` | {seen} | {also} | {cost} |"


def _unseen(found: Mapping[str, Found]) -> str:
    unseen = [one for one in found.values() if not one.is_found]
    if not unseen:
        return ""
    lines = [f"- {one.defect}: {one.seeds} runs" for one in unseen]
    return "\n".join(["## Seen by no judge", "", *lines]) + "\n"
