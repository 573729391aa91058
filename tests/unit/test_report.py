"""What a person is shown of a run: charts that fit, a table that reads without colour, JSON of exactly one form."""

import io
import json
from dataclasses import replace as changed
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from holdfast.lab.judges.evidence import read_journal
from holdfast.lab.judges.verdict import Verdict, judge
from holdfast.lab.report.folder import write_report
from holdfast.lab.report.sequence import LEGEND, WIDTH_MAX, sequence
from holdfast.lab.report.summary import build_summary, overall, statistics
from holdfast.lab.report.table import complaints, show
from holdfast.lab.report.timeline import timeline
from holdfast.lab.show import show_chart
from tests.unit.judged_runs import RUNS, good_run

RUN_KEYS = [
    "scenario", "repeat", "world", "seed", "verdict", "checks", "sal", "outage_ms", "lost", "sent", "two_owners_ms",
    "updates_lost", "stages_ms", "repair_ms", "not_judged", "dir",
]  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_chart_fits_and_every_row_keeps_its_lanes(name: str) -> None:
    chart = sequence(good_run(name))
    assert all(len(line) <= WIDTH_MAX for line in chart.splitlines())
    assert chart.endswith(LEGEND)


def test_a_chart_tells_the_take_over_in_the_use_cases_words() -> None:
    chart = sequence(good_run("uc1"))
    rows = [line for line in chart.splitlines() if line.strip()]
    places = [
        next(i for i, row in enumerate(rows) if text in row)
        for text in ("* killed", "failed (killed)", "clean up", "clean up: ok", "set active", "answers again", "clear")
    ]
    assert places == sorted(places)
    head = rows[1].split()
    agents = ["agent", "host1", "agent", "host2"]
    assert head == ["ms", "client", "registry-1", "registry-2", *agents, "HA", "manager", "VNFM", "VIM"]


def test_a_chart_leaves_out_who_took_no_part_but_no_manager() -> None:
    chart = sequence(good_run("uc1"))
    assert "vm1" not in chart
    column = chart.splitlines()[2].index("VIM") + 1
    marks = {line[column] for line in chart.splitlines()[3:-4] if len(line) > column}
    assert marks == {"│"}  # the VIM hears nothing
    assert "vm2" not in sequence(good_run("uc2"))


def test_what_an_agent_carries_out_or_sees_passes_its_lane() -> None:
    rows = sequence(good_run("uc1")).splitlines()
    column = rows[2].index("agent host1") + len("agent host1") // 2
    marked = [row for row in rows if row[column : column + 1] == "o"]
    words = ("failed", "clean up", "clean up: ok", "start")
    assert all(word in row for word, row in zip(words, marked[:4], strict=True))


def test_a_vm_that_is_killed_takes_its_vnfcs_along_on_the_chart() -> None:
    rows = sequence(good_run("uc2")).splitlines()
    column = rows[2].index("registry-1") + len("registry-1") // 2
    killed = next(i for i, row in enumerate(rows) if "* killed" in row)
    assert rows[killed][column] == "║"
    assert rows[killed + 1][column] == "┊"


def test_a_chart_marks_the_outage_on_the_clients_line() -> None:
    rows = sequence(good_run("uc1")).splitlines()
    column = next(row for row in rows if "client" in row).index("client") + 3
    marks = [row[column] for row in rows if len(row) > column and row[column] in "║╳"]
    assert "".join(marks).strip("║") == "╳" * marks.count("╳")
    assert marks[0] == marks[-1] == "║"


def test_a_chart_says_when_a_message_was_never_heard() -> None:
    evidence = good_run("uc1")
    deaf = changed(
        evidence,
        records=tuple(r for r in evidence.records if not (r.by == "vnfm:core" and type(r).__name__ == "Seen")),
    )
    assert "never heard" in sequence(deaf)


def test_a_timeline_has_a_line_for_each_record_with_its_reasons() -> None:
    text = timeline(good_run("uc1"))
    assert "     +0.000  lab            did      kill-vnfc registry-1" in text
    assert "decided  isolates registry-1 (cleans it up) [ha/6], because registry-1 has failed (signal 9)" in text
    assert "HA manager     saw      isolation of registry-1 is done" in text
    assert "HA manager     saw      VNFM core has taken the message: error on registry-1" in text
    assert "answers again: outage 4.0 ms" in text


