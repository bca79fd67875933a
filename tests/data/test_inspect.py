"""`zoo data check`: what a task understands of rows, and what is wrong with them, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED, Result, reviews, write_csv
from zoo.testing import write_conversations, write_pictures

Zoo = Callable[..., Result]
SHARED = SHARED / "data"


@pytest.fixture
def check(zoo: Zoo, tiny_bert: Path) -> Zoo:
    """`zoo data check DATA --task bert-imdb` with the tiny base, and more words."""

    def run(data: Path, *more: object, task: str = "bert-imdb", base: Path | None = tiny_bert) -> Result:
        return zoo("data", "check", data, "--task", task, *(("--base", base) if base else ()), *more)

    return run


def facts(result: Result) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in result.out.splitlines():
        name, _, value = line.partition("\t")
        found.setdefault(name, []).append(value)
    return found


def notes(result: Result) -> str:
    return "\n".join(f"{one['detail']} {one['fix']}" for one in result.json["results"])


def test_good_rows_are_described_in_lines(check: Zoo, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "rows.csv", reviews(), header="review,label")
    done = check(data)
    assert done.code == 0, done.err
    found = facts(done)
    assert found["train columns"] == ["review, label"]
    assert found["train rows"] == ["60, of which 60 can be used"]
    assert found["train labels"] == ["negative 30 (50.0%), positive 30 (50.0%)"]
    assert found["understood"] == ["columns: review is the text"]
    assert found["train characters"][0].startswith("median ")
    assert "tiny-bert" in found["train tokens"][0]
    assert found["a run"][0].startswith("trains on 48 rows and evaluates on 12: held out of train")
    assert found["rows"] == ["ok\tnothing is wrong that can be seen without training\t"]


def test_a_folder_with_one_file_is_its_rows_for_the_check_and_for_a_run(
    check: Zoo, zoo: Zoo, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    file = write_csv(tmp_path / "mine" / "reviews.csv", reviews())
    whole, alone = check(tmp_path / "mine", "--json"), check(file, "--json")
    assert whole.code == 0, whole.err
    assert {**whole.json, "data": ""} == {**alone.json, "data": ""}
    words = ("train", "lora", "bert-imdb", "--base", tiny_bert, "--data", tmp_path / "mine")
    run = zoo(*words, "--dry-run", "--json")
    assert run.code == 0, run.err
    assert run.json["rows"] == "48 to train on, 12 held out"


def test_the_numbers_are_those_of_the_rows(check: Zoo, tmp_path: Path) -> None:
    rows = [(f"{'a' * length} film", str(length % 2)) for length in range(1, 41)]
    done = check(write_csv(tmp_path / "rows.csv", rows), "--json")
    assert done.code == 0, done.err
    (split,) = done.json["splits"]
    assert split["characters"] == {"median": 26, "most": 44, "longest": 45}
    assert split["tokens"] == {"median": 4, "most": 4, "longest": 4}
    assert split["labels"] == {"negative": 20, "positive": 20}
    assert (done.json["train"], done.json["held_out"]) == (32, 8)


def test_without_a_base_at_hand_tokens_are_not_counted_and_the_rest_is(
    check: Zoo, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("zoo_sources.pip.CARRIED", ())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    done = check(reviews_csv, "--json", base=None)
    assert done.code == 0, done.err
    assert "tokens are not counted" in done.err
    assert done.json["splits"][0]["tokens"] is None
    assert done.json["splits"][0]["characters"] is not None


def test_a_base_that_is_asked_for_and_not_there_is_an_error(check: Zoo, reviews_csv: Path) -> None:
    done = check(reviews_csv, base=Path("no/such/base/here"))
    assert done.code == 3
    assert "no/such/base/here" in done.error


def test_copies_contradictions_and_leaks_are_counted_and_shown(check: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    rows = reviews(60)
    torn = (rows[7][0], "0")
    write_csv(folder / "train.csv", [*rows, rows[0], rows[0], torn])
    write_csv(folder / "test.csv", [rows[1], *reviews(80)[60:]])
    done = check(folder, "--json")
    assert done.code == 0, done.err
    assert {name: done.json[name] for name in ("copies", "contradictions", "leaked")} == {
        "copies": 2,
        "contradictions": 1,
        "leaked": 1,
    }
    said = notes(done)
    assert "2 training rows are copies of others" in said
    assert f"1 inputs come with more than one label, as '{rows[7][0][:20]}" in said
    assert "1 training rows are among the held-out rows too" in said
    assert done.json["train"] == 62


def test_rows_without_text_or_label_are_counted(check: Zoo, tmp_path: Path) -> None:
    rows = reviews()
    rows[3], rows[5], rows[8] = ("", "1"), (" ", "0"), (rows[8][0], "")
    done = check(write_csv(tmp_path / "rows.csv", rows), "--json")
    assert done.code == 0, done.err
    assert (done.json["splits"][0]["rows"], done.json["splits"][0]["usable"]) == (60, 57)
    assert "2 rows" in notes(done)
    assert "have no text" in notes(done)
    assert "have no label" in notes(done)


def test_labels_that_are_rare_lopsided_or_spelt_twice_are_said_with_what_to_do(
    check: Zoo, tmp_path: Path
) -> None:
    labels = ["Spam"] * 56 + ["spam"] * 2 + ["ham"] * 2
    rows = [(text, label) for (text, _), label in zip(reviews(), labels, strict=True)]
    done = check(write_csv(tmp_path / "rows.csv", rows), "--json")
    assert done.code == 0, done.err
    said = notes(done)
    assert "too few training rows to learn a label from: 'ham' (2), 'spam' (2)" in said
    assert "93% of the rows are 'Spam': look at F1" in said
    assert "labels that may be meant to be one: 'Spam', 'spam'. write them alike" in said


def test_texts_that_would_be_cut_are_counted(check: Zoo, reviews_csv: Path) -> None:
    done = check(reviews_csv, "--max-length", 4, "--json")
    assert "100.0% of the rows are longer than 4 tokens" in notes(done)


def test_held_out_rows_from_elsewhere_are_a_split_of_their_own(
    check: Zoo, reviews_csv: Path, tmp_path: Path
) -> None:
    elsewhere = write_csv(tmp_path / "more.csv", [*reviews()[:3], *reviews(90)[60:]])
    done = check(reviews_csv, "--eval-data", elsewhere, "--json")
    assert done.code == 0, done.err
    assert [split["name"] for split in done.json["splits"]] == ["train", "eval"]
    assert (done.json["leaked"], done.json["train"], done.json["held_out"]) == (3, 57, 33)


@pytest.mark.parametrize(
    ("content", "said", "then"),
    [
        ("words,label\ngood,1\nbad,0\n", "no column 'text': it has words, label", "--column text=words"),
        ("text,label\ngood,1\nfine,1\n", "every row of", ""),
        ("text,label\n,1\n ,0\n", "no row with both a text and a label", ""),
        ("text,label\ngood,\nbad,\n", "has no label in any row", ""),
        ("text,label\ngood,1\nbad,0\n", "only 2 usable rows: at least 10", ""),
    ],
)
def test_rows_that_cannot_be_trained_on_end_with_2_after_what_was_understood(
    content: str, said: str, then: str, check: Zoo, tmp_path: Path
) -> None:
    data = tmp_path / "rows.csv"
    data.write_text(content)
    done = check(data)
    assert done.code == 2
    assert said in done.error
    assert then in done.err
    assert facts(done)["train rows"][0].startswith("2, of which")
    as_json = check(data, "--json")
    assert as_json.code == 2
    assert as_json.json["results"][-1]["status"] == "failed"


def test_a_file_that_cannot_be_read_is_one_line(check: Zoo, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"")
    done = check(tmp_path / "rows.csv")
    assert (done.code, done.out) == (2, "")
    assert "is empty" in done.error


def test_a_role_that_the_task_does_not_have_is_refused(check: Zoo, reviews_csv: Path) -> None:
    done = check(reviews_csv, "--column", "picture=label")
    assert done.code == 2
    assert "no column 'picture': it has text, label" in done.error


def test_pairs_are_checked_as_pairs(check: Zoo, tmp_path: Path) -> None:
    texts = [text for text, _ in reviews(80)]
    rows = [(texts[2 * index], texts[2 * index + 1], str(index % 2)) for index in range(40)]
    rows[2] = (rows[2][0], "", "1")
    done = check(
        write_csv(tmp_path / "p.csv", [*rows, rows[0]], header="text1,text2,label"),
        "--json",
        task="bert-mrpc",
    )
    assert done.code == 0, done.err
    assert done.json["copies"] == 1
    assert "1 rows" in notes(done)
    longest = max(len(one) + len(two) for one, two, _ in rows)
    assert done.json["splits"][0]["characters"]["longest"] == longest


def test_conversations_are_checked_too(check: Zoo, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    data = write_conversations(tmp_path / "talk.jsonl")
    done = check(data, "--json", task="tinyllama-chat", base=tiny_models["llama"])
    assert done.code == 0, done.err
    (split,) = done.json["splits"]
    assert split["usable"] == split["rows"] == len(data.read_text().splitlines())
    assert split["labels"] == {}
    assert split["tokens"]["median"] > 5


def test_pictures_are_checked_too(check: Zoo, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures")
    done = check(data, "--json", task="clip-retrieval", base=tiny_models["clip"])
    assert done.code == 0, done.err
    assert done.json["splits"][0]["usable"] > 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("name", "task", "counts"),
    [("mrpc", "bert-mrpc", (3576, 500)), ("sst2", "distilbert-sst2", (6920, 872))],
)
def test_the_real_files_have_nothing_that_stops(
    name: str, task: str, counts: tuple[int, int], check: Zoo
) -> None:
    done = check(SHARED / name, "--json", task=task)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    assert (found["train"], found["held_out"]) == counts
    assert (found["contradictions"], found["leaked"]) == (0, 0)
