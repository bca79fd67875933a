"""README is for users, so what it names must exist: commands, options, hooks, names to import, files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import zoo
from tests.conftest import ROOT
from zoo.cli import cli
from zoo.plugins import hookspecs, manager

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:bash|console)\n(.*?)```", README, re.DOTALL)
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))


def zoo_commands() -> list[list[str]]:
    """Every `zoo ...` that README types, in blocks and inline, split into words."""
    lines = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
    typed = [
        re.sub(r"^(\$ )?(\.venv/bin/)?", "", part) for line in lines for part in re.split(r" && |^&& ", line)
    ]
    found = [part for part in [*typed, *CODE] if re.match(r"zoo( |$)", part.strip())]
    return [shlex.split(part.strip(), comments=True)[1:] for part in found]


COMMANDS = zoo_commands()


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"README names the command 'zoo {' '.join(words)}', which does not exist"
        command, rest = found, rest[1:]
    return command, rest


def test_readme_types_commands_at_all() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_in_readme_exists(words: list[str]) -> None:
    command, rest = resolve(words)
    known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)} | {
        "--help",
        "-h",
    }
    for word in rest:
        if word.startswith("-") and word != "-" and not re.match(r"-\d", word):
            assert word.partition("=")[0] in known, f"zoo {' '.join(words)}"


def test_every_command_of_the_cli_is_in_readme() -> None:
    named = {words[0] for words in COMMANDS if words}
    assert named >= set(cli.list_commands(click.Context(cli)))


def test_every_hook_is_in_readme_and_every_hook_in_readme_exists() -> None:
    real = {name for name in vars(hookspecs) if name.startswith("zoo_")}
    named = set(re.findall(r"\bzoo_(?:source|task|method|train|evaluate|card|publish|search)\w*\b", README))
    assert {name for name in named if not name.endswith("s")} == real


def test_every_name_that_readme_imports_from_zoo_exists() -> None:
    names = [name.strip() for line in re.findall(r"from zoo import (.+)", README) for name in line.split(",")]
    assert names
    assert [name for name in names if not hasattr(zoo, name)] == []


def test_every_file_that_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("block", ["train", "test"])
def test_the_two_commands_that_ci_runs_are_marked(block: str) -> None:
    assert README.count(f"<!-- {block} -->\n```bash\n") == 1


def test_the_plugin_that_readme_shows_is_a_whole_plugin() -> None:
    source = next(
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "zoo_api" in block
    )
    module: dict[str, object] = {}
    exec(compile(source, "README plugin", "exec"), module)
    method = module["IA3"]()  # type: ignore[operator]
    assert isinstance(method, zoo.PeftMethod)
    assert method.config(method.Params(), manager.load_task("bert-imdb")).peft_type == "IA3"


def test_the_python_example_of_readme_runs(
    tiny_bert: Path,
    reviews_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a tiny base and rows of our own, in the registry that the command line would use."""
    source = next(
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "zoo.train" in block
    )
    small = source.replace("limit=2000", f"base={str(tiny_bert)!r}, data={str(reviews_csv)!r}, epochs=1.0")
    assert small != source
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "registry.json"))
    exec(compile(small, "README example", "exec"), {})
    assert set(zoo.Registry().records()) == {"lora-bert-imdb"}
    assert "Metric(name='accuracy'" in capsys.readouterr().out
