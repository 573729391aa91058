"""The bench beside peers: what keepalived is told, what a trial's files tell, what is summed up of trials."""

import json
from pathlib import Path

import pytest
from msgspec import structs

from holdfast.errors import UserError
from holdfast.lab.bench import own
from holdfast.lab.bench.campaign import SYSTEMS, BenchPlan, can
from holdfast.lab.bench.cases import CASES, GOALS, OWN
from holdfast.lab.bench.keepalived_words import BETTER, OTHER, SETTINGS, configuration, service_words
from holdfast.lab.bench.results import Results
from holdfast.lab.bench.table import HEAD, markdown
from holdfast.lab.bench.trial import Trial, moves
from holdfast.lab.judges.asked import OwnerAnswer, OwnersRun

PYTHON = "/venv/bin/python"
TRIAL = Trial("holdfast", "crash", lost=5, outage_ms=6.0, two_owners_ms=0.0, noise_ms=0.5, moves=1)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_each_daemon_tracks_the_service_of_its_own_host(setting: object) -> None:
    texts = {host: configuration(setting, host, PYTHON, Path("/run/x") / host) for host in (BETTER, OTHER)}  # type: ignore[arg-type]
    for host, text in texts.items():
        words = " ".join(f'"{word}"' for word in service_words(PYTHON, host)[:5])
        assert f" process {words}\n" in text
        assert f"net_namespace {host}\n" in text
        assert text.count("{") == text.count("}")
    priorities = [int(text.partition(" priority ")[2].split()[0]) for text in texts.values()]
    assert priorities[0] > priorities[1]


def test_only_tuned_ones_have_real_time_priority_and_then_a_limit_they_can_live_with() -> None:
    texts = {name: configuration(one, BETTER, PYTHON, Path("/run/x")) for name, one in SETTINGS.items()}
    assert [("vrrp_rt_priority" in text, "vrrp_rlimit_rttime" in text) for text in texts.values()] == [
        (False, False), (True, True), (True, True),
    ]  # fmt: skip
    assert ["track_file" in text for text in texts.values()] == [False, False, True]


def _owners(*spans: tuple[str, float, float]) -> OwnersRun:
    answers = [
        OwnerAnswer(begin + n * 0.005, mac) for mac, begin, end in spans for n in range(round((end - begin) * 200))
    ]
    return OwnersRun("10.77.0.100", 0.005, 0.0, 10.0, [answer.at for answer in answers], answers)


@pytest.mark.parametrize(
    ("spans", "since", "found"),
    [
        ([("a", 0, 3)], 0.5, 0),
        ([("a", 0, 1), ("b", 1, 3)], 0.5, 1),
        ([("a", 0, 1), ("b", 1, 2), ("a", 2, 3)], 0.5, 2),
        ([("a", 0, 1), ("b", 1, 2)], 1.5, 0),
        ([("a", 0, 1), ("b", 1, 1.01), ("a", 1.01, 3)], 0.5, 0),
    ],
)
def test_moves_are_counted_on_the_wire(spans: list[tuple[str, float, float]], since: float, found: int) -> None:
    assert moves(_owners(*spans), since) == found


def test_every_case_of_holdfast_has_a_scenario_that_can_be_read() -> None:
    for system, case in [(one, case) for one in OWN.values() for case in one.scenarios]:
        steps = own.chosen(system, case, 17.0).steps
        assert steps
        assert (case == "idle-load") == any(str(step) == "load 17000ms" for step in steps)


def test_what_is_promised_can_be_measured() -> None:
    for (system, case), goal in GOALS.items():
        assert can(system, case)
        assert not goal.beside or can(goal.beside, case)


def test_one_of_each_comes_before_the_next_of_each_and_the_long_case_once() -> None:
    plan = BenchPlan(("holdfast", "keepalived-tuned"), ("crash", "host-off", "idle-load"), 2, Path("runs"), 60.0)
    results = Results(None, plan.systems)
    results.add(TRIAL)
    assert plan.todo(results) == [
        ("keepalived-tuned", "crash", 0),
        ("keepalived-tuned", "host-off", 0),
        ("holdfast", "idle-load", 0),
        ("keepalived-tuned", "idle-load", 0),
        ("holdfast", "crash", 1),
        ("keepalived-tuned", "crash", 1),
        ("keepalived-tuned", "host-off", 1),
    ]


def _with(*lost: int, system: str = "holdfast", case: str = "crash", **fields: object) -> list[Trial]:
    return [structs.replace(TRIAL, system=system, case=case, lost=number, **fields) for number in lost]


def _reached(*trials: Trial) -> bool | None:
    results = Results(None, SYSTEMS)
    for trial in trials:
        results.add(trial)
    return results.is_reached(trials[0].system, trials[0].case)


def test_a_figure_is_reached_by_its_limit_and_beside_its_peer() -> None:
    assert _reached(*_with(5, 7, 9)) is None
    assert _reached(*_with(5, 7, 9), *_with(7, system="keepalived-tuned")) is True
    assert _reached(*_with(5, 7, 9), *_with(6, system="keepalived-tuned")) is False
    assert _reached(*_with(5, 8, 9), *_with(9, system="keepalived-tuned")) is False
    assert _reached(*_with(44, case="hang"), *_with(36, system="keepalived-helper", case="hang")) is True
    assert _reached(*_with(46, case="hang"), *_with(40, system="keepalived-helper", case="hang")) is False


def test_no_trial_that_has_something_against_it_reaches_anything() -> None:
    assert _reached(*_with(2, case="switchover")) is True
    assert _reached(*_with(2, case="switchover", why=("left behind: a port",))) is False
    assert _reached(*_with(2, 0, case="switchover", two_owners_ms=5.0)) is False
    assert _reached(*_with(50, case="idle-load", moves=0)) is True
    assert _reached(*_with(0, case="idle-load", moves=1)) is False


def test_results_are_kept_trial_by_trial_and_go_on(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    Results(file, SYSTEMS).add(TRIAL)
    again = Results(file, SYSTEMS)
    again.add(structs.replace(TRIAL, lost=9))
    kept = json.loads(file.read_text())
    assert (kept["format"], [trial["lost"] for trial in kept["trials"]]) == (1, [5, 9])
    (row,) = kept["rows"]
    assert (row["system"], row["case"], row["n"]) == ("holdfast", "crash", 2)
    assert (row["lost"]["median"], row["two_owners_ms"], row["false_failovers"]) == (7, 0.0, 0)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "trials": []}', '{"format": 1, "trials": [{"lost": 1}]}'])
def test_a_file_of_something_else_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(UserError, match=r"other\.json holds no results"):
        Results(tmp_path / "other.json", SYSTEMS)


def test_the_table_has_a_row_for_each_and_says_what_is_not_sound() -> None:
    results = Results(None, SYSTEMS)
    for trial in (*_with(5, 6, 7), *_with(10, system="keepalived-tuned"), *_with(3, case="hang", why=("lost it",))):
        results.add(trial)
    lines = markdown(results).splitlines()
    assert lines[0].count("|") == len(HEAD) + 1
    assert all(line.count("|") == len(HEAD) + 1 for line in lines[1:5])
    assert "| 0.60 |" in lines[2]
    assert lines[2].endswith("| lost ≤ 7, ≤ keepalived-tuned | yes |")
    assert lines[-1].startswith("- holdfast, hang: lost it")
    assert set(CASES) >= {row["case"] for row in results.rows()}
