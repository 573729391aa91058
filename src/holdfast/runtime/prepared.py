"""Run folders on hosts that somebody else prepared: the same layout and the same key on each.

In:   a layout; a folder on this host; the key file of the deployment, if there is one already.
Out:  the folder with layout.json and key, for the agent and a manager of this host; or nothing changed.
Always: what is there already is not overwritten with something else. Doing it again is harmless.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from holdfast.errors import PeerError, UserError, WorldError
from holdfast.model.layout import Layout
from holdfast.model.limits import END_LIMIT_S
from holdfast.model.names import HostName, agent_party
from holdfast.model.reading import UNREADABLE
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.given import fingerprint
from holdfast.runtime.hot_link import connected
from holdfast.runtime.machine import check_folder
from holdfast.runtime.outside import end_all

KEY_BYTES = 32
POLL_S = 0.02


def prepare_host(layout: Layout, folder: RunFolder, key_file: Path | None) -> Mapping[str, str]:
    """Make the run folder of this host; answer the fingerprints of layout and key, and whether the key is new.

    Raises:
        UserError: the layout is none for several processes that find each other by address, or the folder holds
            another deployment, or the key is none.
    """
    _check_several(layout)
    check_folder(layout, folder)
    encoded = msgspec.json.encode(layout)
    _refuse_other_layout(layout, folder, encoded)
    key = _given_key(key_file) if key_file is not None else None
    present = _present_key(folder)
    if present is not None and key is not None and present != key:
        raise UserError(
            f"{folder.key} is another key than {key_file}", "every host needs the same one; remove the wrong one"
        )
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.root.chmod(0o711)  # Components that give up root must reach their own folder.
        for inner in (folder.root / "journal", folder.root / "log", folder.root / "state"):
            inner.mkdir(exist_ok=True, mode=0o700)
        if present is None:
            _write(folder.key, key or os.urandom(KEY_BYTES))
        if not folder.layout.exists():
            # Who votes in a new deployment, its descriptor says: what was agreed on in an earlier one is over.
            for voters in (folder.root / "hot").glob("*.voters"):
                voters.unlink()
            _write(folder.layout, encoded)
    except OSError as error:
        raise UserError(f"{folder.root} cannot be prepared: {error.strerror}: {error.filename}") from error
    return {
        "layout": fingerprint(encoded),
        "key": fingerprint(folder.key.read_bytes()),
        "made": "" if present is not None or key is not None else str(folder.key),
    }


def _check_several(layout: Layout) -> None:
    if len(layout.hosts) == 1:
        return
    if layout.grants is None:
        raise UserError(
            f"{layout.name} has {len(layout.hosts)} hosts and no `grants`",
            "write `grants: default`: without it nobody can say who may be active when the network is cut",
        )
    bare = [name for name, host in layout.hosts.items() if not host.addresses]
    if bare:
        raise UserError(
            f"host {', '.join(bare)} has no address", "give `addresses` under `hosts`, on which the others reach it"
        )


def _refuse_other_layout(layout: Layout, folder: RunFolder, encoded: bytes) -> None:
    try:
        present = folder.layout.read_bytes()
    except FileNotFoundError:
        if folder.root.exists() and any(folder.root.glob("processes*.json")):
            raise UserError(f"{folder.root} belongs to something else", "choose another --folder") from None
        return
    if present == encoded:
        return
    try:
        name = msgspec.json.decode(present, type=Layout).name
    except UNREADABLE:
        name = "a layout of another version"
    if name == layout.name:
        raise UserError(
            f"{folder.root} is prepared for another version of {name} ({fingerprint(present)}, now "
            f"{fingerprint(encoded)})",
            "all hosts need the same descriptor; to change it, end the deployment on all hosts and remove layout.json",
        )
    raise UserError(f"{folder.root} belongs to another deployment: {name}", "choose another --folder")


def _given_key(file: Path) -> bytes:
    try:
        key = file.read_bytes()
        mode = file.stat().st_mode
    except OSError as error:
        raise UserError(f"the key {file} cannot be read: {error.strerror}") from error
    if len(key) < KEY_BYTES:
        raise UserError(
            f"the key {file} has {len(key)} bytes, at least {KEY_BYTES} are expected",
            "copy the file `key` that `holdfast prepare` made on the first host",
        )
    if mode & 0o077:
        raise UserError(f"others may read the key {file}", f"chmod 600 {file}")
    return key


def _present_key(folder: RunFolder) -> bytes | None:
    try:
        return folder.key.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{folder.key} cannot be read: {error.strerror}", "run as its owner") from error


def _write(path: Path, content: bytes) -> None:
    """In one step, readable for its owner alone, and on the disk."""
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)
    fresh.rename(path)


async def end_host(layout: Layout, folder: RunFolder, host: HostName) -> None:
    """End all that the agent of this host has started, by the agent if it runs, else in its place.

    Raises:
        WorldError: something would not go; the message names it.
    """
    from holdfast.runtime.agent import Agent
    from holdfast.runtime.agent_process import only_one

    try:
        left = end_all(folder, agent_party(host), END_LIMIT_S)
    except PeerError:
        with only_one(folder, host):
            agent = Agent(layout, host, folder, lambda _: None, lambda *_: None)
            await agent.open()
            await agent.close(end_all=True)
        left = ()
    if await _hot_process_lives(folder, host):
        left = (*left, "the hot process")
    if left:
        raise WorldError(f"not ended: {', '.join(left)}", f"see {folder.root}/log, and try again")


async def _hot_process_lives(folder: RunFolder, host: HostName) -> bool:
    """It is told to end without an answer: whether it still listens at the end of the time limit."""
    limit = time.monotonic() + END_LIMIT_S
    while time.monotonic() < limit:
        try:
            connected(folder.hot_socket(host), 1.0).close()
        except OSError:
            return False
        await asyncio.sleep(POLL_S)
    return True
