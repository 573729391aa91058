"""A real cluster of etcd on loopback, for tests and measurements: three members, each a process of ours.

Everything is in one folder; the members write through to the disk as in service. Members end with the cluster,
and with the process that made it, however that ends.
"""

import asyncio
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from holdfast.errors import HoldfastError, MachineLacks
from holdfast.store.etcd import EtcdStore
from holdfast.store.etcd_client import EtcdClient
from holdfast.store.etcd_http import LineBroken
from holdfast.store.etcd_target import Endpoint, Target
from holdfast.store.etcd_words import Status

NAMES = ("a", "b", "c")
READY_LIMIT_S = 30.0
PATIENT_S = 30.0
"""What takes long on a busy machine is no fault; the limits of the product are seen in simulated time."""
TUNED = ("--heartbeat-interval=50", "--election-timeout=500", "--pre-vote")


def wait_until(holds: Callable[[], bool], what: str, limit_s: float = READY_LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        select.select([], [], [], 0.02)


class Certificates:
    """An authority of our own, and certificates from it, made by openssl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.ca = folder / "ca.pem"
        subject = ["-subj", "/CN=authority of a test"]
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject,
                      "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
        self.own = self.issue("client")
        """For clients."""

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for loopback, good for both ends of a connection; and its key."""
        (self.folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-subj", f"/O=test {name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


class Member:
    """One etcd process; its data stay when it is killed."""

    def __init__(self, name: str, arguments: Sequence[str], endpoint: Endpoint, log: Path) -> None:
        self.name = name
        self.endpoint = endpoint
        self.data = log.with_suffix(".data")
        self._arguments = list(arguments)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *extra: str) -> None:
        program = shutil.which("etcd")
        if program is None:
            raise MachineLacks("etcd is not installed", "run scripts/setup as root")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, *self._arguments, *extra], stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    @property
    def runs(self) -> bool:
        return self._process is not None


class Cluster:
    """Three members that know each other.

    Args:
        folder: for data and logs.
        certificates: with them, clients and members speak TLS.
        timing: how fast the members doubt their leader; etcd's own choice if empty.
        token: another one makes another cluster.
    """

    def __init__(
        self, folder: Path, certificates: Certificates | None = None, timing: Sequence[str] = TUNED, token: str = "one"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        ports = free_ports(2 * len(NAMES))
        scheme = "https" if certificates else "http"
        peers = {name: f"{scheme}://127.0.0.1:{port}" for name, port in zip(NAMES, ports, strict=False)}
        self.initial = ",".join(f"{name}={url}" for name, url in peers.items())
        self.peers = peers
        self.members: dict[str, Member] = {}
        for name, port in zip(NAMES, ports[len(NAMES) :], strict=True):
            url = f"{scheme}://127.0.0.1:{port}"
            arguments = [
                f"--name={name}", f"--data-dir={folder / name}.data", f"--initial-cluster={self.initial}",
                f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
                f"--listen-peer-urls={peers[name]}", f"--initial-advertise-peer-urls={peers[name]}",
                f"--initial-cluster-token={token}", "--logger=zap", "--log-level=warn", *timing,
            ]  # fmt: skip
            if certificates is not None:
                cert, key = certificates.issue(name)
                for kind in ("", "peer-"):
                    arguments += [f"--{kind}cert-file={cert}", f"--{kind}key-file={key}"]
                    arguments += [f"--{kind}trusted-ca-file={certificates.ca}"]
                arguments += ["--peer-client-cert-auth"]
            self.members[name] = Member(name, arguments, Endpoint("127.0.0.1", port), folder / f"{name}.log")
        self.certificates = certificates
        self._client_scheme = scheme
        self._aside = ThreadPoolExecutor(1)

    # --- as a simulated one (`etcd_sim.py`)

    keeps_time = False
    """How long something takes depends on the machine: nothing is judged by it."""
    now = staticmethod(time.monotonic)
    run = staticmethod(asyncio.run)

    def client(self, target: Target) -> EtcdClient:
        return EtcdClient(target, PATIENT_S)

    def only_asking_once(self, target: Target) -> EtcdClient:
        """One that never repeats a request, as others do at the next member when one is slow."""
        return EtcdClient(target, PATIENT_S, try_s=PATIENT_S)

    def store(self, target: Target, limit_s: float = PATIENT_S) -> EtcdStore:
        return EtcdStore(target, limit_s)

    def meanwhile(self, act: Callable[[], None]) -> "Future[None]":
        """Do it while the caller goes on."""
        return self._aside.submit(act)

    def aside(self, act: Callable[[], None]) -> Awaitable[None]:
        """Do it, and wait for it, in a story."""
        return asyncio.to_thread(act)

    def nowhere(self, count: int) -> list[Endpoint]:
        """Where nobody listens."""
        return [Endpoint("127.0.0.1", port) for port in free_ports(count)]

    def compact(self, revision: int) -> None:
        self.etcdctl("compact", str(revision))

    def save_snapshot(self, path: Path) -> None:
        # A snapshot is taken from one member.
        self.etcdctl("snapshot", "save", str(path), endpoints=self.urls().split(",")[0])

    # --- what it is

    def target(self, name: str = "test") -> Target:
        endpoints = tuple(member.endpoint for member in self.members.values())
        if self.certificates is None:
            return Target(endpoints, f"/holdfast/{name}")
        cert, key = self.certificates.own
        return Target(
            endpoints, f"/holdfast/{name}", tls=True, ca=str(self.certificates.ca), cert=str(cert), key=str(key)
        )

    def urls(self) -> str:
        return ",".join(f"{self._client_scheme}://{member.endpoint}" for member in self.members.values())

    def etcdctl(self, *arguments: str, endpoints: str = "") -> str:
        told = subprocess.run(
            ["etcdctl", *([] if "restore" in arguments else [f"--endpoints={endpoints or self.urls()}"]), *arguments],
            env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        return told.stdout

    def restore(self, snapshot: Path, token: str) -> None:
        """Every member begins with what the snapshot holds, as a cluster of its own."""
        for name, member in self.members.items():
            member.kill()
            shutil.rmtree(member.data)
            self.etcdctl(
                "snapshot", "restore", str(snapshot), f"--name={name}", f"--data-dir={member.data}",
                f"--initial-cluster={self.initial}", f"--initial-cluster-token={token}",
                f"--initial-advertise-peer-urls={self.peers[name]}",
            )  # fmt: skip
        self.start()

    def start(self) -> None:
        for member in self.members.values():
            if not member.runs:
                member.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until every member that runs knows the same leader, which runs."""
        wait_until(self._is_ready, "a leader that all members know")

    def _is_ready(self) -> bool:
        told = self.statuses()
        running = sum(member.runs for member in self.members.values())
        leaders = {status.leader for status in told.values()}
        return len(told) == running and len(leaders) == 1 and any(status.is_leader for status in told.values())

    def statuses(self) -> dict[str, Status]:
        return asyncio.run(self._statuses())

    async def _statuses(self) -> dict[str, Status]:
        client = EtcdClient(self.target())
        told: dict[str, Status] = {}
        try:
            for member in self.members.values():
                try:
                    told[member.name] = await client.status(member.endpoint, 0.2)
                except HoldfastError as error:
                    if not isinstance(error, LineBroken):
                        raise
        finally:
            await client.close()
        return told

    def leader(self) -> Member:
        """Whoever says that it leads: waited for, as a busy member may not answer at once."""
        found: list[Member] = []

        def is_found() -> bool:
            found.extend(self.members[name] for name, status in self.statuses().items() if status.is_leader)
            return bool(found)

        wait_until(is_found, "a leader")
        return found[0]

    def followers(self) -> list[Member]:
        leader = self.leader()
        return [member for member in self.members.values() if member is not leader]

    def heal(self) -> None:
        """Everything runs again."""
        for member in self.members.values():
            member.thaw()
        self.start()

    def end(self) -> None:
        for member in self.members.values():
            member.kill()
        self._aside.shutdown()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def cluster(folder: Path, certificates: Certificates | None = None, timing: Sequence[str] = TUNED) -> Iterator[Cluster]:
    made = Cluster(folder, certificates, timing)
    try:
        made.start()
        yield made
    finally:
        made.end()
