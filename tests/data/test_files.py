"""Rows from files, divided for good: the same rows are held out whatever is asked of the run."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from zoo.cli.next_steps import next_step
from zoo.data.files import (
    HELD_OUT_MOST,
    Division,
    Example,
    columns_of,
    divide,
    fingerprint,
    read_frames,
)
from zoo.errors import DataError, NotFoundError
from zoo.plugins.source import Resolved
from zoo.registry.schema import AdapterSpec

PLAIN = [
    {"text": "a, film", "label": "1"},
    {"text": "NA", "label": "0"},
    {"text": "12", "label": "1"},
    {"text": "schön", "label": "0"},
]
QUOTED = [{"text": 'a "film"', "label": "1"}, {"text": "zwei\nZeilen", "label": "0"}]

WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True, force_ascii=False),
    "json": lambda frame, path: frame.to_json(path, orient="records", force_ascii=False),
    "parquet": lambda frame, path: frame.to_parquet(path),
}


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# reading


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_same_rows_as_text(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{suffix}"
    rows = PLAIN if suffix == "tsv" else PLAIN + QUOTED
    WRITERS[suffix](pd.DataFrame(rows), path)
    frames = read_frames(path)
    assert list(frames) == ["train"]
    assert frames["train"].to_dict("records") == rows


def test_capitals_in_the_suffix_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "ROWS.CSV", b"\xef\xbb\xbftext,label\r\na,1\r\nb,0\r\n")
    assert read_frames(path)["train"].to_dict("list") == {"text": ["a", "b"], "label": ["1", "0"]}


def test_in_a_folder_each_files_name_says_its_split(tmp_path: Path) -> None:
    written(tmp_path / "train.csv", "text,label\na,1\n")
    written(tmp_path / "Test.jsonl", '{"text": "b", "label": "0"}\n')
    written(tmp_path / "README.md", "not data")
    frames = read_frames(tmp_path)
    assert {split: table["text"].tolist() for split, table in frames.items()} == {
        "train": ["a"],
        "test": ["b"],
    }


@pytest.mark.parametrize("second", ["train.jsonl", "training.csv"])
def test_two_files_of_one_split_are_joined_or_refused_but_never_dropped(second: str, tmp_path: Path) -> None:
    written(tmp_path / "train.csv", "text,label\na,1\n")
    rows = '{"text": "b", "label": "0"}\n' if second.endswith("jsonl") else "text,label\nb,0\n"
    written(tmp_path / second, rows)
    found = ["a", "b"]
    with contextlib.suppress(DataError):
        found = read_frames(tmp_path)["train"]["text"].tolist()
    assert sorted(found) == ["a", "b"]


def test_only_the_rows_of_the_wanted_part_of_a_shared_file_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "text,label,source\na,1,imdb\nb,0,other\nc,0,imdb\n")
    assert read_frames(path, (("source", "imdb"),))["train"]["text"].tolist() == ["a", "c"]


def test_an_unquoted_tab_separated_review_keeps_its_quotation_marks(tmp_path: Path) -> None:
    """MRPC's own files are like this; a parser that looks for a closing quote swallows the rows between."""
    path = written(tmp_path / "rows.tsv", 'text\tlabel\n" an opening quote\t1\nplain\t0\nends with "\t1\n')
    assert len(read_frames(path)["train"]) == 3


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("sst2-dev.csv", "dev"),
        ("reviews_train.csv", "train"),
        ("test_rows.csv", "test"),
        ("training.csv", "train"),
        ("validation-00000-of-00001.csv", "validation"),
    ],
)
def test_the_first_or_last_word_of_a_files_name_is_its_split(name: str, split: str, tmp_path: Path) -> None:
    written(tmp_path / name, "text,label\na,1\n")
    assert list(read_frames(tmp_path)) == [split]


def test_the_shards_of_a_split_are_one_split_in_their_order(tmp_path: Path) -> None:
    for number in (1, 0, 2):
        written(tmp_path / f"train-0000{number}-of-00003.csv", f"text,label\nrow {number},1\n")
    frames = read_frames(tmp_path)
    assert frames["train"]["text"].tolist() == ["row 0", "row 1", "row 2"]


def test_a_text_file_with_tabs_is_tab_separated(tmp_path: Path) -> None:
    """MRPC's own files are called msr_paraphrase_train.txt and msr_paraphrase_test.txt."""
    written(tmp_path / "msr_paraphrase_train.txt", b'\xef\xbb\xbfQuality\t#1 String\r\n1\t"a\r\n')
    written(tmp_path / "msr_paraphrase_test.txt", 'Quality\t#1 String\n0\tb"\n')
    written(tmp_path / "notes.txt", "a\tb\n")
    frames = read_frames(tmp_path)
    assert {split: table.to_dict("records") for split, table in frames.items()} == {
        "train": [{"Quality": "1", "#1 String": '"a'}],
        "test": [{"Quality": "0", "#1 String": 'b"'}],
    }


