"""A component that behaves well until it finds the file `misbehave` in its folder, and then in the way named there.

It speaks the component protocol with nothing but the standard library, as a user's own might; `name` of the file is one
of the functions below. It answers on its UDP port, at whatever address, with its own name.
"""

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

NAME = os.environ["HOLDFAST_VNFC"]
TOLD = Path(os.environ["HOLDFAST_DIR"]) / "misbehave"
PORT = int(os.environ["PORT"])


def door() -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.connect(os.environ["HOLDFAST_SOCKET"])
    return link


def floods_with_lines(agent: socket.socket) -> None:
    while True:
        agent.sendall(b"@1 ok\n" * 1000)


def floods_with_one_line(agent: socket.socket) -> None:
    while True:
        agent.sendall(b"unwell reason=" + b"x" * 65536)


def floods_with_losses(agent: socket.socket) -> None:
    other = {"bad-1": "bad-2", "bad-2": "bad-1"}[NAME]
    while True:
        agent.sendall(f"lost standby={other} epoch=1\n".encode())


def floods_with_connections(agent: socket.socket) -> None:
    kept = []
    while True:
        try:
            kept.append(door())
        except OSError:
            kept.clear()


def speaks_nonsense(agent: socket.socket) -> None:
    agent.sendall(b"\xff\xfe\0 what?\n")
    signal.pause()


def speaks_of_others(agent: socket.socket) -> None:
    agent.sendall(b"synced standby=good-1 epoch=1\n")
    signal.pause()


def takes_anothers_name(agent: socket.socket) -> None:
    agent.sendall(b"hello version=1 name=good-1\n")
    signal.pause()


def forks_away(agent: socket.socket) -> None:
    """A child of a child, in a session of its own, deaf to signals, goes on answering; the one that is watched ends."""
    if os.fork():
        os._exit(3)
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pause()


def hangs(agent: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pause()


def fills_its_output(agent: socket.socket) -> None:
    """Goes on doing its work."""
    for _ in range(40):
        os.write(1, b"x" * (1 << 20))
        os.write(2, b"y\n")
    (TOLD.parent / "done").touch()


def says_it_is_active(agent: socket.socket) -> None:
    """Goes on, on a connection of its own that says so."""
    again = door()
    again.sendall(f"hello version=1 name={NAME} role=active service=bad epoch=99\n".encode())
    os.dup2(again.fileno(), agent.fileno())
    (TOLD.parent / "done").touch()


def misbehave(agent: socket.socket) -> None:
    way = TOLD.read_text().strip() if TOLD.exists() else ""
    if way:
        TOLD.unlink()
        globals()[way](agent)


def main() -> None:
    agent, asked = door(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind(("", PORT))
    agent.sendall(f"hello version=1 name={NAME}\n".encode())
    rest = b""
    while True:
        ready, _, _ = select.select([agent, asked], [], [], 0.02)
        if asked in ready:
            _, whom = asked.recvfrom(100)
            asked.sendto(f"{NAME} {time.monotonic():.3f}".encode(), whom)
        if agent in ready:
            *lines, rest = (rest + agent.recv(65536)).split(b"\n")
            for line in lines:
                if line.startswith(b"@"):
                    agent.sendall(line.split(b" ")[0] + b" ok\n")
                if line.endswith(b" stop"):
                    sys.exit(0)
        misbehave(agent)


if __name__ == "__main__":
    main()
