"""A component type as written, resolved: commands, checks, files and limits, with nothing left open."""

import re
from typing import cast

from holdfast.descriptor import placeholders
from holdfast.descriptor.defaults import OCF_CLEANUP_S, Pace
from holdfast.descriptor.mistakes import nearest, one_of
from holdfast.descriptor.notes import Notes
from holdfast.descriptor.ocf import agents_here
from holdfast.descriptor.tree import Path
from holdfast.model.descriptor import CHECK_KINDS, CheckText, ComponentText, OcfText, OperationText, ReplicationText
from holdfast.model.layout import Check, CheckKind, Component, OcfAgent, Operation, Replication
from holdfast.model.names import GroupName, VnfName

START_LIMIT_S = 10.0
STOP_LIMIT_S = 5.0
_COMMANDS = ("start", "stop", "become_active", "become_standby")
_OCF = re.compile(r"^ocf:([A-Za-z0-9][A-Za-z0-9_-]{0,63}):([A-Za-z0-9][A-Za-z0-9_.-]{0,63})$", re.ASCII)
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$", re.ASCII)
_OWN_VARIABLES = "HOLDFAST_"


def component(
    text: ComponentText, path: Path, name: str, vnf: VnfName, group: GroupName, pace: Pace, notes: Notes
) -> Component:
    """Resolve one component type."""
    limits = text.limits
    role_s = limits.role or pace.role_s
    cleanup_s = limits.cleanup or (max(pace.cleanup_s, OCF_CLEANUP_S) if text.ocf else pace.cleanup_s)
    start_s = limits.start or START_LIMIT_S
    speaks = text.replication is not None if text.speaks is None else text.speaks
    _check_commands(text, path, notes)
    _check_texts(text, path, notes)
    return Component(
        name=name,
        vnf=vnf,
        group=group,
        start=_operation(text.start, (*path, "start"), start_s, notes),
        stop=_operation(text.stop, (*path, "stop"), STOP_LIMIT_S, notes),
        cleanup=_operation(text.cleanup, (*path, "cleanup"), cleanup_s, notes),
        become_active=_operation(text.become_active, (*path, "become-active"), role_s, notes),
        become_standby=_operation(text.become_standby, (*path, "become-standby"), role_s, notes),
        ocf=_ocf(text.ocf, (*path, "ocf"), notes),
        speaks=speaks,
        checks=_checks(text, path, speaks, pace, notes),
        files=text.files,
        environment=text.environment,
        start_limit_s=start_s,
        role_limit_s=role_s,
        cleanup_limit_s=cleanup_s,
        replication=_replication(text.replication, (*path, "replication"), notes),
        storage=text.storage,
    )


def _operation(text: OperationText | None, path: Path, limit_s: float, notes: Notes) -> Operation | None:
    if text is None:
        return None
    if not text.command:
        notes.missing((*path, "command"), "a command: a line, or a list of words")
    return Operation(command=text.command, limit_s=text.within or limit_s)


def _check_commands(text: ComponentText, path: Path, notes: Notes) -> None:
    if text.ocf is None:
        if text.start is None:
            notes.missing((*path, "start"), "a start command, or an OCF resource agent (ocf)")
        return
    for command in _COMMANDS:
        if getattr(text, command) is not None:
            key = command.replace("_", "-")
            notes.unknown((*path, key), "no such command beside ocf: the resource agent does that", f"remove {key}")


def _ocf(text: OcfText | None, path: Path, notes: Notes) -> OcfAgent | None:
    if text is None:
        return None
    if not text.agent:
        notes.missing((*path, "agent"), "an agent, such as ocf:heartbeat:nginx")
        return None
    match = _OCF.match(text.agent)
    if match is None:
        parts = [part for part in text.agent.split(":") if part and part != "ocf"]
        better = f"ocf:{parts[0]}:{parts[1]}" if len(parts) == 2 else f"ocf:heartbeat:{parts[0]}" if parts else ""
        hint = f"did you mean {better}?" if _OCF.match(better) else ""
        notes.wrong((*path, "agent"), "ocf:<provider>:<agent>, such as ocf:heartbeat:nginx", hint, text.agent)
        return None
    here = agents_here(match[1])
    if here and match[2] not in here:
        hint = nearest(match[2], here)
        notes.doubt((*path, "agent"), f"this machine has no resource agent {match[2]} of {match[1]}", hint)
    for parameter in text.parameters:
        if not _VARIABLE.match(parameter):
            notes.misnamed((*path, "parameters", parameter), "a parameter's name: letters, digits and _")
    return OcfAgent(provider=match[1], agent=match[2], parameters=text.parameters)


def _checks(text: ComponentText, path: Path, speaks: bool, pace: Pace, notes: Notes) -> tuple[Check, ...]:
    process = Check(kind="process", every_s=pace.every_s, limit_s=pace.limit_s, misses=1)
    if text.checks is None:
        asked = Check(kind="protocol", every_s=pace.every_s, limit_s=pace.limit_s, misses=pace.misses)
        return (process, asked) if speaks else (process,)
    checks = [
        check
        for number, one in enumerate(text.checks)
        if (check := _check(one, (*path, "checks", number), text, speaks, pace, notes)) is not None
    ]
    if not any(check.kind == "process" for check in checks):
        checks.insert(0, process)
    return tuple(checks)


