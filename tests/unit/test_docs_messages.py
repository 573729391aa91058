"""What the guides quote is what Holdfast says: a message that was reworded, or is said no more, is found here."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VALUE = "\0"
"""In the place of whatever is filled in."""
PAGES = ("several-hosts.md", "etcd.md")


def said() -> list[str]:
    """Every text in the sources, with VALUE where something is filled in."""
    texts = []
    for file in (ROOT / "src/holdfast").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(_part(part) for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def _part(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else VALUE


def quoted(page: str) -> list[str]:
    """Messages in the table under `What it says`, and texts of alarms."""
    text = (ROOT / "docs" / page).read_text()
    table = text.partition("## What it says\n")[2].partition("\n#")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    messages = [found[1] or found[2] for cell in cells for found in re.finditer(r"`` (.+?) ``|`(.+?)`", cell)]
    return messages + re.findall(r"^\| `[a-z-]+:[A-Z]+` \*(.+?)\*", text, re.MULTILINE)


def fragments(message: str) -> list[str]:
    """What stands between the gaps; numbers and placeholders are values."""
    pieces = [piece.strip(" ,:;") for piece in message.split("…")]
    return [re.sub(r"\b(?:\d+(?:\.\d+)*|[NM]|HOST|NAME)\b", VALUE, piece) for piece in pieces if piece]


@pytest.mark.parametrize("page", PAGES)
def test_every_message_of_a_guide_is_in_the_sources(page: str) -> None:
    texts = said()
    messages = quoted(page)
    assert len(messages) > 12
    for message in messages:
        for fragment in fragments(message):
            assert any(fragment in text for text in texts), f"{page}: {message!r}: nobody says {fragment!r}"
