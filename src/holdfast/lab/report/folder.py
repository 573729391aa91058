"""The folder of one run: merged journal, timeline, sequence chart and verdict beside their evidence."""

from pathlib import Path

import msgspec

from holdfast.lab.judges.evidence import Evidence
from holdfast.lab.judges.verdict import Verdict
from holdfast.lab.report.sequence import sequence
from holdfast.lab.report.timeline import timeline

JOURNAL, TIMELINE, SEQUENCE, VERDICT = "journal.jsonl", "timeline.txt", "sequence.txt", "verdict.json"


def write_report(folder: Path, evidence: Evidence, verdict: Verdict) -> None:
    encoder = msgspec.json.Encoder()
    (folder / JOURNAL).write_bytes(b"".join(encoder.encode(record) + b"\n" for record in evidence.records))
    (folder / TIMELINE).write_text(timeline(evidence))
    (folder / SEQUENCE).write_text(sequence(evidence))
    (folder / VERDICT).write_bytes(msgspec.json.format(msgspec.json.encode(verdict), indent=2) + b"\n")
