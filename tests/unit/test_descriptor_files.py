"""Files that are no descriptors: each ends in a message with its place, none in a traceback or in waiting."""

from pathlib import Path

import pytest

from holdfast.descriptor import Mistake, check, check_text, load
from holdfast.errors import UserError
from holdfast.model.limits import DESCRIPTOR_BYTES_MAX, DESCRIPTOR_DEPTH_MAX

GOOD = b"holdfast: 1\nname: x\nvms: {vm1: }\nvnfs: {f: {place: vm1, start: f}}\n"


def only_mistake(raw: bytes) -> Mistake:
    mistakes, _, layout = check_text(raw)
    assert layout is None
    assert len(mistakes) == 1
    return mistakes[0]


@pytest.mark.parametrize("raw", [b"", b"\n \n", b"# only a comment\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_called_so(raw: bytes) -> None:
    assert only_mistake(raw).found.startswith("an empty")


def test_a_byte_order_mark_does_no_harm() -> None:
    assert check_text(b"\xef\xbb\xbf" + GOOD)[0] == []


def test_what_is_not_utf8_is_shown_with_line_and_column() -> None:
    mistake = only_mistake(b"holdfast: 1\nname: caf\xe9\n")
    assert (mistake.line, mistake.column, mistake.found) == (2, 10, "byte 0xe9")


def test_utf16_is_not_utf8() -> None:
    assert only_mistake("holdfast: 1\n".encode("utf-16")).expected == "text in UTF-8"


def test_control_characters_are_shown_with_their_line() -> None:
    assert only_mistake(b"holdfast: 1\nname: a\x01b\n").expected == "well-formed YAML"


def test_escaped_characters_that_no_program_can_be_given_are_refused() -> None:
    assert only_mistake(b'holdfast: 1\nname: "a\\0b"\n').line == 2


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    assert "at most" in only_mistake(GOOD + b"#" * DESCRIPTOR_BYTES_MAX).expected


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- "])
def test_deep_nesting_is_refused_before_it_exhausts_anything(opening: bytes) -> None:
    assert f"{DESCRIPTOR_DEPTH_MAX} levels" in only_mistake(opening * 100_000).expected


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert only_mistake(bomb.encode()).found.startswith("too many values")


def test_merges_of_merges_do_not_fill_the_memory() -> None:
    bomb = "a0: &a0 {x: y}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
    )
    assert only_mistake(bomb.encode()).found.startswith("too many")


def test_long_texts_unfolded_by_aliases_count_as_several_values() -> None:
    bomb = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"
    assert only_mistake(bomb.encode()).found.startswith("too many values")


def test_a_nested_alias_does_not_get_around_the_depth() -> None:
    chain = "a0: &a0 {x: y}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}}}\n" for n in range(1, 40))
    assert f"{DESCRIPTOR_DEPTH_MAX} levels" in only_mistake(chain.encode()).expected


def test_an_unknown_anchor_is_named() -> None:
    assert only_mistake(b"holdfast: *one\n").found == "*one"


def test_a_key_that_is_no_word_is_refused() -> None:
    assert only_mistake(b"? [a, b]\n: 1\n").expected == "a word as a key"
    assert only_mistake(b"~: 1\n").expected == "a word as a key"


def test_a_missing_file_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        check(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="is a directory"):
        load(tmp_path)


def test_load_lists_every_mistake_in_one_message(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(GOOD.replace(b"name: x", b"nmae: x").replace(b"start: f", b"start: f, stpo: g"))
    with pytest.raises(UserError) as caught:
        load(path)
    assert "2 mistakes" in caught.value.message
    assert f"{path}:2:1: nmae" in caught.value.message
    assert f"{path}:4:" in caught.value.message
    assert caught.value.exit_status == 2


def test_load_gives_the_layout_of_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_bytes(GOOD)
    assert load(path).name == "x"
