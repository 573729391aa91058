"""What keepalived is told: its configuration for each way in which it is measured.

In: a setting, a host. Out: the text of `keepalived.conf`.

Each host's daemon runs in the first PID namespace, because the kernel tells of ended processes (`track_process`) only
there; `net_namespace` has it live in the host's network all the same. So the process it tracks is named by an option
that only the service of that host has.
"""

from dataclasses import dataclass
from pathlib import Path

ADDRESS = "10.77.0.100"
INTERFACE = "uplink"
MODULE = "holdfast.lab.functions.registry"
BETTER, OTHER = "ka1", "ka2"
"""The hosts; the first one has the higher priority."""


@dataclass(frozen=True)
class Setting:
    """One way of using keepalived."""

    name: str
    says: str
    advert: str
    """Seconds between two advertisements, as keepalived takes them."""
    priorities: tuple[int, int]
    version: int
    realtime: bool
    helper: bool = False
    """A helper of ours checks the service every 10 ms and tells by a file; otherwise a script does, every second."""


DEFAULT = Setting("keepalived", "keepalived, near its defaults: an advertisement a second", "1", (100, 99), 2, False)
TUNED = Setting("keepalived-tuned", "keepalived, VRRPv3, 10 ms, real-time priority", "0.01", (254, 253), 3, True)
HELPED = Setting(
    "keepalived-helper", "as tuned, and a helper that checks every 10 ms", "0.01", (254, 253), 3, True, helper=True
)
SETTINGS = {one.name: one for one in (DEFAULT, TUNED, HELPED)}


def service_words(python: str, host: str) -> list[str]:
    """How the service of that host is started."""
    return [python, "-m", MODULE, "--interface", host, "--state", "none", "--start", "serving"]


def configuration(setting: Setting, host: str, python: str, folder: Path) -> str:
    """`keepalived.conf` of that host; `folder` is where its files are."""
    priority = setting.priorities[host != BETTER]
    # Without a longer limit the kernel ends a daemon of real-time priority as it starts, again and again.
    realtime = " vrrp_rt_priority 50\n vrrp_rlimit_rttime 1000000\n" if setting.realtime else ""
    return f"""net_namespace {host}
global_defs {{
 router_id {host}
 vrrp_version {setting.version}
 script_user root
{realtime}}}
vrrp_track_process service {{
 process "{python}" "-m" "{MODULE}" "--interface" "{host}"
 param_match initial
}}
{_check(setting, python, folder)}
vrrp_instance shared {{
 state BACKUP
 interface {INTERFACE}
 virtual_router_id 51
 priority {priority}
 advert_int {setting.advert}
 virtual_ipaddress {{ {ADDRESS}/24 }}
 track_process {{ service }}
 {"track_file" if setting.helper else "track_script"} {{ well }}
}}
"""


def daemon_words(folder: Path) -> list[str]:
    """How the daemon of a host is started. The kernel ends it with whoever started it; its own child it ends itself."""
    files = {"-f": "keepalived.conf", "-p": "pid", "-r": "vrrp.pid"}
    named = [word for option, file in files.items() for word in (option, str(folder / file))]
    return ["setpriv", "--pdeathsig", "KILL", "keepalived", "-n", "-l", "-D", "-P", *named]


def _check(setting: Setting, python: str, folder: Path) -> str:
    if setting.helper:
        return f"""vrrp_track_file well {{
 file {told_file(folder)}
 weight 0
 init_file 0
}}"""
    return f"""vrrp_script well {{
 script "{" ".join(ask_words(python))}"
 interval 1
 timeout 1
 fall 1
 rise 1
}}"""


def ask_words(python: str) -> list[str]:
    """The program that asks the service of its host, without what Python loads for others."""
    return [python, "-I", "-S", str(Path(__file__).with_name("ask.py"))]


def told_file(folder: Path) -> Path:
    """Where the helper says whether the service is well: 0, or 1 for a fault."""
    return folder / "well"
