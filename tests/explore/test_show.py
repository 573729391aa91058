"""What `holdfast lab explore` says, writes, and ends with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli.lab import app
from holdfast.errors import UserError
from holdfast.lab.explore.scopes import SCOPES, chosen
from holdfast.lab.explore.show import explore_and_show, explore_scope


def test_a_scope_that_was_gone_through_is_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "explored.json"
    assert explore_and_show([replace(SCOPES["amid"], steps=2)], file) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "all of them, nothing wrong" in shown
    written = json.loads(file.read_text())
    assert written["format"] == 1
    (scope,) = written["scopes"]
    assert scope["whole"]
    assert scope["scope"] == "amid"
    assert str(scope["states"]) in shown
    assert scope["states"] <= scope["transitions"]
    assert scope["wrong"] is scope["stopped"] is scope["script"] is None


def test_one_that_was_not_gone_through_whole_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert explore_and_show([replace(SCOPES["amid"], steps=2)], None, states_max=10) == 1
    assert "more than 10 states" in " ".join(capsys.readouterr().out.split())


def test_the_same_scope_gives_the_same_figures() -> None:
    scope = replace(SCOPES["succession"], steps=3)
    one, other = (explore_scope(scope, 100_000, lambda _: None) for _ in range(2))
    assert one.explored == other.explored
    assert one.lives == other.lives


def test_an_unknown_scope_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match="no scope is called `everything`") as refused:
        chosen(["amid", "everything"])
    assert "contest, amid, " in refused.value.hint
    assert chosen([]) == list(SCOPES.values())


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_explored(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["explore", "amid", "--json", str(tmp_path / "none" / "x.json")])
    assert isinstance(done.exception, UserError)
    assert "cannot be written" in done.exception.message
