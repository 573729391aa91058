"""Components (VNFCs) in Python: derive from `Component`, hand it to `run`. See docs/vnfc.md.

Standard library only, and quick to import: the start of a component without redundancy is an outage.
Components whose state is replicated add `holdfast.vnfc.replicated`; those with checkpoints on shared
storage add `holdfast.state.checkpoint`.
"""

from holdfast.vnfc.address import announce_address, claim_address, release_address
from holdfast.vnfc.component import LATER, Component, Later, Role, RoleFailed
from holdfast.vnfc.loop import Loop, Timer
from holdfast.vnfc.process import prepare, run
from holdfast.wire.component import Position

__all__ = [
    "LATER",
    "Component",
    "Later",
    "Loop",
    "Position",
    "Role",
    "RoleFailed",
    "Timer",
    "announce_address",
    "claim_address",
    "prepare",
    "release_address",
    "run",
]