def test_a_folder_gets_everything_made_from_its_evidence(tmp_path: Path) -> None:
    evidence = good_run("uc2")
    write_report(tmp_path, evidence, judge(evidence))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal.jsonl", "sequence.txt", "timeline.txt", "verdict.json",
    ]  # fmt: skip
    assert tuple(read_journal(tmp_path / "journal.jsonl")[0]) == evidence.records
    assert json.loads((tmp_path / "verdict.json").read_text())["verdict"] == "pass"


def verdicts() -> list[Verdict]:
    good = judge(good_run("uc1"))
    return [good, replace(good, repeat=1, outage_ms=9.0), judge(good_run("uc2"))]


def shown(runs: list[Verdict]) -> str:
    out = io.StringIO()
    show(runs, Console(file=out, width=80, color_system=None))
    return out.getvalue()


def test_the_table_reads_at_eighty_columns_without_colour() -> None:
    text = shown(verdicts())
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    row = next(line for line in text.splitlines() if line.split()[:1] == ["uc1"])
    assert row.split() == ["uc1", "2", "6.5", "9.0", "23", "1", "ok", "11", "pass"]


def test_the_longest_scenario_name_still_fits() -> None:
    run = replace(verdicts()[0], scenario="uc1-promotion-fails", verdict="unknown", outage_ms=12345.6, lost=12345)
    text = shown([run, replace(run, repeat=1)])
    assert "uc1-promotion-fails" in text
    row = next(line for line in text.splitlines() if "0/2" in line)
    assert len(row) <= 80
    assert "unknown 0/2" in row


def test_a_chart_that_does_not_fit_the_terminal_is_named_instead_of_broken(tmp_path: Path) -> None:
    path = tmp_path / "sequence.txt"
    path.write_text(sequence(good_run("uc1")))
    wide, narrow, file = io.StringIO(), io.StringIO(), io.StringIO()
    show_chart(path, Console(file=wide, width=WIDTH_MAX + 1, force_terminal=True, color_system=None))
    show_chart(path, Console(file=narrow, width=80, force_terminal=True, color_system=None))
    show_chart(path, Console(file=file, width=80))
    assert path.read_text() in wide.getvalue()
    assert narrow.getvalue() == f"        who told whom what: less -S {path}\n"
    assert path.read_text() in file.getvalue()


def test_a_run_that_did_not_pass_says_why_and_where() -> None:
    evidence = good_run("uc1")
    bad = judge(changed(evidence, run=replace(evidence.run, leftovers=("namespace x",), unknown=("no priority",))))
    lines = list(complaints([bad]))
    assert lines[0].startswith("uc1 #0: fail")
    assert "  unknown: no priority" in lines
    assert "  leftovers: left behind: namespace x" in lines
    assert list(complaints([verdicts()[0]])) == []


def test_what_is_not_judged_is_said_once_a_scenario_and_changes_no_verdict() -> None:
    lied = replace(verdicts()[0], not_judged=("storage of x",))
    text = shown([lied, replace(lied, repeat=1)])
    assert text.count("uc1: not judged: storage of x") == 1
    assert "fail" not in text


def test_the_json_has_exactly_the_documented_form() -> None:
    data = json.loads(json.dumps(build_summary(verdicts(), {"cpu": "x"})))
    assert list(data) == ["format", "machine", "runs", "summary"]
    assert data["format"] == 1
    assert all(list(run) == RUN_KEYS for run in data["runs"])
    assert data["runs"][0]["checks"] == dict.fromkeys(
        ["restored", "order", "cleared", "repaired", "healed", "two_owners", "updates", "leftovers"], True
    )
    assert list(data["runs"][0]["stages_ms"]) == ["detect", "decide", "isolate", "recover"]
    assert list(data["summary"]["uc1"]) == ["n", "outage_ms", "lost", "verdict"]
    assert data["summary"]["uc1"]["outage_ms"] == {"min": 4.0, "median": 6.5, "p95": 9.0, "max": 9.0}


def test_the_machine_is_described_where_nobody_gives_it() -> None:
    assert build_summary([])["machine"]["cpus"] >= 1


def test_the_worst_result_is_the_overall_one() -> None:
    good = verdicts()[0]
    unknown, bad = replace(good, verdict="unknown"), replace(good, verdict="fail")
    assert overall([good, good]) == "pass"
    assert overall([good, unknown]) == "unknown"
    assert overall([unknown, bad, good]) == "fail"
    assert overall([]) == "unknown"


def test_figures_that_are_not_known_are_left_out_of_statistics() -> None:
    assert statistics([None, None]) == {"min": None, "median": None, "p95": None, "max": None}
    assert statistics([1.0, None, 3.0])["median"] == 2.0
    assert statistics(list(range(1, 101)))["p95"] == 95
