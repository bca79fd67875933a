"""`zoo completion`: what it writes, what it leaves alone, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result

Zoo = Callable[..., Result]
WHERE = {
    "bash": ".local/share/bash-completion/completions/zoo",
    "zsh": ".local/share/adapter-zoo/zsh/_zoo",
    "fish": ".config/fish/completions/zoo.fish",
}
SHELLS = pytest.mark.parametrize("shell", WHERE)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR", "ZDOTDIR", "SHELL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return home


def files(home: Path) -> dict[str, str]:
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


@SHELLS
def test_the_script_goes_to_stdout_and_with_install_to_the_shells_folder(
    zoo: Zoo, home: Path, shell: str
) -> None:
    printed = zoo("completion", shell)
    assert (printed.code, printed.err, files(home)) == (0, "", {})
    done = zoo("completion", shell, "--install")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"{home / WHERE[shell]} written\n")
    assert files(home) == {WHERE[shell]: printed.out}


@SHELLS
def test_installing_twice_changes_nothing_and_says_so(zoo: Zoo, home: Path, shell: str) -> None:
    first = zoo("completion", shell, "--install")
    path = home / WHERE[shell]
    before = path.stat().st_mtime_ns
    again = zoo("completion", shell, "--install")
    assert again.err == first.err.replace(" written", " is up to date")
    assert path.stat().st_mtime_ns == before


@SHELLS
def test_a_script_of_another_version_is_replaced(zoo: Zoo, home: Path, shell: str) -> None:
    zoo("completion", shell, "--install")
    path = home / WHERE[shell]
    new = path.read_text()
    path.write_text(new + "# older\n")
    assert "written" in zoo("completion", shell, "--install").err
    assert path.read_text() == new


@SHELLS
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_not_ours_is_neither_replaced_nor_removed(
    zoo: Zoo, home: Path, shell: str, kind: str
) -> None:
    path = home / WHERE[shell]
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("complete -W 'a b' zoo  # my own\n")
    elif kind == "link":
        path.symlink_to(home / "nowhere")
    else:
        path.mkdir()
    before = files(home)
    done = zoo("completion", shell, "--install")
    assert done.code == 2
    assert done.error == f"Error: {path} is not from `zoo completion --install`, so it is left alone."
    assert f"Next: mv {path} {path}.old && zoo completion {shell} --install\n" in done.err
    for words in ([shell], []):
        removed = zoo("completion", *words, "--uninstall")
        assert removed.code == 0
        assert f"{path} is not from" in removed.err
    assert files(home) == before
    assert path.is_symlink() or path.exists()


def test_uninstall_removes_what_install_wrote_for_one_shell_or_for_all(zoo: Zoo, home: Path) -> None:
    for shell in WHERE:
        zoo("completion", shell, "--install")
    assert f"{home / WHERE['zsh']} removed" in zoo("completion", "zsh", "--uninstall").err
    assert {*files(home)} == {WHERE["bash"], WHERE["fish"]}
    assert zoo("completion", "--uninstall").err.count("removed") == 2
    assert files(home) == {}
    assert not (home / WHERE["zsh"]).parent.exists()
    again = zoo("completion", "--uninstall")
    assert (again.code, again.err.count("nothing is there")) == (0, 3)


def test_the_shell_is_that_of_the_variable(zoo: Zoo, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/local/bin/fish")
    assert zoo("completion", "--install").code == 0
    assert {*files(home)} == {WHERE["fish"]}
    assert zoo("completion").out == files(home)[WHERE["fish"]]


@pytest.mark.parametrize(
    ("value", "said"), [("/bin/dash", "$SHELL is '/bin/dash'"), ("", "$SHELL is not set")]
)
def test_another_shell_is_an_error_that_names_the_three(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("SHELL", value)
    done = zoo("completion", "--install")
    assert (done.code, done.error) == (2, f"Error: {said}: name your shell, bash, zsh, fish.")
    assert "Next: zoo completion bash --install" in done.err
    assert zoo("completion", "powershell").code == 2
    assert zoo("completion", "bash", "--install", "--uninstall").code == 2


def test_folders_that_variables_name_are_used(
    zoo: Zoo, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for shell in WHERE:
        zoo("completion", shell, "--install")
    assert files(home) == {}
    assert {*files(tmp_path / "data")} == {"bash-completion/completions/zoo", "adapter-zoo/zsh/_zoo"}
    assert {*files(tmp_path / "config")} == {"fish/completions/zoo.fish"}
    monkeypatch.setenv("BASH_COMPLETION_USER_DIR", str(tmp_path / "own"))
    zoo("completion", "bash", "--install")
    assert {*files(tmp_path / "own")} == {"completions/zoo"}


def test_an_rc_file_is_never_changed_and_its_line_is_said_until_it_is_there(zoo: Zoo, home: Path) -> None:
    rc = home / ".zshrc"
    rc.write_text("# mine\n")
    file = f"~/{WHERE['zsh']}"
    line = f"[[ ! -f {file} ]] || source {file}"
    said = zoo("completion", "zsh", "--install").err
    assert f"Next: echo '{line}' >> ~/.zshrc && source {file}\n" in said
    assert rc.read_text() == "# mine\n"
    rc.write_text(f"# mine\n{line}\n")
    said = zoo("completion", "zsh", "--install").err
    assert "echo" not in said
    assert said.endswith(f"Next: source {file}\n")
    assert f"~/.zshrc still says, to no effect: {line}" in zoo("completion", "zsh", "--uninstall").err


def test_a_folder_that_cannot_be_written_is_an_error(zoo: Zoo, home: Path) -> None:
    (home / ".config").write_text("a file")
    done = zoo("completion", "fish", "--install")
    assert done.code == 1
    assert done.error.startswith(f"Error: {home / '.config'}")
