"""The hot process of a host's agent; `hot_main` joins it with sessions and grants.

In:   its settings as JSON (`HotSettings`), the cluster's key in a file.
Out:  heartbeats to the other agents; events on its socket for the own one.
Always: it goes on without its agent, ends on SIGTERM or `EndHot`, and leaves nothing but the log line of its end.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from holdfast.errors import HoldfastError, UserError
from holdfast.model.reading import UNREADABLE
from holdfast.runtime import hot_rights
from holdfast.runtime.hot_clock import now_ns
from holdfast.runtime.hot_link import HotLink
from holdfast.runtime.hot_loop import HotLoop
from holdfast.runtime.hot_sockets import HotSockets
from holdfast.runtime.hot_speech import Rider, Speech
from holdfast.runtime.hot_words import HotSettings

MakeSpeech = Callable[[HotSettings, bytes, int, int], Speech]
"""From settings, key, a fresh incarnation and the clock."""
MakeRider = Callable[[HotSettings, int, int], Rider]
"""From settings, incarnation and the clock."""


def read_settings(path: Path) -> HotSettings:
    """The settings; UserError when they are none."""
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=HotSettings)
    except OSError as error:
        raise UserError(f"settings {path} cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise UserError(f"settings {path} are not understood: {error}", "the agent writes this file") from error
    short = [name for name, peer in settings.peers.items() if len(peer.addresses) != len(settings.networks)]
    if short or not settings.networks or settings.heartbeat_ns <= 0:
        wrong = f"peers {', '.join(short)}" if short else "networks or heartbeat"
        raise UserError(f"settings {path}: {wrong} do not fit", "one address for each network; a heartbeat above 0")
    return settings


def run(settings: HotSettings, make_speech: MakeSpeech, make_rider: MakeRider | None = None) -> None:
    """Hold the loop until it is told to end."""
    try:
        key = Path(settings.key_file).read_bytes()
    except OSError as error:
        raise UserError(f"key {settings.key_file} cannot be read: {error.strerror}") from error
    incarnation = int.from_bytes(os.urandom(8), "big") or 1
    speech = make_speech(settings, key, incarnation, now_ns())
    rider = make_rider(settings, incarnation, now_ns()) if make_rider is not None else None
    sockets = HotSockets(settings.networks, settings.peers)
    try:
        link = HotLink(Path(settings.socket))
    except BaseException:
        sockets.close()
        raise
    rights = hot_rights.claim(settings.priority)
    loop = HotLoop(settings, speech, sockets, link, rider=rider, rights=rights)

    def end(number: int, frame: object) -> None:
        loop.is_ending = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    hot_rights.settle_memory()
    try:
        loop.run()
    finally:
        loop.close()


def main(arguments: Sequence[str] | None, make_speech: MakeSpeech, make_rider: MakeRider | None = None) -> int:
    """Run; answer the exit status."""
    parser = argparse.ArgumentParser(prog="holdfast hot process", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    try:
        run(read_settings(chosen.settings), make_speech, make_rider)
    except HoldfastError as error:
        sys.stderr.write(f"{error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_status
    return 0


if __name__ == "__main__":
    # Heartbeats alone, without grants: for measuring. `hot_main` is what a host runs.
    from holdfast.runtime.hot_main import make_speech

    sys.exit(main(None, make_speech))
