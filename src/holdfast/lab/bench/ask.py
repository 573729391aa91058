"""Asks the registry of this host whether it is well: once, for keepalived's script, or every 10 ms, for its helper.

In: with `--every-ms N --told FILE`, FILE gets `0` while it is well and `1` after three answers missed; without, once.
Exit status (once): 0 if it answered within 0.5 s, else 1. Only the standard library, so that starting it costs little.
"""

import os
import socket
import sys
import time

PORT = 5300
ONCE_LIMIT_S = 0.5
MISSES = 3
REALTIME_PRIORITY = 45


def ask_once(sock: socket.socket, number: int, limit_s: float) -> bool:
    """Whether the answer to this very question came in time."""
    end = time.monotonic() + limit_s
    try:
        sock.send(b"%d get well" % number)
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            if sock.recv(512).startswith(b"%d " % number):
                return True
    except OSError:  # Refused, because nobody is there; or nothing came in time.
        time.sleep(max(0.0, end - time.monotonic()))
    return False


def tell(path: str, is_well: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(handle, b"0" if is_well else b"1")
    os.close(handle)


def watch(sock: socket.socket, every_s: float, path: str) -> None:
    misses, was_well, number = 0, None, 0
    due = time.monotonic()
    while True:
        number += 1
        misses = 0 if ask_once(sock, number, every_s) else misses + 1
        is_well = misses < MISSES
        if is_well != was_well:
            tell(path, is_well)
            was_well = is_well
        due = max(due + every_s, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def main(words: list[str]) -> int:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", PORT))
    if not words:
        return 0 if ask_once(sock, os.getpid(), ONCE_LIMIT_S) else 1
    options = dict(zip(words[::2], words[1::2], strict=True))
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
    watch(sock, float(options["--every-ms"]) / 1000, options["--told"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
