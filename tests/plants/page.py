"""The page that states what was found: docs/judges-proof.md.

In: what `finding` has found. Out: the page's text. Always: every figure in it comes from the runs.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.plants.defects import OWN
from tests.plants.finding import Found
from tests.plants.known import KNOWN
from tests.plants.planting import Defect

HEAD = Path(__file__).parent / "page-head.md"


def page(found: Mapping[str, Found], seeds: int, findings: int) -> str:
    """The whole text."""
    parts = [HEAD.read_text().format(seeds=seeds, findings=findings)]
    parts.append(_table("Our own mistakes", OWN, found))
    parts.append(_table("The 27 mistakes of the grants", KNOWN, found))
    return "\n".join(part for part in parts if part)


def _table(title: str, defects: tuple[Defect, ...], found: Mapping[str, Found]) -> str:
    known = [(defect, found[defect.name]) for defect in defects if defect.name in found]
    seen = [_row(defect, one) for defect, one in known if one.is_found or not defect.hidden]
    hidden = [_hidden(defect, one) for defect, one in known if defect.hidden and not one.is_found]
    if not seen:
        return ""
    head = ["| mistake | planted into | seen first by | also by | seeds |", "|---|---|---|---|---|"]
    text = "\n".join([f"## {title}", "", *head, *seen]) + "\n"
    if hidden:
        told = (
            "These were planted as well, and no judge saw anything: in this world they lead to nothing. The model of "
            "the grants shows each of them going wrong (`tests/grants/stories/`, by its number):"
        )
        text += (
            "\n".join(["", told, "", "| mistake | planted into | runs | why |", "|---|---|---|---|", *hidden]) + "\n"
        )
    return text


def _hidden(defect: Defect, found: Found) -> str:
    return f"| {defect.name}: {defect.says} | `{defect.where}` | {found.seeds} | {defect.hidden} |"


def _row(defect: Defect, found: Found) -> str:
    seen = ", ".join(f"{judge} ({times})" for judge, times in found.judges.items()) or "**nobody**"
    also = ", ".join(judge for judge in found.also if judge not in found.judges)
    seeds = str(found.median) if found.waits else f"none of {found.seeds}"
    cost = (
        f"{seeds} of `{defect.script}`" if defect.is_rare else f"{seeds} of the season" if defect.by_season else seeds
    )
    return f"| {defect.name}: {defect.says} | `{defect.where}` | {seen} | {also} | {cost} |"
