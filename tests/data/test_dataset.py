"""Which rows a run reads: splits by name, held-out rows from elsewhere, labels in every spelling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result, reviews, write_csv
from zoo import AdapterSpec
from zoo.data.dataset import Dataset, open_dataset
from zoo.errors import DataError, NotFoundError
from zoo.plugins import manager, source
from zoo.runtime.console import RecordingReport, Report

Zoo = Callable[..., Result]


def opened(data: Path, report: Report | None = None, **settings: Any) -> Dataset:
    spec = AdapterSpec(method="lora", task="bert-imdb", **settings)
    found = source.resolve(str(data), (), "data", Report())
    report = report or Report()
    eval_data = source.resolve_eval_data(spec.eval_data, report)
    return open_dataset(manager.load_task("bert-imdb"), found, spec, report, eval_data)


def texts(rows: Sequence[dict[str, Any]]) -> set[str]:
    return {row["text"] for row in rows}


def labelled(path: Path, *labels: object) -> Path:
    """Reviews with each of the labels in turn."""
    return write_csv(
        path, [(text, str(labels[index % len(labels)])) for index, (text, _) in enumerate(reviews())]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "rows"
    found.mkdir()
    for name, first in (("train", 0), ("validation", 60), ("test", 90)):
        write_csv(found / f"{name}.csv", reviews(120)[first : first + 60][: 30 if first else 60])
    return found


# splits


def test_the_split_that_is_asked_for_is_trained_on_and_another_judges(folder: Path) -> None:
    found = opened(folder, split="validation")
    assert texts(found.train) == {text for text, _ in reviews(120)[60:90]}
    assert texts(found.held_out) == {text for text, _ in reviews(120)[90:]}
    assert found.id.split == "the data's own test split"


def test_training_on_the_test_split_never_judges_by_it(folder: Path) -> None:
    found = opened(folder, split="test")
    assert texts(found.train) == {text for text, _ in reviews(120)[90:]}
    assert found.id.split == "the data's own validation split"


def test_a_split_that_is_not_there_is_said_with_those_that_are(folder: Path) -> None:
    with pytest.raises(DataError, match="no split 'dev': it has") as caught:
        opened(folder, split="dev")
    assert "test, train, validation" in str(caught.value)
    assert caught.value.hint == "--split test"


def test_data_of_one_split_of_another_name_is_trained_on_and_divided(folder: Path) -> None:
    (folder / "train.csv").unlink()
    (folder / "test.csv").unlink()
    found = opened(folder)
    assert (len(found.train), len(found.held_out)) == (24, 6)
    assert found.id.split.startswith("held out of train")


# held-out rows from elsewhere


def test_held_out_rows_from_elsewhere_judge_and_are_never_trained_on(tmp_path: Path, folder: Path) -> None:
    rows = [*reviews(60)[:5], *reviews(200)[150:]]
    elsewhere = write_csv(tmp_path / "more.csv", rows)
    found = opened(folder, eval_data=str(elsewhere))
    assert texts(found.held_out) == {text for text, _ in rows}
    assert texts(found.train) == {text for text, _ in reviews(60)[5:]}
    assert found.id.eval_location == f"path:{elsewhere}"
    assert found.id.split == f"the rows of path:{elsewhere}"


def test_of_a_folder_elsewhere_the_held_out_split_judges(folder: Path, reviews_csv: Path) -> None:
    found = opened(reviews_csv, eval_data=str(folder))
    assert texts(found.held_out) == {text for text, _ in reviews(120)[90:]}
    assert len(found.train) == 60


def test_the_fingerprint_is_of_the_held_out_rows_too(tmp_path: Path, reviews_csv: Path) -> None:
    found = {
        opened(
            reviews_csv, eval_data=str(write_csv(tmp_path / "more.csv", reviews(200)[first:]))
        ).id.fingerprint
        for first in (150, 160)
    }
    assert len(found | {opened(reviews_csv).id.fingerprint}) == 3


def test_held_out_rows_elsewhere_that_are_not_there_or_not_usable_are_refused(
    tmp_path: Path, reviews_csv: Path
) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.csv"):
        opened(reviews_csv, eval_data="path:nowhere.csv")
    bare = write_csv(tmp_path / "bare.csv", [("", "1"), (" ", "0")])
    with pytest.raises(DataError, match="no usable row to evaluate on"):
        opened(reviews_csv, eval_data=str(bare))


def test_held_out_labels_have_the_ids_of_the_training_labels(tmp_path: Path) -> None:
    """Two of three numbers are not the task's negative and positive."""
    data = labelled(tmp_path / "three.csv", 0, 1, 2)
    elsewhere = write_csv(tmp_path / "two.csv", [(f"{text}!", str(1 + int(y))) for text, y in reviews()])
    found = opened(data, eval_data=str(elsewhere))
    assert found.labels == ["0", "1", "2"]
    assert {row["label"] for row in found.held_out} == {1, 2}