# bad input


def test_no_row_with_the_wanted_values_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", "text,label,source\na,1,imdb\n")
    with pytest.raises(DataError, match="no row with source = other"):
        read_frames(path, (("source", "other"),))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", "", "is empty"),
        ("rows.jsonl", "", "is empty"),
        ("rows.parquet", "", "is empty"),
        ("rows.csv", "\n\n", "has no rows"),
        ("rows.csv", b"\xef\xbb\xbf", "has no rows"),
        ("rows.csv", "text,label\n", "has no rows"),
        ("rows.tsv", "text\tlabel", "has no rows"),
        ("rows.json", "[]", "has no rows"),
        ("rows.csv", "text,label\ncaf\xe9,1\n".encode("latin-1"), "is not UTF-8 (byte 14)"),
        ("rows.csv", "text,label\na,1\n".encode("utf-16"), "is not UTF-8"),
        ("rows.jsonl", b'{"text": "caf\xe9", "label": 1}\n', "is not UTF-8"),
        ("rows.csv", "text,label\na,1\nb,0,surplus\n", "line 3"),
        ("rows.csv", "text,label\na,1\nb\nc,0\n", "line 3"),  # a review cut off in the middle
        ("rows.csv", 'text,label\na,1\n"never closed,0\n', "csv"),
        ("rows.json", '{"text": "a"', "not a well-formed json file"),
        ("rows.jsonl", '{"text": "a"}\n{"text": \n', "not a well-formed jsonl file"),
        ("rows.json", "5", "json"),
        ("rows.parquet", "text,label\na,1\n", "not a well-formed parquet file"),
        ("rows.txt", "text,label\na,1\n", "is not a data file that the zoo reads"),
        ("rows", "text,label\na,1\n", "is not a data file that the zoo reads"),
    ],
)
def test_a_file_that_is_not_what_its_suffix_says_is_refused_in_one_line(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read_frames(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value).replace(str(path), "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", [2, 3, 900])
def test_a_line_with_too_many_fields_is_named_wherever_it_is(line: int, tmp_path: Path) -> None:
    """Left to itself pandas cuts a surplus field of the first row off, or shifts every column."""
    lines = ["text,label", *(f"row {number},{number % 2}" for number in range(2, 1000))]
    lines[line - 1] = "unquoted, with a comma,1"
    with pytest.raises(DataError, match=rf"line {line}\b"):
        read_frames(written(tmp_path / "rows.csv", "\n".join(lines) + "\n"))


@pytest.mark.parametrize("encoding", ["latin1", "utf-16"])
def test_the_remedy_for_another_encoding_is_a_command_that_works(encoding: str, tmp_path: Path) -> None:
    path = written(tmp_path / "my rows.csv", "text,label\ncafé,1\n".encode(encoding))
    with pytest.raises(DataError) as caught:
        read_frames(path)
    convert, again = str(caught.value.hint).split(" && ")
    assert convert.startswith(f"iconv -f {encoding} ")
    subprocess.run(convert, shell=True, check=True)
    copy = tmp_path / "my rows-utf8.csv"
    assert read_frames(copy)["train"]["text"].tolist() == ["café"]
    assert next_step(again, ["data", "check", str(path)]) == f"zoo data check '{copy}'"
    with pytest.raises(DataError) as caught:
        read_frames(path)
    assert caught.value.hint == again  # the copy is not written over


def test_a_folder_without_data_is_not_found(tmp_path: Path) -> None:
    written(tmp_path / "README.md", "nothing")
    with pytest.raises(NotFoundError, match="holds no data file"):
        read_frames(tmp_path)


def test_a_file_that_is_not_named_after_a_split_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "train.csv", "text,label\na,1\n")
    written(tmp_path / "reviews.csv", "text,label\nb,0\n")
    with pytest.raises(DataError, match=r"reviews\.csv is not named after its split") as caught:
        read_frames(tmp_path)
    assert "train.csv" in str(caught.value)
    assert "reviews.csv instead of " in str(caught.value.hint)


