"""docs/several-hosts.md says of every alarm what to do."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RAISED = re.compile(r'(?:RaiseAlarm\(|raise_alarm\([\w, ]*?)\s*f"([a-z-]+):', re.DOTALL)


def test_every_alarm_has_its_line() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "src/holdfast/core").glob("*.py"))
    own = {"store-behind", "store", "store-damaged", "journal", "bug"}  # of a manager itself: in runtime/
    raised = set(RAISED.findall(text)) | own
    page = (ROOT / "docs/several-hosts.md").read_text()
    told = set(re.findall(r"^\| `([a-z-]+):[A-Z]+`", page, re.MULTILINE))
    assert len(raised) > 12
    assert told == raised
