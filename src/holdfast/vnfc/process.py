"""`run`: a component as a process, from its environment to its end.

HOLDFAST_SOCKET, HOLDFAST_VNFC, HOLDFAST_DIR and HOLDFAST_EPOCH are set by the agent. Without HOLDFAST_SOCKET
the component runs by itself, so that one can try it by hand.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Mapping

from holdfast.errors import HoldfastError, UserError
from holdfast.vnfc.component import Component
from holdfast.vnfc.loop import Loop
from holdfast.vnfc.session import Session


def prepare(component: Component, environment: Mapping[str, str], loop: Loop) -> None:
    """Give the component what its environment says, before `start`."""
    epoch = environment.get("HOLDFAST_EPOCH", "0")
    if not (epoch.isascii() and epoch.isdigit()):
        raise UserError(f"HOLDFAST_EPOCH is {epoch!r}, expected a number")
    component.loop = loop
    component.name = environment.get("HOLDFAST_VNFC", "unnamed")
    component.folder = environment.get("HOLDFAST_DIR", "")
    component.epoch = int(epoch)
    path = environment.get("HOLDFAST_SOCKET")
    component.session = Session(loop, component, path) if path else None


def run(component: Component, environment: Mapping[str, str] | None = None) -> None:
    """Run the component until its agent (or SIGTERM) asks it to stop."""
    loop = Loop()
    try:
        prepare(component, os.environ if environment is None else environment, loop)

        def asked_to_end() -> None:
            component.stop()
            loop.stop()

        if threading.current_thread() is threading.main_thread():
            loop.stop_on_sigterm(asked_to_end)
        component.start()
        if component.session is not None:
            component.session.connect()
        gc.freeze()
        loop.run()
    except HoldfastError as error:
        print(error.message, file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        sys.exit(error.exit_status)
    finally:
        if component.session is not None:
            component.session.close()
        loop.close()
