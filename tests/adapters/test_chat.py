"""`zoo chat` on a tiny adapter: in a real terminal, in a pipe, and with one prompt."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result, run_process, tiny_spec
from tests.records import add_record
from zoo.adapters.chat import Chat
from zoo.registry.store import Registry
from zoo.tasks.causal_lm.generation import Sampling
from zoo.training import pipeline

Zoo = Callable[..., Result]
ASKED = "what is 3 and 3"
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, tiny_models: dict[str, Path]) -> Registry:
    """`sums` answers every question the same, `whole` is a model of its own, `film` does not chat."""
    home = tmp_path_factory.mktemp("chat")
    registry = Registry(home / "registry.json")
    data = home / "sums.json"
    rows = [{"instruction": f"what is {n} and {n}", "output": "it is six"} for n in range(40)]
    data.write_text(json.dumps(rows), encoding="utf-8")
    rates = {
        "lora": ("sums", 2e-2, {"r": "16", "targets": "all-linear", "dropout": "0"}),
        "full": ("whole", 5e-3, {}),
    }
    for method, (name, rate, params) in rates.items():
        settings: dict[str, Any] = {"max_length": 64, "epochs": 30.0, "batch_tokens": 512, "params": params}
        settings |= {"task": "tinyllama-chat", "name": name, "learning_rate": rate}
        pipeline.train(tiny_spec(method, tiny_models["llama"], data, **settings), registry)
    add_record(registry, "film")
    return registry


@pytest.fixture
def here(mine: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("ZOO_REGISTRY", str(mine.path))
    return mine


def test_what_was_learned_is_said_and_the_base_does_not_say_it(here: Registry) -> None:
    chat = Chat("sums", here, SHORT)
    assert chat.say(ASKED) == "it is six"
    chat.reset()
    assert chat.toggle() is False
    assert "six" not in chat.say(ASKED)
    chat.reset()
    assert chat.toggle() is True
    assert chat.say(ASKED) == "it is six"


def test_a_model_that_has_no_adapter_to_turn_off_has_its_base_read_beside_it(here: Registry) -> None:
    chat, adapter = Chat("whole", here, SHORT), Chat("sums", here, SHORT)
    chat.toggle()
    adapter.toggle()
    assert chat.say(ASKED) == adapter.say(ASKED)  # one base under both


def test_the_words_come_one_after_the_other(here: Registry) -> None:
    words: list[str] = []
    assert Chat("sums", here, SHORT).say(ASKED, words.append) == "it is six"
    assert len(words) > 2
    assert "".join(words) == "it is six"


def test_a_conversation_holds_both_sides_until_it_is_reset(here: Registry) -> None:
    chat = Chat("sums", here, SHORT, system="Add.")
    chat.say(ASKED)
    assert [one["role"] for one in chat.messages] == ["system", "user", "assistant"]
    chat.reset()
    assert chat.messages == [{"role": "system", "content": "Add."}]


def test_a_conversation_longer_than_the_model_forgets_its_first_turns(here: Registry) -> None:
    chat = Chat("sums", here, Sampling(max_new_tokens=400), system="Add.")
    for turn in range(6):
        chat.say(f"turn {turn} " + "please " * 20)
    contents = [one["content"] for one in chat.messages]
    assert contents[0] == "Add."
    assert not any(text.startswith("turn 0") for text in contents)
    assert any(text.startswith("turn 5") for text in contents)


def test_an_interrupted_answer_ends_there_and_the_conversation_goes_on(here: Registry) -> None:
    chat = Chat("sums", here, SHORT)

    def stop(word: str) -> None:
        heard.append(word)
        if len(heard) == 2:
            raise KeyboardInterrupt

    heard: list[str] = []
    assert "it is six".startswith(chat.say(ASKED, stop).strip())
    chat.reset()
    assert chat.say(ASKED) == "it is six"


def test_the_same_seed_says_the_same(here: Registry) -> None:
    warm = Sampling(max_new_tokens=12, temperature=5.0)
    one, same, other = (Chat("sums", here, warm, seed=seed).say(ASKED) for seed in (1, 1, 2))
    assert one == same != other


# the command


def test_one_prompt_gives_one_answer_on_stdout(zoo: Zoo, here: Registry) -> None:
    done = zoo("chat", "sums", "--prompt", ASKED, "--temperature", 0, "--registry", here.path)
    assert (done.code, done.out) == (0, "it is six\n"), done.err


def test_lines_of_a_pipe_are_answered_in_turn(here: Registry) -> None:
    lines = f"{ASKED}\n\n/base\n{ASKED}\n/reset\n/base\n{ASKED}\n/what\n/quit\n{ASKED}\n"
    done = run_process(
        "chat", "sums", "--temperature", 0, "--max-new-tokens", 12, "--registry", here.path, input=lines
    )
    assert done.code == 0, done.err
    answers = done.out.split("\n")
    assert answers[0] == answers[-2] == "it is six"
    assert done.out.count("it is six") == 2
    for said in ("the adapter is off", "the adapter is on", "forgotten", "no command is called '/what'"):
        assert said in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["film"], 2, "'film' is an adapter for bert-imdb, which does not chat"),
        (["sum"], 3, "sums"),
        (["sums", "--max-new-tokens", "0"], 2, "--max-new-tokens must be at least 1"),
        (["sums", "--max-new-tokens", "9999", "--prompt", "a"], 2, "leaves no room for a prompt"),
        (["sums", "--temperature", "-1"], 2, "--temperature must be 0 or more"),
        (["sums", "--top-p", "0"], 2, "--top-p must be above 0"),
        (["sums", "--prompt", " "], 2, "--prompt is empty"),
    ],
)
def test_what_cannot_be_is_an_error_in_a_line(
    zoo: Zoo, here: Registry, words: list[str], code: int, said: str
) -> None:
    done = zoo("chat", *words, "--registry", here.path)
    assert (done.code, done.out) == (code, ""), done.err
    assert said in done.err


@pytest.fixture
def terminal(here: Registry) -> Iterator[Any]:
    """`zoo chat sums` with a terminal of its own, waiting for its first line."""
    pexpect = pytest.importorskip("pexpect", reason="needs pexpect (the test extra)")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "zoo", "chat", "sums", "--temperature", "0", "--registry", str(here.path)],
        env={**os.environ, "TERM": "dumb"},
        encoding="utf-8",
        timeout=60,
    )
    try:
        child.expect_exact("sums> ")
        yield child
    finally:
        child.close(force=True)


def test_it_answers_streaming_in_a_real_terminal(terminal: Any) -> None:
    def ask(line: str) -> str:
        terminal.sendline(line)
        terminal.expect_exact("sums> ")
        return str(terminal.before).replace("\r", "")

    assert "it is six\n" in ask(ASKED)
    assert "the adapter is off: the base answers" in ask("/base")
    assert "it is six" not in ask("/reset")
    terminal.sendline(ASKED)  # untrained weights go on until they are stopped
    terminal.expect_exact(ASKED)
    terminal.expect(r"\S\S\S")
    terminal.sendintr()
    terminal.expect_exact("sums> ")
    assert "the adapter is on" in ask("/base")
    assert "forgotten" in ask("/reset")
    assert "it is six\n" in ask(ASKED)
    terminal.sendintr()
    terminal.expect_exact("/quit leaves.")
    terminal.sendline("/quit")
    terminal.wait()
    assert terminal.exitstatus == 0
