"""The probe, as a process of its own against a function on loopback, and its parts alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from holdfast.lab import probe_words as words
from holdfast.lab.judges.probed import PUT, Gap, ProbeRun, load_probe, save_probe
from holdfast.lab.probe import BURST_MAX, PAUSE_WORTH_NOTING_S
from holdfast.lab.probe_record import Recorder, Updates
from holdfast.lab.probe_words import Heard
from tests.unit.probed_function import Dns, Function, Http, Registry


@contextmanager
def probing(function: Function, kind: str, out: Path, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A probe that has got its first answer; told to stop at the end of the block."""
    command = [sys.executable, "-m", "holdfast.lab.probe", "--kind", kind, "--address", function.address]
    status = [int(word) for flag, word in pairwise(more) if flag == "--status-fd"]
    with subprocess.Popen(
        [*command, "--port", str(function.port), "--out", str(out), *more], stdout=subprocess.PIPE, pass_fds=status
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_healthy_registry_loses_nothing(tmp_path: Path) -> None:
    with Registry() as function, probing(function, "registry", tmp_path / "probe"):
        function.wait_for(300)
    run = load_probe(tmp_path / "probe")
    assert run.sent >= 290
    assert (run.lost, run.updates_lost, run.verified) == (0, 0, True)
    assert run.answered_well_at_the_end()
    assert {(answer.owner, answer.epoch) for answer in run.answers()} == {("one", 1)}
    assert sum(kind == PUT for kind in run.kinds) >= 140


def test_requests_go_out_each_millisecond_whether_answered_or_not(tmp_path: Path) -> None:
    with Registry() as function, probing(function, "registry", tmp_path / "probe"):
        function.wait_for(50)
        function.keep_from_answering(200)
        function.wait_for(50)
    run = load_probe(tmp_path / "probe")
    # Never too early, and by no more too late than it says of itself; what it sent last nobody looked at any more.
    late = [at - run.began_at - n * 0.001 for n, at in enumerate(run.sent_at)]
    assert min(late) >= -1e-6
    assert max(late[:-BURST_MAX]) < late[0] + 2 * run.noise_s + PAUSE_WORTH_NOTING_S + 0.001


def test_an_outage_is_the_longest_silence_and_the_requests_in_it_are_lost(tmp_path: Path) -> None:
    with Registry() as function, probing(function, "registry", tmp_path / "probe"):
        function.wait_for(100)
        function.keep_from_answering(150)
        function.owner, function.epoch = "two", 2
        function.wait_for(300)
    run = load_probe(tmp_path / "probe")
    lost = [n for n, at in enumerate(run.answered_at) if at < 0]
    assert run.lost == len(lost) == 150
    assert lost == list(range(lost[0], lost[0] + 150))
    silence = Gap(max(run.answered_at[: lost[0]]), min(run.answered_at[lost[-1] + 1 :]), ended=True)
    gaps = run.gaps(run.began_at)
    assert silence in gaps
    # On a busy machine another silence may be longer.
    assert run.outage(run.began_at) == max(gaps, key=lambda gap: gap.end - gap.begin)
    assert [answer.owner for answer in run.answers()][-1] == "two"
    assert run.answered_well_at_the_end()


def test_the_status_lines_tell_up_down_up(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as lines:
        option = ("--status-fd", str(write_end))
        with Registry() as function, probing(function, "registry", tmp_path / "probe", *option):
            os.close(write_end)
            function.wait_for(60)
            function.is_silent = True
            said = [lines.readline().split(), lines.readline().split()]
            function.is_silent = False
            said.append(lines.readline().split())
        assert [word for word, _ in said] == ["up", "down", "up"]
        times = [float(at) for _, at in said]
        assert times == sorted(times)


def test_acknowledged_updates_that_are_gone_are_found(tmp_path: Path) -> None:
    with Registry() as function, probing(function, "registry", tmp_path / "probe"):
        function.wait_for(200)
        function.is_silent = True
        function.wait_for(5)
        forgotten = [key for key in function.updates if int(key.removeprefix("p-")) > 150]
        for key in forgotten:
            del function.updates[key]
        function.is_silent = False
        function.wait_for(100)
    run = load_probe(tmp_path / "probe")
    acknowledged = {n for n in range(run.sent) if run.kinds[n] == PUT and run.answered_at[n] >= 0}
    expected = {int(key.removeprefix("p-")) for key in forgotten} & acknowledged
    assert expected
    assert set(run.lost_updates) == expected
    assert run.verified


def test_a_registry_that_stays_away_cannot_be_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.lab.probe import read_back
    from holdfast.lab.probe_clients import UdpClient

    updates = Updates("p-")
    updates.acknowledged.append(1)
    with Registry() as function:
        function.is_silent = True
        client = UdpClient(function.address, function.port, words.registry_answer)
        assert read_back(client, updates, 10, limit_s=0.1) is False
        client.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_dns_function_is_asked_for_its_owner(tmp_path: Path, address: str) -> None:
    with Dns(address) as function, probing(function, "dns", tmp_path / "probe"):
        function.wait_for(100)
        function.owner, function.epoch = "two", 7
        function.wait_for(100)
    run = load_probe(tmp_path / "probe")
    assert run.lost <= 1
    assert run.verified is None
    assert [(a.owner, a.epoch) for a in (run.answers()[0], run.answers()[-1])] == [("one", 1), ("two", 7)]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_http_function_is_asked_on_a_new_connection_each_time(tmp_path: Path, address: str) -> None:
    with Http(address) as function, probing(function, "http", tmp_path / "probe"):
        function.wait_for(150)
    run = load_probe(tmp_path / "probe")
    assert run.sent >= 140
    assert run.lost <= 3
    assert {(answer.owner, answer.epoch) for answer in run.answers()} == {("one", 1)}


def test_connections_that_are_never_answered_keep_no_request_from_being_sent() -> None:
    from holdfast.lab.probe_clients import IN_FLIGHT_MAX, HttpClient

    function = Http()  # listens, and never accepts
    client = HttpClient(function.address, function.port)
    for n in range(IN_FLIGHT_MAX + 50):
        client.send(n, b"")
        assert client.receive() == []
    client.close()
    function.socket.close()
    assert function.asked == 0


def test_nobody_listening_is_no_answer_and_no_error(tmp_path: Path) -> None:
    from holdfast.lab.probe_clients import HttpClient, UdpClient

    free = Registry()
    free.socket.close()
    udp = UdpClient(free.address, free.port, words.registry_answer)
    http = HttpClient(free.address, free.port)
    for n in range(20):
        udp.send(n, b"0 get x")
        http.send(n, b"")
        assert udp.receive() == []
        assert http.receive() == []
    udp.close()
    http.close()


def test_a_refusal_is_no_service() -> None:
    recorder = Recorder(10)
    recorder.note_sent(1.0)
    heard = words.registry_answer(b"0 refused one 3 standby")
    assert heard is not None
    assert not recorder.note_answer(heard, 1.1)
    assert recorder.last_answer_at < 0


def test_a_second_answer_to_the_same_request_is_kept_as_evidence() -> None:
    recorder = Recorder(10)
    recorder.note_sent(1.0)
    assert recorder.note_answer(Heard(0, True, "one", 1), 1.1)
    assert not recorder.note_answer(Heard(0, True, "two", 2), 1.2)
    run = recorder.result(ProbeRun("registry", "::1", 1, 0.001))
    assert run.extras == [(0, 1.2, "two", 2)]
    assert run.answers()[0].owner == "one"


def test_a_read_that_misses_an_acknowledged_update_makes_it_missing() -> None:
    updates = Updates("p-")
    updates.note_answer(Heard(0, True, "one", 1), PUT)
    assert updates.choose_read(1) == 0
    updates.note_answer(Heard(1, True, "one", 1, None), updates.kind(1))
    assert updates.missing == {0}


@pytest.mark.parametrize("text", [b"", b"1 ok", b"x ok one 1", b"1 maybe one 1", b"1 ok one x", b"\xff\xfe"])
def test_nonsense_from_a_registry_is_no_answer(text: bytes) -> None:
    assert words.registry_answer(text) is None


@pytest.mark.parametrize("text", [b"", b"\x00" * 11, b"\x00\x01\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00", b"\xff" * 40])
def test_nonsense_from_a_dns_server_is_no_good_answer(text: bytes) -> None:
    heard = words.dns_answer(text, 5)
    assert heard is None or not heard.good


def test_a_dns_answer_belongs_to_the_newest_request_with_its_number() -> None:
    packet = b"\x00\x05\x81\x80\x00\x00\x00\x00\x00\x00\x00\x00"
    heard = words.dns_answer(packet, 65536 + 7)
    assert heard is not None
    assert heard.n == 65536 + 5


def test_an_http_answer_counts_once_its_head_is_there() -> None:
    head = b"HTTP/1.1 200 OK\r\nx-holdfast-owner: web-1\r\nX-Holdfast-Epoch: 4\r\n"
    assert words.http_answer(3, head) is None
    assert words.http_answer(3, head + b"\r\n") == Heard(3, True, "web-1", 4)
    bad = words.http_answer(3, b"HTTP/1.1 503 Busy\r\n\r\n")
    assert bad is not None
    assert not bad.good


def test_a_run_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    recorder = Recorder(10)
    recorder.note_sent(1.0, PUT)
    recorder.note_sent(1.001)
    recorder.note_answer(Heard(0, True, "one", 1), 1.0005)
    recorder.note_pause(1.001, 0.004)
    run = recorder.result(ProbeRun("registry", "::1", 1, 0.001, 1.0, 1.001, lost_updates=[0], verified=True))
    save_probe(run, tmp_path / "probe")
    assert load_probe(tmp_path / "probe") == run
    assert run.noise_s == 0.004


def test_a_silence_that_never_ends_counts_to_the_end_of_the_load() -> None:
    recorder = Recorder(10)
    for n in range(4):
        recorder.note_sent(n / 1000)
    recorder.note_answer(Heard(0, True, "one", 1), 0.0)
    run = recorder.result(ProbeRun("registry", "::1", 1, 0.001, 0.0, 0.003))
    outage = run.outage(0.0)
    assert outage is not None
    assert (outage.begin, outage.end, outage.ended) == (0.0, 0.003, False)
    assert not run.answered_well_at_the_end()


def test_an_old_value_under_a_key_that_is_used_again_counts_as_lost() -> None:
    updates = Updates("p-", "2.")
    assert (updates.key(4), updates.value(4)) == ("p-4", "2.4")
    for n, value in ((0, "2.0"), (2, "1.2")):
        updates.note_answer(Heard(n, True, "one", 1), PUT)
        assert updates.choose_read(n + 1) == n
        updates.note_answer(Heard(n + 1, True, "one", 1, value), updates.kind(n + 1))
    assert updates.missing == {2}
