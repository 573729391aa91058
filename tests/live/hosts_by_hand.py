"""Hosts that the lab did not make, for docs/several-hosts.md followed by hand: namespaces with /etc and /var/lib.

A host is a first process in network, mount, PID and UTS namespaces; killing it is switching the host off. What is done
there are the commands of the guide, read from its pages, and of the units in packaging/systemd.
"""

import json
import os
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HOSTS = {"a": "10.77.0.1", "b": "10.77.0.2", "c": "10.77.0.3"}
CLIENT, SERVICE = "10.77.0.9", ("10.77.0.100", 53)
PASSWORDS = {"root": "secret-of-root", "holdfast": "secret-of-holdfast"}
LIMIT_S = 120.0
ANSWER_LIMIT_S = 20.0
FIRST_PROCESS = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
print("up", flush=True)
while True:
    signal.sigwait({signal.SIGCHLD})
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""
MOUNTS = """
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for part in etc var/lib; do
    mkdir -p $1/$part $1/work/$part
    mount -t overlay overlay -o lowerdir=/$part,upperdir=$1/$part,workdir=$1/work/$part /$part
done
hostname $2
exec "$3" -c "$4"
"""


def words(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


def block(page: str, mark: str) -> str:
    """The fenced block of a page of docs/ in which the mark stands."""
    text = (ROOT / "docs" / page).read_text()
    blocks: list[str] = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    found = [one for one in blocks if mark in one]
    assert found, f"{page} has no block with {mark!r}"
    return found[0]


def of_host(text: str, name: str) -> str:
    """What the pages write for host a, for another one: its name in files and settings, its address but in lists."""
    text = re.sub(r"\ba\.(key|csr|ext|pem)\b", rf"{name}.\1", text.replace("/O=holdfast a", f"/O=holdfast {name}"))
    text = re.sub(r"^(HOST|ETCD_NAME)=a$", rf"\1={name}", text, flags=re.MULTILINE).replace(
        "--name=a", f"--name={name}"
    )
    lines = [
        line if ",b=" in line or line.startswith("STORE=") else re.sub(r"10\.(0|77)\.0\.1\b", HOSTS[name], line)
        for line in text.splitlines()
    ]
    return re.sub(r"\b10\.0\.0\.", "10.77.0.", "\n".join(lines)) + "\n"


class Host:
    """One host, switched on."""

    def __init__(self, name: str, disk: Path) -> None:
        self.name, self.disk = name, disk
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        disk.mkdir(exist_ok=True)
        namespaces = ["unshare", "-n", "-m", "-p", "-u", "-f", "--kill-child"]
        program = ["sh", "-c", MOUNTS, "-", str(disk), name, sys.executable, FIRST_PROCESS]
        self._first = subprocess.Popen([*namespaces, *program], stdout=subprocess.PIPE)
        assert self._first.stdout is not None
        assert self._first.stdout.readline() == b"up\n"
        self.pid = int(Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text())
        self.root = Path(f"/proc/{self.pid}/root")
        self.folder = Path("/var/lib/holdfast/dns")
        words("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(self.pid))
        words("ip", "link", "set", f"to-{name}", "master", "switch", "up")
        self.shell("ip link set lo up")
        self.shell(of_host(block("several-hosts.md", "ip link add hf0"), name))

    def switch_off(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        for process in (self._first, *self.running.values()):
            process.wait(LIMIT_S)
        self.running.clear()

    def command(self, *command: str) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "--wd=/root", *command]

    def shell(self, text: str, at: str = "/") -> str:
        return words(*self.command("bash", "-e", "-c", f"cd {at}\n{text}"), env=self.environment())

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOLDFAST_RUN": "/var/lib/holdfast"}

    def holdfast(self, *command: str, expected: int = 0) -> str:
        done = subprocess.run(
            self.command(sys.executable, "-m", "holdfast", *command),
            env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
        assert done.returncode == expected, f"{self.name}: {command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode)
        file.write_text(text)

    def settings(self, path: str) -> dict[str, str]:
        """As systemd reads an environment file."""
        lines = shlex.split((self.root / path.lstrip("/")).read_text(), comments=True)
        return dict(line.split("=", 1) for line in lines)

    def start(self, what: str, *command: str) -> None:
        with self.log(what).open("ab") as log:
            self.running[what] = subprocess.Popen(
                self.command(*command), env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def log(self, what: str) -> Path:
        return self.disk / f"{what}.log"

    def start_unit(self, what: str) -> None:
        """What `systemctl start holdfast-WHAT@dns` would execute."""
        unit = (ROOT / "packaging" / "systemd" / f"holdfast-{what}@.service").read_text().replace("%i", "dns")
        line = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)[0]
        (file,) = re.findall(r"^EnvironmentFile=(.*)$", unit, re.MULTILINE)
        given = self.settings(file)
        program, *rest = [re.sub(r"\$\{(\w+)\}", lambda found: given[found[1]], word) for word in line.split()]
        assert program == "/opt/holdfast/bin/holdfast"
        self.start(what, sys.executable, "-m", "holdfast", *rest)

    def start_etcd(self) -> None:
        """As Debian's unit does: as a user of its own, with /etc/default/etcd."""
        given = [f"{name}={value}" for name, value in self.settings("/etc/default/etcd").items()]
        as_etcd = ["setpriv", "--reuid=etcd", "--regid=etcd", "--clear-groups", "env", *given]
        self.start("etcd", *as_etcd, "etcd", "--logger=zap", "--log-level=warn")

    def end(self, what: str) -> int:
        process = self.running.pop(what)
        inner = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(inner[0]), signal.SIGTERM)  # nsenter itself does not pass it on
        return process.wait(LIMIT_S)

    def etcdctl(self, *command: str) -> str:
        return self.shell(f"set -a; . /etc/etcd/etcdctl.env; set +a; etcdctl {shlex.join(command)}")

    def status(self) -> dict[str, Any]:
        """What its manager says; empty where another one leads."""
        shown: dict[str, Any] = json.loads(self.holdfast("status", "dns", "--json"))
        return {} if all("away" in part for part in shown["managers"].values()) else shown


class Client:
    """Somebody outside who asks all the time, and counts the questions that were never answered."""

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)
        self._thread.start()

    def _ask_on(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            number = 0
            while not self._is_over.is_set():
                number = (number + 1) % 65536
                self._asked[number] = time.monotonic()
                query = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + b"\7version\4bind\0\0\x10\0\3"
                with suppress(OSError):  # Counted as not answered.
                    line.sendto(query, SERVICE)
                select.select([], [], [], 0.01)
                while select.select([line], [], [], 0)[0]:
                    self._asked.pop(struct.unpack("!H", line.recv(512)[:2])[0], None)

    def unanswered(self, since: float) -> int:
        """How much of what was asked since then; answers that are on their way are waited for."""
        until = time.monotonic()
        while open_ := sum(since <= at < until for at in list(self._asked.values())):
            if time.monotonic() > until + ANSWER_LIMIT_S:
                break
            select.select([], [], [], 0.01)
        return open_

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()


def certificates(folder: Path) -> None:
    """As the page has them made on one machine."""
    text = block("etcd.md", "openssl req -x509")
    authority, _, member = text.partition("openssl req -newkey")
    for part in (authority, *(of_host(f"openssl req -newkey{member}", name) for name in HOSTS)):
        words("bash", "-e", "-c", part, cwd=folder)


def furnish(host: Host, made: Path) -> None:
    """Step 3 as far as one host goes alone, and the files of steps 4 and 5."""
    name = host.name
    for file, mode in (("ca.pem", 0o644), (f"{name}.pem", 0o644), (f"{name}.key", 0o600)):
        host.write(f"/etc/etcd/{file}", (made / file).read_text(), mode)
    host.shell(of_host(block("etcd.md", "chown etcd: /etc/etcd/a.key"), name))
    host.write("/etc/default/etcd", of_host(block("etcd.md", "ETCD_NAME=a"), name))
    host.write("/etc/etcd/etcdctl.env", of_host(block("etcd.md", "ETCDCTL_API=3"), name), 0o600)
    host.write("/etc/holdfast/etcd.password", f"{PASSWORDS['holdfast']}\n", 0o600)
    host.write("/etc/holdfast/dns.env", of_host(block("several-hosts.md", "STORE="), name), 0o600)
    host.write("/etc/holdfast/dns.yaml", block("several-hosts.md", "holdfast: 1"))


def authenticate(hosts: Mapping[str, Host]) -> None:
    text = block("etcd.md", "etcdctl auth enable").replace("/holdfast/prod/", "/holdfast/dns/")
    for user, password in PASSWORDS.items():
        text = text.replace(f"user add {user}", f"user add {user}:{password}")
    hosts["a"].shell(text)
    for host in hosts.values():
        file = host.root / "etc/etcd/etcdctl.env"
        file.write_text(f"{file.read_text()}ETCDCTL_USER=root:{PASSWORDS['root']}\n")
    assert hosts["b"].etcdctl("endpoint", "health", "--cluster").count("is healthy") == len(HOSTS)
