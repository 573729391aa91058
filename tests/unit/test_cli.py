"""The command line: exit statuses, messages with a hint, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from holdfast.cli.status import gathered, show
from holdfast.cli.why import wall_time
from holdfast.model.layout import Layout
from holdfast.model.names import HA
from holdfast.model.records import Opened
from holdfast.runtime.folder import RunFolder
from holdfast.store.journal import Journal


def holdfast(base: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOLDFAST_RUN": str(base), "NO_COLOR": "1"},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_mistake_in_a_descriptor_has_exit_status_2_and_its_line(tmp_path: Path) -> None:
    descriptor = tmp_path / "wrong.yaml"
    descriptor.write_text("holdfast: 1\nname: x\nvnfz: {}\n")
    status, output, error = holdfast(tmp_path, "validate", str(descriptor))
    assert status == 2
    assert "wrong.yaml:3" in output
    assert "vnfs" in output
    assert "mistake" in error
    assert holdfast(tmp_path, "up", str(descriptor))[0] == 2


def test_an_error_of_the_operating_system_is_a_message_too() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("holdfast: no space left on device\nhint: ")


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_place_for_results_that_cannot_be_written_is_named_at_once(tmp_path: Path, option: str) -> None:
    where = "/proc/nowhere/results"
    status, output, error = holdfast(tmp_path, "lab", "run", "uc1", "--out", str(tmp_path), option, where)
    assert status == 2
    assert where in error
    assert "hint:" in error
    assert output == ""


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, _, error = holdfast(tmp_path, "up", str(tmp_path / "none.yaml"))
    assert status == 2
    assert "none.yaml" in error
    assert "hint:" in error


@pytest.mark.parametrize("words", [("status",), ("down",), ("why",), ("switchover", "dns")])
def test_without_a_deployment_commands_say_how_to_start_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, _, error = holdfast(tmp_path, *words)
    assert status == 2
    assert "no deployment is running here" in error
    assert "holdfast up FILE" in error


def test_among_several_deployments_one_must_be_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "layout.json").write_bytes(msgspec.json.encode(Layout(name=name)))
    status, _, error = holdfast(tmp_path, "status")
    assert status == 2
    assert "a, b" in error
    assert holdfast(tmp_path, "status", "c")[0] == 2


SEVERAL = """\
holdfast: 1
name: three
grants: default
hosts: {a: {}, b: {}, c: {}}
vnfs:
  web: {sal: 1, redundancy: 2N, place: [a, b], interface: {address: 10.77.0.100, port: 80}, start: sleep 9}