# labels


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((0, 1), ["negative", "positive"]),
        (("0.0", "1.0"), ["negative", "positive"]),
        (("Positive", "negative"), ["negative", "positive"]),
        ((0, "positive"), ["negative", "positive"]),
        ((1, 2, 3), ["1", "2", "3"]),
        ((2, 10, 1), ["1", "2", "10"]),
        ((-1, 1), ["-1", "1"]),
        (("spam", "ham", "eggs"), ["eggs", "ham", "spam"]),
        (("no", "yes"), ["no", "yes"]),
    ],
)
def test_labels_are_numbers_or_words_or_both(
    labels: tuple[object, ...], names: list[str], tmp_path: Path
) -> None:
    heard = RecordingReport()
    found = opened(labelled(tmp_path / "rows.csv", *labels), heard)
    assert found.labels == names
    assert heard.warnings == []
    assert {row["label"] for row in found.train} == set(range(len(names)))


def test_numbers_among_words_are_classes_of_their_own_and_that_is_said(tmp_path: Path) -> None:
    heard = RecordingReport()
    found = opened(labelled(tmp_path / "rows.csv", 1, "spam", 0, "ham"), heard)
    assert found.labels == ["0", "1", "ham", "spam"]
    (warning,) = heard.warnings
    assert "numbers (0, 1) and words (ham, spam)" in warning


def test_rows_without_a_label_are_left_out_with_their_count(tmp_path: Path) -> None:
    heard = RecordingReport()
    found = opened(labelled(tmp_path / "rows.csv", 0, 1, 0, 1, 0, ""), heard)
    assert found.id.n_train_available + found.id.n_held_out == 50
    assert heard.warnings == [
        f"10 rows of {tmp_path / 'rows.csv'} have no label and are left out (first: train row 6)."
    ]


def test_a_split_without_labels_is_no_split(folder: Path) -> None:
    write_csv(folder / "test.csv", [(text, "-1") for text, _ in reviews(120)[90:]])
    found = opened(folder)
    assert found.id.split == "the data's own validation split"


# the command


@pytest.fixture
def train(zoo: Zoo, tiny_bert: Path) -> Zoo:
    def run(*more: object) -> Result:
        words = ("train", "lora", "bert-imdb", "--base", tiny_bert, "--epochs", 1, "--precision", "fp32")
        return zoo(*words, "--name", "mine", *more)

    return run


def test_columns_have_short_options(train: Zoo, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "odd.csv", reviews(), header="words,stars")
    done = train("--data", data, "--text-column", "words", "--label-column", "stars", "--json")
    assert done.code == 0, done.err
    assert done.json["spec"]["columns"] == {"text": "words", "label": "stars"}


def test_an_adapter_judged_by_rows_from_elsewhere_is_measured_by_them_again(
    train: Zoo, zoo: Zoo, tmp_path: Path, folder: Path
) -> None:
    elsewhere = write_csv(tmp_path / "more.csv", reviews(200)[150:])
    done = train("--data", folder, "--split", "validation", "--eval-data", elsewhere, "--json")
    assert done.code == 0, done.err
    assert done.json["data"]["eval_location"] == f"path:{elsewhere}"
    assert f"--split validation --eval-data path:{elsewhere}" in done.json["command"]
    again = zoo("evaluate", "mine", "--json")
    assert again.code == 0, again.err
    assert again.json[0]["metrics"] == done.json["metrics"]
    write_csv(elsewhere, reviews(200)[140:])
    changed = zoo("evaluate", "mine")
    assert changed.code == 5
    assert "has changed since" in changed.error


def test_names_of_own_classes_reach_the_card_and_the_predictions(
    train: Zoo, zoo: Zoo, tmp_path: Path
) -> None:
    done = train("--data", labelled(tmp_path / "rows.csv", "joy", "anger", "fear"), "--json")
    assert done.code == 0, done.err
    assert done.json["labels"] == ["anger", "fear", "joy"]
    (row,) = zoo("predict", "mine", "a text", "--json").json
    assert set(row["probabilities"]) == {"anger", "fear", "joy"}
    card = (tmp_path / "registry" / "adapters" / "mine" / "README.md").read_text()
    assert "Labels: `anger`, `fear`, `joy`." in card


def test_names_of_own_classes_reach_the_config_of_a_whole_model(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path
) -> None:
    from transformers import AutoConfig

    data = labelled(tmp_path / "rows.csv", "joy", "anger", "fear")
    done = zoo("train", "full", "bert-imdb", "--base", tiny_bert, "--data", data, "--epochs", 1, "--json")
    assert done.code == 0, done.err
    config = AutoConfig.from_pretrained(str(tmp_path / "registry" / "adapters" / "full-bert-imdb"))
    assert config.id2label == {0: "anger", 1: "fear", 2: "joy"}


def test_other_rows_with_some_of_three_numbers_are_measured_by_their_numbers(
    train: Zoo, zoo: Zoo, tmp_path: Path
) -> None:
    assert train("--data", labelled(tmp_path / "three.csv", 0, 1, 2)).code == 0
    done = zoo("evaluate", "mine", "--data", labelled(tmp_path / "two.csv", 0, 1), "--json")
    assert done.code == 0, done.err
    assert done.json[0]["metrics"][0]["n"] == 60
