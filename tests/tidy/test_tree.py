"""Is the tree tidy: sizes, docstrings, banned calls, tests that sleep or assert nothing."""

import ast
import re

import pytest

from tests.tidy.tree import ROOT, Module, functions, modules, modules_of_tests

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
BANNED_NAMES = {"utils", "util", "helper", "helpers", "common", "misc", "base"}
ALL = modules() + modules_of_tests()


def test_files_and_functions_are_small() -> None:
    wrong = [
        f"{module.path} has {module.text.count(chr(10))} lines"
        for module in ALL
        if module.text.count("\n") > FILE_LINES_MAX
    ]
    for module in ALL:
        for function in functions(module):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                wrong.append(f"{module.path}:{function.lineno} {function.name} has {lines} lines")
    assert not wrong, "look for the second idea hidden in it:\n" + "\n".join(wrong)


def test_each_module_says_what_it_is() -> None:
    wrong = [
        str(module.path)
        for module in modules()
        if module.tree.body and not (ast.get_docstring(module.tree) or "").strip()
    ]
    assert not wrong, "module docstring missing:\n" + "\n".join(wrong)


def test_names_come_from_the_domain() -> None:
    wrong = [str(module.path) for module in modules() if module.path.stem in BANNED_NAMES]
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Manager", "Helper", "Handler")):
                wrong.append(f"{module.path}:{node.lineno} class {node.name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_unfinished() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error")
    wrong = [
        f"{module.path}:{number} {line.strip()[:80]}"
        for module in ALL
        for number, line in enumerate(module.text.splitlines(), 1)
        if any(mark in line for mark in marks)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_error_is_swallowed() -> None:
    wrong = []
    for module in ALL:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler) or not all(isinstance(part, ast.Pass) for part in node.body):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            if caught in {"everything", "Exception", "BaseException"}:
                wrong.append(f"{module.path}:{node.lineno} except {caught}: pass")
    assert not wrong, "\n".join(wrong)


def _is_sleep(node: ast.Call) -> bool:
    name = ast.unparse(node.func)
    if name.endswith("time.sleep"):
        return True
    return name.endswith("asyncio.sleep") and ast.unparse(node.args[0]) != "0"


def test_no_test_sleeps() -> None:
    wrong = [
        f"{module.path}:{node.lineno}"
        for module in modules_of_tests()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _is_sleep(node)
    ]
    assert not wrong, "wait for the event instead:\n" + "\n".join(wrong)


def _asserts(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].startswith(
            ("raises", "assert", "check_", "expect")
        ):
            return True
    return False


def test_each_test_asserts_something() -> None:
    wrong = [
        f"{module.path}:{function.lineno} {function.name}"
        for module in modules_of_tests()
        for function in functions(module)
        if function.name.startswith("test_") and not _asserts(function)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_mocks() -> None:
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in modules_of_tests()
        for line, name in module.imports()
        if name.startswith(("unittest.mock", "mock."))
    ]
    assert not wrong, "write a fake that passes the contract tests of the real one:\n" + "\n".join(wrong)


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name or "holdfast")
def test_only_runtime_and_edges_read_the_clock(module: Module) -> None:
    if module.folder in {"runtime", "detect", "drivers", "lab", "cli", "guest", "vnfc", "state", "store"}:
        assert module.tree is not None
        return
    wrong = [
        f"{module.path}:{node.lineno} {ast.unparse(node.func)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith(("time.", "random.", "datetime.datetime.now", "uuid."))
    ]
    assert not wrong, "time and chance are values given from outside:\n" + "\n".join(wrong)


WALL_CLOCK = re.compile(
    r"time\.(time|time_ns|localtime|gmtime|ctime|strftime)|CLOCK_REALTIME|CLOCK_TAI|st_[mac]time"
    r"|datetime\.(now|utcnow|today|fromtimestamp)"
)
FOR_PEOPLE = {
    "agent_process.py": 1,  # The first record of a journal says what the clock on the wall showed.
    "manager_process.py": 1,  # Likewise.
    "surroundings.py": 1,  # Given to the first record of a journal.
    "supervisor.py": 1,  # The time of day in its log.
    "why.py": 1,  # When an incident began, as people count.
}
"""Who reads the clock on the wall, outside the lab, and how often."""


def test_the_clock_on_the_wall_decides_nothing() -> None:
    """A person, or a time daemon, may set it at any time: what is decided goes by clocks that only go on."""
    found: dict[str, int] = {}
    for module in modules():
        if module.folder in {"", "lab"}:
            continue
        reads = [node for node in ast.walk(module.tree) if isinstance(node, ast.Attribute) and _reads_wall(node)]
        if reads:
            found[module.path.name] = len(reads)
    assert found == FOR_PEOPLE


def _reads_wall(node: ast.Attribute) -> bool:
    return WALL_CLOCK.fullmatch(ast.unparse(node)) is not None or WALL_CLOCK.fullmatch(node.attr) is not None


def test_the_folder_table_names_every_folder() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text()
    missing = {module.folder for module in modules() if "." in module.name} - {
        folder for folder in {module.folder for module in modules()} if f"`{folder}/`" in table
    }
    assert not missing, f"ARCHITECTURE.md does not name {missing}"
