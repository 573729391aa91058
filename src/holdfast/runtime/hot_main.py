"""The hot process of a host, joined with its grants: `python -m holdfast.runtime.hot_main --settings FILE --host H`."""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from holdfast.errors import HoldfastError, UserError
from holdfast.model.reading import UNREADABLE
from holdfast.runtime.hot_grant_words import GrantSettings
from holdfast.runtime.hot_grants import GrantRider, make_window
from holdfast.runtime.hot_process import read_settings, run
from holdfast.runtime.hot_speech import Rider, Speech
from holdfast.runtime.hot_words import HotSettings
from holdfast.runtime.saying import endure
from holdfast.wire.datagrams import Datagrams


def make_speech(settings: HotSettings, key: bytes, incarnation: int, now_ns: int) -> Speech:
    return Datagrams(settings.cluster, settings.me, settings.peers, (key,), incarnation, os.urandom)


def _rider(path: Path, settings: HotSettings, incarnation: int, now_ns: int) -> Rider:
    file = path.with_suffix(".grants")
    try:
        grants = msgspec.json.decode(file.read_bytes(), type=GrantSettings)
    except (OSError, *UNREADABLE) as error:
        raise UserError(f"settings {file} cannot be used: {error}", "the agent writes this file") from error
    return GrantRider(grants, incarnation, make_window(grants), now_ns)


def main() -> int:
    parser = argparse.ArgumentParser(prog="holdfast hot process", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--host", required=True, help="for people who look at the list of processes")
    chosen = parser.parse_args()
    endure()
    try:
        settings = read_settings(chosen.settings)
        run(settings, make_speech, lambda hot, incarnation, now: _rider(chosen.settings, hot, incarnation, now))
    except HoldfastError as error:
        sys.stderr.write(f"{error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