@pytest.mark.parametrize(("name", "split"), [("reviews.csv", "train"), ("my_test.csv", "test")])
def test_the_only_file_of_a_folder_is_to_train_on_unless_its_name_is_of_a_split(
    name: str, split: str, tmp_path: Path
) -> None:
    written(tmp_path / name, "text,label\na,1\n")
    written(tmp_path / "README.md", "nothing")
    assert list(read_frames(tmp_path)) == [split]


# columns


def test_columns_are_chosen_and_renamed_in_the_tasks_order() -> None:
    table = pd.DataFrame({"stars": ["5"], "extra": ["x"], "review": ["fine"]})
    found = columns_of(table, {"text": "review", "label": "stars"}, "rows.csv")
    assert found.to_dict("records") == [{"text": "fine", "label": "5"}]
    assert list(found.columns) == ["text", "label"]


def test_a_column_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(DataError, match=r"rows.csv has no column 'label': it has text, stars\.") as caught:
        columns_of(
            pd.DataFrame({"text": ["a"], "stars": ["5"]}), {"text": "text", "label": "label"}, "rows.csv"
        )
    assert caught.value.hint == "--column label=stars"


# dividing


def rows_of(count: int, positive: float = 0.3, start: int = 0) -> list[Example]:
    return [
        {"text": f"review {start + index}", "label": int(index < count * positive)} for index in range(count)
    ]


def key(row: Example) -> str:
    return str(row["text"])


def divided(
    splits: dict[str, list[Example]] | list[Example], eval_data: Resolved | None = None, **settings: Any
) -> Division:
    given = splits if isinstance(splits, dict) else {"train": splits}
    return divide(given, key, AdapterSpec(method="lora", task="bert-imdb", **settings), eval_data)


def texts(rows: list[Example]) -> set[str]:
    return {key(row) for row in rows}


def test_a_fifth_is_held_out_of_each_label_its_share() -> None:
    found = divided(rows_of(1000))
    assert Counter(row["label"] for row in found.held_out) == {1: 60, 0: 140}
    assert Counter(row["label"] for row in found.train) == {1: 240, 0: 560}
    assert found.available == 800
    assert found.rule == "held out of train: 200 of 1,000 rows by smallest SHA-256, stratified"


def test_training_and_held_out_rows_are_disjoint_and_together_all() -> None:
    rows = rows_of(500)
    found = divided(rows)
    assert not texts(found.train) & texts(found.held_out)
    assert texts(found.train) | texts(found.held_out) == texts(rows)


def test_no_more_than_five_thousand_rows_are_held_out() -> None:
    assert len(divided(rows_of(30_000)).held_out) == HELD_OUT_MOST == 5000


def test_the_held_out_rows_do_not_depend_on_limit_seed_or_the_order_of_the_file() -> None:
    rows = rows_of(400)
    mixed = random.Random(1).sample(rows, len(rows))
    held_out = texts(divided(rows).held_out)
    assert texts(divided(rows, limit=20).held_out) == held_out
    assert texts(divided(rows, seed=7).held_out) == held_out
    assert texts(divided(mixed, limit=20, seed=7).held_out) == held_out


def test_they_are_the_same_on_every_machine() -> None:
    """A value that a person could compute with sha256sum: a change of the rule must not go unnoticed."""
    found = divided(rows_of(10, positive=0.5))
    assert sorted(texts(found.held_out)) == ["review 2", "review 8"]


def test_the_limit_draws_training_rows_by_seed_of_each_label_its_share() -> None:
    rows = rows_of(500)
    first, again, other = (divided(rows, limit=50, seed=seed) for seed in (1, 1, 2))
    assert first.train == again.train
    assert texts(first.train) != texts(other.train)
    assert Counter(row["label"] for row in first.train) == {1: 15, 0: 35}
    assert first.available == 400
    mixed = divided(random.Random(1).sample(rows, len(rows)), limit=50, seed=1)
    assert texts(mixed.train) == texts(first.train)


@pytest.mark.parametrize("limit", [400, 10_000])
def test_a_limit_beyond_the_rows_takes_all_of_them(limit: int) -> None:
    assert len(divided(rows_of(500), limit=limit).train) == 400


def test_copies_of_held_out_rows_leave_the_training_rows() -> None:
    rows = rows_of(200) * 3
    found = divided(rows)
    assert not texts(found.train) & texts(found.held_out)
    assert len(texts(found.held_out)) == len(found.held_out)
    assert found.available == len(found.train) == 3 * (200 - len(found.held_out))


def test_a_text_with_two_labels_is_held_out_at_most_once() -> None:
    """And the count is met, though the first label took a text of the second."""
    rows = [{"text": f"review {index // 2}", "label": index % 2} for index in range(200)]
    found = divided(rows)
    assert len(texts(found.held_out)) == len(found.held_out)
    assert not texts(found.train) & texts(found.held_out)
    assert Counter(row["label"] for row in found.held_out) == {0: 20, 1: 20}


