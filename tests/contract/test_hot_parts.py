"""The parts of the hot process by themselves: clock, lateness, heartbeats as bytes, link, sockets, rights, tuning."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.suspicion_words import Beat, OwnOnTime, View, patience
from holdfast.errors import UserError, WorldError
from holdfast.model.names import HostName
from holdfast.runtime import hot_beat, hot_rights, hot_tune
from holdfast.runtime.hot_clock import Alarm, now_ns
from holdfast.runtime.hot_lateness import LatenessCounter
from holdfast.runtime.hot_link import HotLink, connected
from holdfast.runtime.hot_process import read_settings
from holdfast.runtime.hot_sockets import DATAGRAM_BYTES_MAX, HotSockets
from holdfast.runtime.hot_words import (
    LINK_QUEUE_MAX,
    PACKET_BYTES_MAX,
    AskStanding,
    HotNetwork,
    HotPeer,
    HotSettings,
    event,
    packed,
)

MS = 1_000_000
LIMIT_S = 20.0


def test_an_alarm_rings_at_its_instant_and_at_once_if_that_has_passed() -> None:
    alarm = Alarm()
    try:
        poll = select.poll()
        poll.register(alarm.fd, select.POLLIN)
        at_ns = now_ns() + 20 * MS
        alarm.set(at_ns)
        assert poll.poll(LIMIT_S * 1000)
        assert now_ns() >= at_ns
        alarm.set(at_ns)
        assert poll.poll(LIMIT_S * 1000)
    finally:
        alarm.close()


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=200))
def test_a_distribution_of_lateness_is_never_told_too_good(lates: list[int]) -> None:
    counter = LatenessCounter()
    for late in lates:
        counter.add(late)
    found = counter.lateness()
    ordered = sorted(lates)
    assert found.max_ns == ordered[-1]
    assert found.rounds == len(lates)
    exact = ordered[max(0, -(-len(lates) * 99 // 100) - 1)]
    assert exact <= found.p99_ns <= max(exact * 1.25, exact + 1000)


def test_a_cleared_counter_begins_anew() -> None:
    counter = LatenessCounter()
    counter.add(5 * MS)
    counter.clear()
    assert counter.lateness().rounds == counter.lateness().max_ns == 0


MICROS = st.integers(0, 3_600_000_000).map(lambda us: us * 1000)
VIEWS = st.builds(View, st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 2**64 - 1), MICROS, MICROS)


@given(MICROS, st.booleans(), st.lists(VIEWS, max_size=hot_beat.VIEWS_MAX).map(tuple))
def test_a_heartbeat_comes_out_as_it_went_in(late_ns: int, hears_you: bool, views: tuple[View, ...]) -> None:
    body = hot_beat.encode(late_ns, hears_you, hot_beat.encode_views(views))
    assert hot_beat.decode(body) == Beat(late_ns, hears_you, views)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_heartbeat_are_none_and_no_error(body: bytes) -> None:
    found = hot_beat.decode(body)
    assert found is None or len(body) == 8 + 24 * len(found.views)


def test_lengths_beyond_an_hour_are_told_as_an_hour() -> None:
    view = View(1, 3, 7, 10**16, 10**16)
    beat = hot_beat.decode(hot_beat.encode(10**16, True, hot_beat.encode_views((view,))))
    assert beat is not None
    assert beat.late_ns == beat.views[0].silent_ns == 3_600_000_000_000


@pytest.fixture
def link(tmp_path: Path) -> Iterator[HotLink]:
    made = HotLink(tmp_path / "hot.sock")
    try:
        yield made
    finally:
        made.close()


def test_what_the_agent_does_not_read_is_kept_up_to_a_bound_then_dropped_and_counted(
    link: HotLink, tmp_path: Path
) -> None:
    with connected(tmp_path / "hot.sock", LIMIT_S) as agent:
        assert link.accept()
        told = 0
        while not link.has_gap:
            link.tell(OwnOnTime(told))
            told += 1
        assert link.dropped == 1
        kept = told - 1
        assert kept >= LINK_QUEUE_MAX
        read: list[int] = []
        while len(read) < kept:
            one = event(agent.recv(PACKET_BYTES_MAX))
            assert isinstance(one, OwnOnTime)
            read.append(one.at_ns)
            link.flush()
        assert read == list(range(kept))
        assert link.is_drained


def test_a_newer_connection_replaces_the_older_one(link: HotLink, tmp_path: Path) -> None:
    with connected(tmp_path / "hot.sock", LIMIT_S) as former:
        assert link.accept()
        with connected(tmp_path / "hot.sock", LIMIT_S) as present:
            assert link.accept()
            link.tell(OwnOnTime(1))
            assert event(present.recv(PACKET_BYTES_MAX)) == OwnOnTime(1)
            assert former.recv(PACKET_BYTES_MAX) == b""


def test_an_agent_that_speaks_nonsense_is_let_go(link: HotLink, tmp_path: Path) -> None:
    with connected(tmp_path / "hot.sock", LIMIT_S) as agent:
        assert link.accept()
        agent.send(packed(AskStanding()))
        assert link.read() == AskStanding()
        agent.send(b"nonsense")
        assert link.read() is None
        assert link.connection is None
        assert agent.recv(PACKET_BYTES_MAX) == b""
        link.tell(OwnOnTime(1))
        assert link.dropped == 0


def settings_with(**changes: object) -> HotSettings:
    given_ = HotSettings(
        cluster="test",
        me=HostName("a"),
        networks=(HotNetwork("lan", "127.0.0.1", 0),),
        peers={HostName("b"): HotPeer(("127.0.0.1",), 9)},
        heartbeat_ns=10 * MS,
        key_file="key",
        socket="hot.sock",
    )
    return msgspec.structs.replace(given_, **changes)


def test_a_datagram_that_the_own_kernel_does_not_take_is_counted_for_its_network() -> None:
    settings = settings_with(peers={HostName("b"): HotPeer(("255.255.255.255",), 9)})
    with closing(HotSockets(settings.networks, settings.peers)) as sockets:
        sockets.send(HostName("b"), b"x")
        assert sockets.unsent_by_name() == {"lan": 1}
        assert sockets.sent == 0
        assert list(sockets.received(0)) == []


def test_the_longest_letter_arrives_whole() -> None:
    settings = settings_with()
    with closing(HotSockets(settings.networks, settings.peers)) as sockets:
        (link,) = sockets.sockets
        assert isinstance(link, socket.socket)
        longest = bytes(range(256)) * (DATAGRAM_BYTES_MAX // 256)
        link.sendto(longest, link.getsockname())
        select.select([link], [], [], LIMIT_S)
        assert list(sockets.received(0)) == [longest]


def test_an_address_that_is_not_this_hosts_is_refused_with_a_hint() -> None:
    with pytest.raises(WorldError, match="network lan") as refused:
        HotSockets((HotNetwork("lan", "192.0.2.1", 0),), {})
    assert "this host's own" in refused.value.hint


def test_of_two_networks_one_may_be_missing_at_the_start() -> None:
    absent, present = HotNetwork("first", "198.51.100.1", 0), HotNetwork("second", "127.0.0.1", 0)
    with closing(HotSockets((absent, present), {})) as sockets:
        links = [link for link in sockets.sockets if isinstance(link, socket.socket)]
        assert [link.getsockname()[0] for link in links] == ["198.51.100.1", "127.0.0.1"]
    with pytest.raises(WorldError, match="network first"):
        HotSockets((absent, HotNetwork("second", "198.51.100.2", 0)), {})


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(msgspec.json.encode(settings_with()))
    assert read_settings(path) == settings_with()
    path.write_bytes(msgspec.json.encode(settings_with(peers={HostName("b"): HotPeer(())})))
    with pytest.raises(UserError, match="peers b do not fit"):
        read_settings(path)
    path.write_text("{}")
    with pytest.raises(UserError, match="not understood"):
        read_settings(path)


def test_rights_that_are_refused_are_told_and_the_rest_goes_on() -> None:
    program = (
        "import resource, os, json, msgspec\n"
        "from holdfast.runtime import hot_rights\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "if os.getuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "print(msgspec.json.encode(hot_rights.claim(50)).decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=LIMIT_S)
    rights = msgspec.json.decode(done.stdout)
    assert [lack["what"] for lack in rights["lacks"]] == ["memory is not locked", "no SCHED_FIFO 50"]
    assert all(lack["reply"] and lack["hint"] for lack in rights["lacks"])
    assert rights["got"] == ["timers are not rounded"]


GROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.mark.skipif(
    os.getuid() != 0 or not (GROUPS / "cpu.rt_runtime_us").exists(),
    reason="takes root, and control groups of version 1 with a share for real-time scheduling",
)
def test_a_control_group_that_gives_no_time_to_real_time_scheduling_is_left() -> None:
    group = GROUPS / f"holdfast-test-{os.getpid()}"
    group.mkdir()
    program = (
        "import os, sys, pathlib\n"
        f"pathlib.Path({str(group / 'cgroup.procs')!r}).write_text(str(os.getpid()))\n"
        "from holdfast.runtime import hot_rights\n"
        "rights = hot_rights.claim(50)\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(os.sched_getscheduler(0))\n"
        "of_child = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "scheduled = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK\n"
        "print(scheduled == os.SCHED_FIFO, of_child == os.SCHED_OTHER, '; '.join(rights.got))\n"
    )
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S)
    finally:
        group.rmdir()
    assert done.stderr == ""
    assert done.stdout.startswith("True True ")
    assert f"left the control group /{group.name}, which gives no time to real-time scheduling" in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="a higher priority takes root")
def test_an_agent_precedes_others_and_what_it_starts_does_not() -> None:
    program = (
        "import os, subprocess\n"
        "from holdfast.runtime import hot_rights\n"
        "assert hot_rights.precede() is None\n"
        "print(os.getpriority(os.PRIO_PROCESS, 0), subprocess.check_output(['nice'], text=True).strip())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S, start_new_session=True
    )
    assert (done.stdout.strip(), done.stderr) == (f"{hot_rights.AGENT_NICE} 0", "")


def test_an_agent_that_may_not_precede_others_says_so() -> None:
    program = (
        "import os\n"
        "from holdfast.runtime import hot_rights\n"
        "if os.getuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "lack = hot_rights.precede()\n"
        "print(lack.what, lack.reply, lack.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert done.stdout == "no nice value of -15 Permission denied CAP_SYS_NICE\n"


@pytest.mark.skipif(os.getuid() != 0, reason="pings need root")
def test_a_measurement_tells_lateness_and_round_trips() -> None:
    jitter = hot_tune.measure(0.2, ["127.0.0.1,127.0.0.2", "127.0.0.3"], priority=0)
    assert jitter.peers == (("127.0.0.1", "127.0.0.2"), ("127.0.0.3",))
    assert set(jitter.round_trips) == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
    assert jitter.rounds > 0
    assert 0 < jitter.late_p50_ns <= jitter.late_p99_ns <= jitter.late_max_ns
    assert jitter.round_trips["127.0.0.1"].sent > 0
    assert jitter.tick_ns >= MS


def test_a_measurement_of_nonsense_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be measured"):
        hot_tune.measure(0)
    with pytest.raises(UserError, match="no address"):
        hot_tune.measure(0.1, ["nowhere.invalid"], priority=0)


def test_patience_ends_before_a_grant_of_five_heartbeats() -> None:
    limits = patience(10 * MS)
    assert limits.degraded_after_ns < limits.suspected_after_ns < limits.failed_after_ns < 50 * MS
