"""A person's defaults: the environment before the file, the file before ours, and comments that stay."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zoo.errors import AGAIN, UsageError, ZooError
from zoo.runtime import config
from zoo.runtime.config import read, setting, write

DEFAULTS = {"namespace": None, "precision": "auto", "wide": False, "tracker": "none"}


def put(file: Path, text: str | bytes) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_without_a_file_every_setting_has_its_default() -> None:
    assert {key: setting(key) for key in DEFAULTS} == DEFAULTS
    assert read() == {}


def test_the_file_goes_before_the_default_and_the_environment_before_both(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(config_file, 'namespace = "team"\nprecision = "fp32"\nwide = true\ntracker = "trackio"\n')
    found = {"namespace": "team", "precision": "fp32", "wide": True, "tracker": "trackio"}
    assert {key: setting(key) for key in DEFAULTS} == found
    changed = {"ZOO_NAMESPACE": "me", "ZOO_PRECISION": "bf16", "ZOO_WIDE": "0", "ZOO_TRACKER": "none"}
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    assert list(map(setting, DEFAULTS)) == ["me", "bf16", False, "none"]
    monkeypatch.setenv("ZOO_PRECISION", "")
    assert setting("precision") == "fp32"


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_WIDE", "perhaps")
    with pytest.raises(UsageError, match=r"\$ZOO_WIDE: wide is true or false, not 'perhaps'") as caught:
        setting("wide")
    assert caught.value.hint == f"unset ZOO_WIDE && {AGAIN}"


def test_it_is_in_the_users_config_folder_unless_a_variable_names_another(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import platformdirs

    assert config.path() == config_file
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZOO_CONFIG", "~/mine.toml")
    assert config.path() == tmp_path / "mine.toml"
    monkeypatch.delenv("ZOO_CONFIG")
    assert config.path() == Path(platformdirs.user_config_dir("adapter-zoo", appauthor=False)) / "config.toml"


WRITTEN = """\
# my defaults
precision = "fp32"   # the laptop has no bf16

namespace = "team"
"""


def test_writing_keeps_comments_order_and_the_other_keys(config_file: Path) -> None:
    put(config_file, WRITTEN)
    assert write("precision", "auto")
    assert write("wide", True)
    expected = WRITTEN.replace('"fp32"', '"auto"') + "wide = true\n"
    assert config_file.read_text() == expected
    assert write("wide", None)
    assert write("precision", "fp32")
    assert config_file.read_text() == WRITTEN
    assert not write("precision", "fp32")
    assert not write("tracker", None)
    assert read() == {"precision": "fp32", "namespace": "team"}


def test_a_file_that_does_not_end_in_a_newline_is_not_run_together(config_file: Path) -> None:
    put(config_file, "wide = true")
    write("precision", "bf16")
    assert read() == {"wide": True, "precision": "bf16"}


def test_the_folder_is_made_and_a_link_stays_a_link(config_file: Path, tmp_path: Path) -> None:
    write("wide", True)
    assert config_file.read_text() == "wide = true\n"
    elsewhere = put(tmp_path / "dotfiles" / "zoo.toml", "wide = true\n")
    config_file.unlink()
    config_file.symlink_to(elsewhere)
    write("wide", False)
    assert config_file.is_symlink()
    assert elsewhere.read_text() == "wide = false\n"
    assert sorted(path.name for path in config_file.parent.iterdir()) == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        ("# a\n\nprecison = 'fp32'\n", 3, "no setting is called 'precison'", "zoo config unset precison"),
        ("[wide]\nx = 1\n", 1, "wide is true or false", "zoo config unset wide"),
        ("wide = true\n[train]\nlr = 1\n", 2, "no setting is called 'train'", "zoo config unset train"),
        (
            "\nprecision = 'fp8'\n",
            2,
            "precision is auto, bf16 or fp32, not 'fp8'",
            "zoo config unset precision",
        ),
        ("precision = true\n", 1, "not 'true'", "zoo config unset precision"),
        ("wide = 'yes'\n", 1, "wide is true or false, not 'yes'", "zoo config unset wide"),
        ("wide = 1\n", 1, "wide is true or false, not '1'", "zoo config unset wide"),
        ("namespace = 'a/b'\n", 1, "namespace is a user or organisation", "zoo config unset namespace"),
        ("registry = 'zoo'\n", 1, "registry is a whole path", "zoo config unset registry"),
        ("tracker = ['wandb']\n", 1, "tracker is clearml", "zoo config unset tracker"),
        ("wide = true\nprecision =\n", 2, "invalid value", "correct that line"),
        ("wide = true\nwide = false\n", 2, "a value", "correct that line"),
        ('wide = true\nprecision = "fp32', 2, "unterminated string", "correct that line"),
        (b"wide = true\n# \xff\n", 2, "not UTF-8", "correct that line"),
        ("wide = true\nregistry = " + "[" * 2000, 2, "it is nested too deep", "correct that line"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_sentence_with_its_line_and_the_next_step(
    config_file: Path, text: str | bytes, line: int, said: str, hint: str
) -> None:
    put(config_file, text)
    with pytest.raises(UsageError) as caught:
        read()
    assert str(caught.value).startswith(f"{config_file}, line {line}: ")
    assert said in str(caught.value)
    assert hint in str(caught.value.hint)


def test_a_file_that_windows_wrote_with_a_byte_order_mark_is_read(config_file: Path) -> None:
    put(config_file, b"\xef\xbb\xbfwide = true\r\n")
    assert read() == {"wide": True}


def test_a_folder_in_its_place_is_an_error_with_the_next_step(config_file: Path) -> None:
    config_file.mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be read"):
        read()
    config_file.rmdir()
    config_file.parent.rmdir()
    put(config_file.parent.parent / "config", "")
    assert read() == {}
    with pytest.raises(ZooError, match="cannot be written") as caught:
        write("wide", True)
    assert "ZOO_CONFIG" in str(caught.value.hint)


@pytest.mark.parametrize("text", [WRITTEN + "wide = true\n", "wide =\n", "wide = true\nwide = true\n"])
def test_python_3_10_reads_the_same_without_tomllib(
    config_file: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading() -> object:
        try:
            return read()
        except UsageError as error:
            return str(error).partition(": ")[0]

    put(config_file, text)
    expected = reading()
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert reading() == expected