"""


@pytest.mark.parametrize("words", [("status",), ("switchover", "web")])
def test_where_no_manager_leads_the_hosts_to_be_asked_are_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    descriptor = tmp_path / "three.yaml"
    descriptor.write_text(SEVERAL)
    assert holdfast(tmp_path, "prepare", str(descriptor))[0] == 0
    status, _, error = holdfast(tmp_path, *words)
    assert status == 1
    assert "no manager of three leads on this host; the services go on without one" in error
    assert "ask on a, b, c in turn" in error
    status, _, error = holdfast(tmp_path, "up", str(descriptor))
    assert status == 2
    assert "`up` runs all of a deployment on this machine" in error


def test_a_manager_of_several_hosts_does_not_run_without_the_store_that_they_share(tmp_path: Path) -> None:
    descriptor = tmp_path / "three.yaml"
    descriptor.write_text(SEVERAL)
    assert holdfast(tmp_path, "prepare", str(descriptor))[0] == 0
    for store in ((), ("--store", "")):
        status, _, error = holdfast(tmp_path, "manager", "--folder", str(tmp_path / "three"), *store)
        assert status == 2
        assert "three has 3 hosts, so its managers share a store, and none is given" in error


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    descriptor = tmp_path / "three.yaml"
    descriptor.write_text(SEVERAL)
    assert holdfast(tmp_path, "prepare", str(descriptor))[0] == 0
    key = tmp_path / "three" / "key"
    key.chmod(0o640)
    status, _, error = holdfast(tmp_path, "agent", "--folder", str(tmp_path / "three"), "--host", "a")
    assert status == 2
    assert f"others may read the key {key}" in error
    assert f"chmod 600 {key}" in error


LOCK = ("lock", "b", "--is-off", "--yes")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("lock", "b"), 2, "`holdfast lock b --is-off`"),
        (("lock", "bb", "--is-off"), 2, "did you mean b?"),
        (("unlock", "z"), 2, "expected one of a, b, c"),
        (LOCK, 1, "no manager of three leads on this host"),
        (("unlock", "b"), 1, "ask on a, b, c in turn"),
    ],
)
def test_a_host_is_locked_only_by_who_knows_that_it_is_off(
    tmp_path: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    descriptor = tmp_path / "three.yaml"
    descriptor.write_text(SEVERAL)
    assert holdfast(tmp_path, "prepare", str(descriptor))[0] == 0
    found, _, error = holdfast(tmp_path, *words)
    assert (found, said in error) == (status, True), error


def test_before_a_host_is_locked_a_person_reads_what_follows_and_may_still_say_no(tmp_path: Path) -> None:
    descriptor = tmp_path / "three.yaml"
    descriptor.write_text(SEVERAL.replace("redundancy: 2N", "redundancy: 2N, reserve: spare, state: external"))
    assert holdfast(tmp_path, "prepare", str(descriptor))[0] == 0
    status, said, _ = holdfast(tmp_path, "lock", "b", "--is-off")  # nobody answers the question
    assert status == 1
    assert "- what ran there (web-2) is taken over elsewhere, at once" in said
    assert "- so is the storage of web: if b still writes to it, it is destroyed" in said
    assert "- it votes no longer, so that the others can agree without it" in said
    assert "Are you sure that b is off? [y/N]" in said


def test_who_votes_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    voters = {"version": 3, "state": "used", "members": ["a", "w"], "witnesses": ["w"], "since": 1.0}
    party = {"party": "vim", "now": 1.0, "agents": {}, "vnfs": {}, "vms": {}, "incidents": [], "alarms": {}}
    show(gathered("x", "/run/x", {"vim": {**party, "voters": voters, "outstanding": []}}))
    told = capsys.readouterr().out
    assert "voters: a, w (witness) (version 3; its change is under way (used))" in told


def test_what_is_shown_of_a_host_whose_agent_is_away_is_what_was_known_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    vnfc = {"condition": "ready", "role": "standby", "run": 1, "host": "b", "vm": "vm-b", "detail": "[Errno 5]"}
    vnfc["known"] = False
    party = {
        "party": "vim",
        "now": 1.0,
        "agents": {"a": True, "b": False},
        "vnfs": {"web": {"services": {}, "vnfcs": {"web-2": vnfc}}},
        "vms": {"vm-b": {"host": "b", "condition": "up", "boot": 1, "known": False}},
        "incidents": [],
        "alarms": {"host:b": "the agent of host b is away"},
        "outstanding": [],
    }
    show(gathered("x", "/run/x", {"vim": party}))
    told = capsys.readouterr().out
    assert "alarm host:b: the agent of host b is away" in told  # and not a picture in the place of `:b:`
    assert told.count("unknown") == 3  # its condition, its role, and its VM
    assert "last known: ready, standby; its host's agent is away" in " ".join(told.split())
    assert "last known: up; its host's agent is away" in " ".join(told.split())
    assert "ready" not in told.replace("last known: ready", "")
    assert "[Errno 5]" in told
    assert "agent b is not joined with vim" in told


def test_a_wrong_word_has_exit_status_2(tmp_path: Path) -> None:
    assert holdfast(tmp_path, "frobnicate")[0] == 2
    assert holdfast(tmp_path, "up", "--managers", "seven", "x.yaml")[0] == 2


def test_the_schema_is_json(tmp_path: Path) -> None:
    status, output, _ = holdfast(tmp_path, "schema")
    assert status == 0
    assert msgspec.json.decode(output)["$schema"].startswith("https://json-schema.org")


def test_why_tells_a_folder_where_nothing_has_failed_and_refuses_one_without_a_journal(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    status, _, error = holdfast(tmp_path, "why", "--folder", str(folder.root))
    assert status == 2
    assert "no journal" in error
    journal = Journal(folder.journal(HA), HA)
    journal.opened(1.0, 2.0, 3)
    journal.close()
    assert "no failure has been seen so far" in holdfast(tmp_path, "why", "--folder", str(folder.root))[1]
    folder.journal(HA).write_text("rubbish\n")
    status, _, error = holdfast(tmp_path, "why", "--folder", str(folder.root))
    assert status == 1
    assert "ha.jsonl:1" in error


def test_the_time_of_day_is_that_of_the_clock_when_the_process_began() -> None:
    """It was set back by an hour between the two."""
    records = [Opened(10.0, HA, 1, 5000.0, pid=1), Opened(70.0, HA, 9, 1460.0, pid=2)]
    assert [wall_time(at, list(records)) for at in (9.0, 15.0, 69.0, 71.0)] == [0.0, 5005.0, 5059.0, 1461.0]


def test_a_manager_that_is_away_is_shown_as_such() -> None:
    document = gathered("x", "/run/x", {"ha": {"party": "ha", "away": "ha does not answer"}})
    assert document["managers"] == {"ha": {"away": "ha does not answer"}}
    assert document["now"] is None
