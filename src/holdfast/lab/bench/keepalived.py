"""One trial with keepalived: its hosts are put up, the client asks, something fails, the client goes on for a while.

In:   a setting, a case, a folder. Out: that folder with what client and watcher saw, and the daemons' logs; a `Trial`.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.errors import HoldfastError, MachineLacks
from holdfast.lab.bench.busy import Busy
from holdfast.lab.bench.keepalived_words import BETTER, OTHER, Setting
from holdfast.lab.bench.peer import PeerHosts
from holdfast.lab.bench.trial import ProcessorTime, Trial, measured
from holdfast.lab.nest import run_with_own_mounts
from holdfast.lab.probing import Probing
from holdfast.lab.scenario import Client

BASE = Path("/run/holdfast-bench")
BEFORE_S, AFTER_S = 0.5, 0.5
RESTORED_LIMIT_S = 15.0
CHECKED_LIMIT_S = 5.0
LOOK_S = 0.004
STORY = "story.json"
"""When the fault began, and what was watched meanwhile."""


def check_machine() -> None:
    if shutil.which("keepalived") is None:
        raise MachineLacks("keepalived is not installed", "run `make setup`")


def play(setting: Setting, case: str, folder: Path, idle_s: float) -> Trial:
    """One trial. Errors: HoldfastError when it left nothing to judge; KeyboardInterrupt."""

    def inside() -> int:
        _Play(setting, folder, idle_s).play(case)
        return 0

    status = run_with_own_mounts(inside)
    if status == 130:
        raise KeyboardInterrupt
    if status != 0 or not (folder / STORY).is_file():
        raise HoldfastError(f"the trial of {setting.name}, {case}, ended with status {status}", f"see {folder}")
    story = json.loads((folder / STORY).read_text())
    return measured(
        setting.name, case, folder, story["since"], cpu_ms_per_s=story["cpu_ms_per_s"], why=story["why"]
    )  # fmt: skip


class _Play:
    def __init__(self, setting: Setting, folder: Path, idle_s: float) -> None:
        self._folder, self._idle_s = folder, idle_s
        self._hosts = PeerHosts(setting, BASE)
        self._cpu: float | None = None
        self._why: list[str] = []

    def play(self, case: str) -> None:
        hosts = self._hosts
        try:
            hosts.open()
            for name in (BETTER, OTHER):
                self._until_well(name)
            runs = (OTHER,) if case == "return" else (BETTER, OTHER)
            for name in runs:
                hosts.start_daemon(name)
            hosts.until_master(runs[0])
            if case != "return":
                hosts.until_backup(OTHER)
            probe = Probing(hosts, hosts.service, Client(kind="registry"), self._folder)
            probe.wait_ready()
            time.sleep(BEFORE_S)
            since = time.monotonic()
            DEEDS[case](self, probe, since)
            time.sleep(AFTER_S)
            probe.stop()
        finally:
            for name in (BETTER, OTHER):
                self._keep_logs(name)
            hosts.close()
        story = {"since": since, "cpu_ms_per_s": self._cpu, "why": self._why}
        (self._folder / STORY).write_text(json.dumps(story))

    def _until_well(self, name: str) -> None:
        """The service answers before anybody is made responsible for it."""
        end = time.monotonic() + CHECKED_LIMIT_S
        while not self._hosts.is_well(name):
            if time.monotonic() > end:
                raise HoldfastError(f"the service on {name} did not answer within {CHECKED_LIMIT_S:g} s of its start")

    def _keep_logs(self, name: str) -> None:
        for log in (BASE / name).glob("*.log"):
            shutil.copyfile(log, self._folder / f"{name}-{log.name}")
        if (conf := BASE / name / "keepalived.conf").is_file():
            shutil.copyfile(conf, self._folder / f"{name}-{conf.name}")

    # --- what is done

    def _until_up(self, probe: Probing, since: float) -> None:
        while not probe.is_up(since):
            if time.monotonic() > since + RESTORED_LIMIT_S:
                self._why.append(f"the service did not answer within {RESTORED_LIMIT_S:g} s")
                return
            time.sleep(LOOK_S)

    def crash(self, probe: Probing, since: float) -> None:
        self._hosts.kill_service(BETTER)
        self._until_up(probe, since)

    def hang(self, probe: Probing, since: float) -> None:
        self._hosts.freeze_service(BETTER)
        self._until_up(probe, since)

    def host_off(self, probe: Probing, since: float) -> None:
        self._hosts.host_off(BETTER)
        self._until_up(probe, since)

    def switchover(self, probe: Probing, since: float) -> None:
        self._hosts.end_daemon(BETTER)
        self._until_up(probe, since)

    def back(self, probe: Probing, since: float) -> None:
        self._hosts.start_daemon(BETTER)
        self._hosts.until_master(BETTER)
        self._until_up(probe, since)

    def idle(self, probe: Probing, since: float) -> None:
        hosts = (BETTER, OTHER)
        with Busy(self._idle_s):
            used = ProcessorTime([pid for name in hosts for pid in self._hosts.processes(name)], since)
            time.sleep(self._idle_s)
            self._cpu = used.ms_per_s(time.monotonic(), len(hosts))


DEEDS: dict[str, Callable[[_Play, Probing, float], None]] = {
    "crash": _Play.crash,
    "hang": _Play.hang,
    "host-off": _Play.host_off,
    "switchover": _Play.switchover,
    "return": _Play.back,
    "idle-load": _Play.idle,
}
