"""A program on a leash: it ends with this process however that ends, and at its limit even if this one stands still.

In:   a command and its limit.
Out:  the command that starts it so.
Always: the kernel ends the program when this process (the thread that started it) is gone; it is ended at its limit.
Where this process may make namespaces, the program lives in a PID namespace of its own, and all that it has started, in
whatever session, ends with it. Elsewhere (a hardened service) what it has started must be ended by whoever ends this
process: systemd ends all of a service's control group.

A manager that is killed while it has a host switched off must not leave somebody behind who does it later.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence

from holdfast.errors import MachineLacks

GRACE_S = 1.0
"""Whoever waits for the program ends it at its limit, and knows to say so; this limit is for when nobody waits."""

_HELPERS = {"setpriv": "util-linux", "unshare": "util-linux", "timeout": "coreutils"}
_ENDS_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
_STILL_OURS = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'
"""Whoever started it may be gone before the kernel was told what to do then."""
_OWN_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child=KILL", "--")


def leashed(command: Sequence[str], limit_s: float) -> list[str]:
    """The command to start instead, from the thread that lives as long as this process.

    Raises:
        MachineLacks: a program that this needs is not there.
    """
    for helper, package in _HELPERS.items():
        if shutil.which(helper) is None:
            raise MachineLacks(f"the program {helper} is not there", f"install the package {package}")
    return [
        *[*_ENDS_WITH_PARENT, "sh", "-c", _STILL_OURS, "sh", str(os.getpid())],
        *(_OWN_NAMESPACE if can_enclose() else ()),
        *["timeout", "--signal=KILL", f"{limit_s + GRACE_S:.3f}", *_ENDS_WITH_PARENT, *command],
    ]


@functools.cache
def can_enclose() -> bool:
    """Whether this process may make PID namespaces. Many things can take that away, so it is tried."""
    return subprocess.run([*_OWN_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