def _check(text: CheckText, path: Path, around: ComponentText, speaks: bool, pace: Pace, notes: Notes) -> Check | None:
    if not text.kinds and any(notes.is_dropped((*path, kind)) for kind in CHECK_KINDS):
        return None
    if len(text.kinds) != 1:
        said = f"{' and '.join(text.kinds)} together" if text.kinds else "none of them"
        notes.wrong(path, f"exactly one of {one_of(CHECK_KINDS)}", said=said)
        return None
    kind = cast(CheckKind, text.kinds[0])
    for option in ("path", "status"):
        if getattr(text, option) is not None and kind != "http":
            notes.unknown((*path, option), f"{option} in a check of kind http only")
    if kind == "protocol" and not speaks:
        notes.wrong(path, "a component that speaks the component protocol", "add speaks: yes", said="protocol")
    if text.path is not None and not re.match(r"^/[!-~]*$", text.path, re.ASCII):
        notes.wrong((*path, "path"), "a path from / on, without blanks", found=text.path)
    port = 0
    if kind in ("tcp", "http"):
        port = (text.tcp if kind == "tcp" else text.http) or _interface_port(around, kind, path, notes)
    return Check(
        kind=kind,
        every_s=text.every or pace.every_s,
        limit_s=text.within or pace.limit_s,
        misses=text.misses or (1 if kind == "process" else pace.misses),
        port=port,
        path=text.path or "/",
        status=text.status or 200,
        command=text.command or (),
    )


def _interface_port(text: ComponentText, kind: str, path: Path, notes: Notes) -> int:
    interface = text.interface
    if notes.is_dropped((*path[:-2], "interface", "port")):
        return 0
    if interface is None or interface.port is None:
        notes.wrong((*path, kind), "a port, here or in the interface", said=f"{kind} without a port")
        return 0
    if interface.transport == "udp":
        expected = "a TCP port to ask: the interface's is UDP"
        notes.wrong((*path, kind), expected, "write the port, or use a command", said=f"{kind} without a port")
    return interface.port


def _replication(text: ReplicationText | None, path: Path, notes: Notes) -> Replication | None:
    if text is None:
        return None
    if text.port is None:
        notes.missing((*path, "port"), "the port of the channel between active and standby")
    if text.period is not None and text.mode == "synchronous":
        notes.unknown((*path, "period"), "period with mode: periodic only")
    return Replication(port=text.port or 0, mode=text.mode, period_s=text.period or 0.1)


def _check_texts(text: ComponentText, path: Path, notes: Notes) -> None:
    """Files and environment variables that cannot be, and placeholders that are probably slips."""
    for name in text.files:
        parts = name.split("/")
        if not name or name.startswith("/") or ".." in parts or "" in parts or "." in parts or len(name) > 200:
            notes.misnamed((*path, "files", name), "a file in the VNFC's own folder: a relative path without . and ..")
    for name in text.environment:
        if not _VARIABLE.match(name):
            notes.misnamed((*path, "environment", name), "a variable's name: letters, digits and _")
        elif name.startswith(_OWN_VARIABLES):
            notes.misnamed(
                (*path, "environment", name), f"no name beginning with {_OWN_VARIABLES}: Holdfast sets these"
            )
    for where, several in _texts(text):
        for name in sorted(placeholders.used(several)):
            _check_placeholder(name, text, (*path, *where), notes)


def _check_placeholder(name: str, text: ComponentText, path: Path, notes: Notes) -> None:
    meant = placeholders.meant(name)
    if meant is not None:
        notes.doubt(path, f"${{{name}}} is not replaced by Holdfast", f"did you mean ${{{meant}}}?")
    elif name == "storage" and not text.storage:
        notes.doubt(path, "${storage} is empty: the component has no storage", "add storage: yes")
    elif name == "address" and (text.interface is None or not (text.interface.address or text.interface.addresses)):
        notes.doubt(path, "${address} is empty: the component has no interface with an address")


def _texts(text: ComponentText) -> list[tuple[Path, tuple[str, ...]]]:
    """All texts in which placeholders are replaced, with where they stand."""
    texts: list[tuple[Path, tuple[str, ...]]] = []
    for command in (*_COMMANDS, "cleanup"):
        operation: OperationText | None = getattr(text, command)
        if operation is not None:
            texts.append(((command.replace("_", "-"),), operation.command))
    for number, check in enumerate(text.checks or ()):
        texts.append((("checks", number), check.command or ()))
    for key in ("files", "environment"):
        texts.extend(((key, name), (content,)) for name, content in getattr(text, key).items())
    if text.ocf is not None:
        texts.extend((("ocf", "parameters", name), (value,)) for name, value in text.ocf.parameters.items())
    return texts
