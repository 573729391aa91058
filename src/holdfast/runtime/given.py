"""What a run folder gives to the processes that work in it: layout, key, and who takes part."""

import hashlib

import msgspec

from holdfast.errors import UserError
from holdfast.model.layout import Layout, vnfms_of
from holdfast.model.names import HA, VIM, HostName, Party, agent_party
from holdfast.model.reading import UNREADABLE
from holdfast.runtime.folder import RunFolder
from holdfast.runtime.sockets import Endpoint, Place


def load_layout(folder: RunFolder) -> Layout:
    """The layout that the folder was made for."""
    try:
        return msgspec.json.decode(folder.layout.read_bytes(), type=Layout)
    except OSError as error:
        raise UserError(
            f"{folder.root} is no run folder: {error.strerror}: {folder.layout.name}",
            "`holdfast up FILE` makes one; on several hosts: holdfast prepare FILE --folder FOLDER",
        ) from error
    except UNREADABLE as error:
        raise UserError(
            f"{folder.layout} is no layout of this version: {error}", "run `holdfast down` first"
        ) from error


def fingerprint(content: bytes) -> str:
    """Short, for people to compare."""
    return hashlib.sha256(content).hexdigest()[:12]


def layout_print(folder: RunFolder) -> str:
    """Fingerprint of the layout as it was prepared, whichever version reads it; empty where there is no such file."""
    try:
        return fingerprint(folder.layout.read_bytes())
    except OSError:
        return ""


def load_key(folder: RunFolder) -> bytes:
    """The deployment's key."""
    try:
        key, mode = folder.key.read_bytes(), folder.key.stat().st_mode
    except OSError as error:
        raise UserError(f"the key of {folder.root} cannot be read: {error.strerror}", "run as its owner") from error
    if mode & 0o077:
        raise UserError(f"others may read the key {folder.key}", f"chmod 600 {folder.key}")
    return key


def parties_of(layout: Layout) -> tuple[Party, ...]:
    """All managers of the deployment."""
    return (HA, *vnfms_of(layout), VIM)


def places_of_agent(layout: Layout, folder: RunFolder, host: HostName) -> tuple[Place, ...]:
    """Where the agent of a host listens.

    Always at a path on its own machine; where several hosts hold grants together, on each of the networks too.
    """
    return (folder.socket(agent_party(host)), *_endpoints(layout, host))


def places_to_call(layout: Layout, folder: RunFolder, host: HostName) -> tuple[Place, ...]:
    """Where managers call the agent of a host: on each network, or at its path where there is no other way."""
    return _endpoints(layout, host) or (folder.socket(agent_party(host)),)


def _endpoints(layout: Layout, host: HostName) -> tuple[Endpoint, ...]:
    if layout.grants is None:
        return ()
    return tuple(Endpoint(address, layout.grants.port + 1) for address in layout.hosts[host].reached_at)