def test_a_test_split_that_came_with_the_data_is_used_whole() -> None:
    test = rows_of(30, start=1000)
    found = divided({"train": rows_of(100), "test": test, "validation": rows_of(20, start=2000)})
    assert found.held_out == test
    assert found.rule == "the data's own test split"
    assert len(found.train) == 100


def test_rows_from_elsewhere_are_called_after_their_place_and_must_be_there() -> None:
    more = Resolved(kind="data", id="local:more.csv", source="local", location="path:/more.csv")
    found = divided({"train": rows_of(100), "eval": rows_of(20, start=500)}, more)
    assert found.rule == "the rows of path:/more.csv"
    assert len(found.held_out) == 20
    with pytest.raises(DataError, match=r"path:/more\.csv has no usable row to evaluate on"):
        divided({"train": rows_of(100)}, more)


def test_without_a_test_split_validation_is_used_and_an_empty_split_is_none() -> None:
    validation = rows_of(20, start=2000)
    found = divided({"train": rows_of(100), "test": [], "validation": validation})
    assert found.held_out == validation
    assert "validation" in found.rule


def test_training_rows_that_are_in_the_given_test_split_are_left_out() -> None:
    train = rows_of(100)
    found = divided({"train": train, "test": train[:10] + rows_of(10, start=500)})
    assert len(found.train) == found.available == 90
    assert not texts(found.train) & texts(found.held_out)


def test_the_evaluation_limit_takes_a_fixed_balanced_part_and_says_so() -> None:
    splits = {"train": rows_of(100), "test": rows_of(1000, start=1000)}
    found = divided(splits, eval_limit=50)
    assert Counter(row["label"] for row in found.held_out) == {1: 15, 0: 35}
    assert found.rule == "the data's own test split, 50 of 1,000 rows by smallest SHA-256, stratified"
    assert divided(splits, eval_limit=50, seed=7).held_out == found.held_out
    assert divided(splits, eval_limit=5000).held_out == splits["test"]


def test_rows_that_the_evaluation_limit_leaves_out_are_still_not_trained_on() -> None:
    """So that the adapter can be measured on more of them later."""
    rows = rows_of(500)
    whole, part = divided(rows), divided(rows, eval_limit=20)
    assert len(part.held_out) == 20
    assert texts(part.held_out) < texts(whole.held_out)
    assert part.train == whole.train


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_rows_are_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"only {count} usable rows: at least 10"):
        divided(rows_of(count))


def test_nothing_left_to_train_on_is_refused() -> None:
    with pytest.raises(DataError, match="no row is left to train on"):
        divided({"test": rows_of(20)})
    with pytest.raises(DataError, match="no row is left to train on"):
        divided({"train": rows_of(20), "test": rows_of(20)})


def test_text_that_is_not_unicode_is_divided_too() -> None:
    rows = [{"text": f"half a pair \ud83d {index}", "label": index % 2} for index in range(20)]
    assert len(divided(rows).held_out) == 4
    assert len(fingerprint({"train": rows}, key)) == 64


# fingerprints


def test_the_fingerprint_is_of_the_rows_and_not_of_the_objects() -> None:
    splits = {"train": rows_of(20), "test": rows_of(5)}
    copy = json.loads(json.dumps(dict(reversed(splits.items()))))
    assert fingerprint(splits, key) == fingerprint(copy, key)


def test_the_fingerprint_changes_with_any_cell_row_order_and_split() -> None:
    def changed(where: int, **cells: Any) -> dict[str, list[Example]]:
        rows = rows_of(6)
        rows[where] = {**rows[where], **cells}
        return {"train": rows}

    rows = rows_of(6)
    others = [
        *(changed(index, text=f"review {index}.") for index in range(6)),
        *(changed(index, label=1 - rows[index]["label"]) for index in range(6)),
        {"train": rows[::-1]},
        {"train": rows[:-1]},
        {"train": [*rows, rows[-1]]},
        {"test": rows},
        {"train": rows[:-1], "test": rows[-1:]},
    ]
    found = {fingerprint(splits, key) for splits in [{"train": rows}, *others]}
    assert len(found) == len(others) + 1


def test_one_long_text_has_not_the_fingerprint_of_two_short_ones() -> None:
    two = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
    one = [{"text": "a\0train\x001\0b", "label": 0}]
    assert fingerprint({"train": one}, key) != fingerprint({"train": two}, key)
