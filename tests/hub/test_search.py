from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.conftest import Result, run_process
from tests.hub.local_hub import LocalHub
from tests.third_party import hub as hub

Zoo = Callable[..., Result]
BERT = "google-bert/bert-base-cased"
LLAMA = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"


def card(base: str | None, *tags: str, **more: Any) -> dict[str, bytes]:
    matter: dict[str, Any] = {"library_name": "peft", "tags": list(tags), **more}
    if base:
        matter |= {"base_model": base, "base_model_relation": "adapter"}
        matter["tags"].append(f"base_model:adapter:{base}")
    return {"README.md": f"---\n{yaml.safe_dump(matter)}---\n".encode()}


def results(value: object) -> list[dict[str, Any]]:
    result = {
        "task": {"type": "text-classification"},
        "dataset": {"type": "stanfordnlp/imdb", "name": "imdb"},
        "metrics": [{"type": "accuracy", "value": value}],
    }
    return [{"name": "x", "results": [result]}]


@pytest.fixture
def shelf(hub: LocalHub) -> LocalHub:
    """A Hub with five adapters and a model."""
    ours = card(BERT, "adapter-zoo", "lora", "bert-imdb", **{"model-index": results(0.88)})
    hub.put("anna/lora-imdb", ours, downloads=10)
    hub.put("ben/old-name", card("bert-base-cased", "dora"), downloads=50)
    hub.put("ben/llama-lora", card(LLAMA, "lora"), downloads=30)
    hub.put("anna/llama-prefix", card(LLAMA, "adapter-zoo", "prefix"), downloads=5)
    hub.put("eve/strange", card("some/base", "lora", "\x1b[31mred\x1b[0m"), downloads=1)
    hub.put("big/model", {"README.md": b"---\nlicense: mit\n---\n", "config.json": b"{}"}, downloads=999)
    return hub


def repos(zoo: Zoo, *words: object) -> list[str]:
    done = zoo("search", *words, "--json")
    assert done.code == 0, done.err
    return [row["repo"] for row in done.json]


def test_without_words_every_adapter_comes_most_downloaded_first(zoo: Zoo, shelf: LocalHub) -> None:
    assert repos(zoo) == [
        "ben/old-name",
        "ben/llama-lora",
        "anna/lora-imdb",
        "anna/llama-prefix",
        "eve/strange",
    ]


@pytest.mark.parametrize("base", [BERT, "bert-base-cased", f"hub:{BERT}@abcdef0"])
def test_a_base_is_found_under_its_new_and_its_old_name(zoo: Zoo, shelf: LocalHub, base: str) -> None:
    assert repos(zoo, "--base", base) == ["ben/old-name", "anna/lora-imdb"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--method", "lora"), ["ben/llama-lora", "anna/lora-imdb", "eve/strange"]),
        (("--task", "bert-imdb"), ["anna/lora-imdb"]),
        (("--author", "anna"), ["anna/lora-imdb", "anna/llama-prefix"]),
        (("llama",), ["ben/llama-lora", "anna/llama-prefix"]),
        (("llama", "--method", "lora", "--base", LLAMA), ["ben/llama-lora"]),
        (("--base", "nobody/nothing"), []),
        (("--limit", 2), ["ben/old-name", "ben/llama-lora"]),
    ],
)
def test_every_word_narrows_the_search(
    zoo: Zoo, shelf: LocalHub, words: tuple[object, ...], found: list[str]
) -> None:
    assert repos(zoo, *words) == found


def test_a_name_that_only_the_hub_may_know_is_asked_for_and_nothing_found_is_explained(
    zoo: Zoo, shelf: LocalHub
) -> None:
    shelf.put("deb/deft-x", card(BERT, "adapter-zoo", "deft-2024"))
    assert repos(zoo, "--method", "deft-2024") == ["deb/deft-x"]
    done = zoo("search", "--method", "xyzzy", "--base", "google-bert/bert-base-casd")
    assert done.code == 0
    assert done.err.splitlines() == [
        "searching the Hub",
        "no adapter on the Hub fits",
        "no base is called 'google-bert/bert-base-casd' here. Did you mean 'google-bert/bert-base-cased'?",
        "no method is called 'xyzzy' here.",
    ]


def test_a_row_has_what_the_card_says(zoo: Zoo, shelf: LocalHub) -> None:
    done = zoo("search", "imdb")
    header, row = (line.split("\t") for line in done.out.splitlines())
    assert header == ["repo", "base", "method", "task", "metric", "value", "downloads", "updated"]
    assert row[:7] == ["anna/lora-imdb", BERT, "lora", "bert-imdb", "accuracy", "0.8800", "10"]


def test_more_than_a_page_is_followed_to_its_end(zoo: Zoo, hub: LocalHub) -> None:
    for number in range(25):
        hub.put(f"many/a{number:02}", card(BERT, "lora"), downloads=number)
    hub.page = 10
    assert len(repos(zoo, "--base", BERT, "--limit", 1200)) == 25
    assert zoo("search", "--base", BERT, "--limit", 12).err.endswith("\nthe first 12; --limit N shows more\n")


@pytest.mark.parametrize(
    "more",
    [
        {"model-index": "nonsense"},
        {"model-index": results("not a number")},
        {"model-index": [{"results": 5}]},
        {"base_model": {"a": 1}},
        {"base_model": [1, 2]},
    ],
)
def test_a_card_of_any_form_is_no_traceback(zoo: Zoo, hub: LocalHub, more: dict[str, Any]) -> None:
    hub.put("eve/odd", card(None, "adapter-zoo", **more))
    assert repos(zoo, "odd") == ["eve/odd"]


def test_untrusted_text_moves_no_cursor(zoo: Zoo, hub: LocalHub) -> None:
    hub.put("eve/odd", card("x/\x1b[2Jy\tz", "adapter-zoo", "lora"))
    done = zoo("search", "odd")
    assert (done.code, "\x1b" in done.out, len(done.out.splitlines()[1].split("\t"))) == (0, False, 8)


def test_offline_is_reported(zoo: Zoo) -> None:
    done = zoo("search", "x")
    assert (done.code, "HF_HUB_OFFLINE forbids that" in done.error) == (3, True)


def test_a_failing_hub_is_one_line(zoo: Zoo, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.down = True
    done = zoo("search", "x")
    assert (done.code, "the Hub failed (HTTP 503)" in done.error) == (3, True)


def test_a_search_imports_no_torch(hub: LocalHub, tmp_path: Any) -> None:
    env = {**hub.env(tmp_path), "HF_HUB_OFFLINE": "0", "PYTHONPROFILEIMPORTTIME": "1"}
    done = run_process("search", "x", env=env, fresh=True)
    assert done.code == 0, done.err
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert "huggingface_hub" in modules
    assert not modules & {"torch", "transformers", "peft"}
