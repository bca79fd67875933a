"""Pairs of texts, from the official files or one's own, up to `zoo predict --pair`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED, Result, reviews, write_csv
from zoo import AdapterSpec
from zoo.data.dataset import Dataset, open_dataset
from zoo.errors import DataError
from zoo.plugins import manager, source
from zoo.registry.store import Registry
from zoo.runtime.console import RecordingReport, Report
from zoo.tasks.text_classification import TextClassification
from zoo.training import pipeline

Zoo = Callable[..., Result]
MRPC = SHARED / "data" / "mrpc"
OFFICIAL = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"


def pairs(rows: int = 60) -> list[tuple[str, str, str]]:
    """(text, text, label): two of three are twice the same, as in MRPC two of three are paraphrases."""
    texts = [text for text, _ in reviews(2 * rows)]
    return [
        (texts[2 * index], texts[2 * index + bool(index % 3 == 0)], str(int(index % 3 != 0)))
        for index in range(rows)
    ]


def write_official(path: Path, rows: Sequence[tuple[str, str, str]], *, mark: bool = True) -> Path:
    """The form of MRPC's own files: tabs, a byte order mark, Windows line ends, quotes of no effect."""
    lines = [f'{label}\t{index}\t{index + 1}\t"{one}\t{two}' for index, (one, two, label) in enumerate(rows)]
    content = "\r\n".join([OFFICIAL, *lines]) + "\r\n"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode("utf-8-sig" if mark else "utf-8"))
    return path


@pytest.fixture
def pairs_csv(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "pairs.csv", pairs(), header="question1,question2,is_duplicate")


@pytest.fixture
def task() -> TextClassification:
    found = manager.load_task("bert-mrpc")
    assert isinstance(found, TextClassification)
    return found


def opened(data: Path, report: Report | None = None, **settings: Any) -> Dataset:
    spec = AdapterSpec(method="lora", task="bert-mrpc", **settings)
    found = source.resolve(str(data), (), "data", Report())
    return open_dataset(manager.load_task("bert-mrpc"), found, spec, report or Report())


def every(found: Dataset) -> set[tuple[str, str, int]]:
    return {(row["text"], row["pair"], row["label"]) for row in found.train + found.held_out}


@pytest.fixture(scope="module")
def trained(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's folder with `mine`, trained on pairs, and `single`, on texts."""
    folder = tmp_path_factory.mktemp("trained")
    mrpc = write_csv(folder / "pairs.csv", pairs(), header="sentence1,sentence2,label")
    for name, task, data in (
        ("mine", "bert-mrpc", mrpc),
        ("single", "bert-imdb", write_csv(folder / "reviews.csv", reviews())),
    ):
        spec = AdapterSpec(
            name=name,
            method="lora",
            task=task,
            base=str(tiny_models["bert"]),
            data=str(data),
            epochs=1.0,
            precision="fp32",
        )
        pipeline.train(spec, Registry(folder / "registry.json"))
    return folder


@pytest.fixture
def used(trained: Path, zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.setenv("ZOO_REGISTRY", str(trained / "registry.json"))
    return zoo


# rows


def test_the_official_files_are_read_with_their_mark_and_their_quotes(tmp_path: Path) -> None:
    heard = RecordingReport()
    found = opened(write_official(tmp_path / "train.tsv", pairs()), heard)
    assert every(found) == {(f'"{one}', two, int(label)) for one, two, label in pairs()}
    assert found.labels == ["not_equivalent", "equivalent"]
    said = "columns: #1 String is the sentence1, #2 String is the sentence2, Quality is the label"
    assert said in heard.messages


def test_the_folder_of_the_official_files_is_a_train_and_a_test_split(tmp_path: Path) -> None:
    folder = tmp_path / "mrpc"
    write_official(folder / "msr_paraphrase_train.txt", pairs(60))
    write_official(folder / "msr_paraphrase_test.txt", pairs(80)[60:], mark=False)
    (folder / "LICENCE.html").write_text("<p>")
    found = opened(folder)
    assert (len(found.train), len(found.held_out)) == (60, 20)
    assert found.id.split == "the data's own test split"


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [
        ("sentence1", "sentence2", "label"),
        ("text_a", "text_b", "Label"),
        ("question1", "question2", "is_duplicate"),
        ("Text 1", "Text 2", "class"),
        ("premise", "hypothesis", "gold_label"),
    ],
)
def test_the_common_names_of_two_texts_are_known(first: str, second: str, label: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"id": index, first: one, second: two, label: int(y)} for index, (one, two, y) in enumerate(pairs())
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert every(opened(path)) == {(one, two, int(label)) for one, two, label in pairs()}


def test_words_for_labels_have_the_tasks_order_so_that_f1_is_that_of_equivalent(tmp_path: Path) -> None:
    words = {"0": "not_equivalent", "1": "Equivalent"}
    rows = [(one, two, words[label]) for one, two, label in pairs()]
    found = opened(write_csv(tmp_path / "pairs.csv", rows, header="sentence1,sentence2,label"))
    assert found.labels == ["not_equivalent", "equivalent"]
    assert every(found) == {(one, two, int(label)) for one, two, label in pairs()}


def test_pairs_with_an_empty_side_are_left_out_with_their_count(tmp_path: Path) -> None:
    rows = [(one, "" if index in (3, 5) else two, label) for index, (one, two, label) in enumerate(pairs())]
    rows[9] = ("  ", *rows[9][1:])
    heard = RecordingReport()
    found = opened(write_csv(tmp_path / "p.csv", rows, header="sentence1,sentence2,label"), heard)
    assert len(every(found)) == 57
    warning = heard.warnings[0]
    assert "3 rows" in warning
    assert "lack a text of the pair" in warning
    assert "first: train row 4" in warning


def test_a_file_whose_every_pair_has_an_empty_side_is_refused(tmp_path: Path) -> None:
    rows = [(one, "", label) for one, _, label in pairs()]
    with pytest.raises(DataError, match="no row with both texts and a label"):
        opened(write_csv(tmp_path / "p.csv", rows, header="sentence1,sentence2,label"))


def test_pairs_with_one_text_in_common_are_different_rows(task: TextClassification) -> None:
    one, other = task.example(("a", "b c")), task.example(("a b", "c"))
    assert len({task.key(one), task.key(other), task.key(task.example(("a", "b")))}) == 3


def test_a_folder_of_rows_without_a_header_is_read_by_where_the_label_stands(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{label}\t{one}\t{two}\n" for one, two, label in pairs()))
    heard = RecordingReport()
    assert every(opened(path, heard)) == {(one, two, int(label)) for one, two, label in pairs()}
    assert any(
        "has no header; its columns are taken to be label, sentence1, sentence2" in x for x in heard.messages
    )


# the model's inputs


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "llama"])
def test_two_texts_become_one_input_that_both_are_cut_to_fit(
    family: str, tiny_models: dict[str, Path], task: TextClassification
) -> None:
    tokenizer = task.load_processor(tiny_models[family])
    assert tokenizer.pad_token is not None
    one, two = (text for text, _ in reviews(2))
    encoded = task.encode([task.example((one, two)), task.example((two, one))], tokenizer, 128)
    alone = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (one, two)]
    assert encoded[0]["length"] >= sum(alone)
    assert encoded[0]["input_ids"] != encoded[1]["input_ids"]
    (short,) = task.encode([task.example((one, two))], tokenizer, 12)
    assert short["length"] == 12
    batch = task.collate([encoded[0], short], tokenizer)
    assert batch["input_ids"].shape == (2, encoded[0]["length"])


# baselines


def test_always_yes_stands_beside_a_majority_that_says_no(task: TextClassification) -> None:
    held_out = [{"labels": int(index < 4)} for index in range(10)]
    found = task.baselines(held_out, held_out, task.labels)
    f1 = {name: next(m.value for m in metrics if m.name == "f1") for name, metrics in found.items()}
    assert f1 == {"majority": 0.0, "always-yes": pytest.approx(2 * 0.4 / 1.4)}
    assert task.describe_baselines(held_out, task.labels)["always-yes"] == "always answering 'equivalent'"


def test_where_the_majority_says_yes_it_is_always_yes(task: TextClassification) -> None:
    held_out = [{"labels": int(index < 7)} for index in range(10)]
    assert set(task.baselines(held_out, held_out, task.labels)) == {"majority"}


def test_an_adapter_that_always_says_yes_is_flagged_on_accuracy_and_f1(trained: Path) -> None:
    record = Registry(trained / "registry.json").get("mine")
    assert {metric.name for metric in record.metrics} >= {"accuracy", "f1"}
    assert all(metric.low <= metric.value <= metric.high for metric in record.metrics)
    flag = next(flag for flag in record.flags if "always answering 'equivalent'" in flag)
    assert flag.startswith("accuracy, f1")


# predicting


def test_predict_of_pairs_prints_both_classes_in_percent(used: Zoo) -> None:
    one, two = (text for text, _ in reviews(2))
    done = used("predict", "mine", "--pair", one, two, "--pair", two, two)
    assert done.code == 0, done.err
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert header == ["label", "not_equivalent", "equivalent", "sentence1", "sentence2"]
    assert [row[3:] for row in rows] == [[one, two], [two, two]]
    for label, *shares, _, _ in rows:
        assert label in header[1:3]
        assert sum(float(share.removesuffix("%")) for share in shares) == pytest.approx(100, abs=0.11)


def test_predict_of_pairs_as_json_and_from_files_says_the_same(used: Zoo, tmp_path: Path) -> None:
    rows = [(one, two) for one, two, _ in pairs(5)]
    table = write_csv(tmp_path / "some.csv", [(one, f'"{two}"') for one, two in rows], header="text_a,text_b")
    lines = tmp_path / "some.txt"
    lines.write_text("".join(f"{one}\t{two}\n" for one, two in rows))
    words = [word for row in rows for word in ("--pair", *row)]
    typed = used("predict", "mine", *words, "--json")
    assert typed.code == 0, typed.err
    assert [(row["sentence1"], row["sentence2"]) for row in typed.json] == rows
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in typed.json)
    for file in (table, lines):
        assert used("predict", "mine", "-f", file, "--json").json == typed.json


def test_a_single_text_is_no_pair_and_a_pair_no_text(used: Zoo) -> None:
    alone = used("predict", "mine", "A fine film.")
    assert alone.code == 2
    assert "bert-mrpc takes a pair of texts, sentence1 and sentence2, and 1 were given" in alone.error
    assert "Next: zoo predict mine --pair" in alone.err
    paired = used("predict", "single", "--pair", "a", "b")
    assert paired.code == 2
    assert "bert-imdb takes one text" in paired.error
    both = used("predict", "mine", "a", "--pair", "a", "b")
    assert both.code == 2
    assert "not both" in both.error


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("some.txt", "one\ttwo\nalone\n", "line 2"),
        ("some.csv", "sentence1,sentence2\na,b\nc,\n", "row 2 has no sentence2"),
        ("some.csv", "sentence1,other\na,b\n", "no column 'sentence2'"),
    ],
)
def test_a_file_that_is_no_pairs_is_refused(
    name: str, content: str, said: str, used: Zoo, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    done = used("predict", "mine", "-f", tmp_path / name)
    assert done.code == 2, done.err
    assert said in done.error


def test_the_card_loads_it_with_two_texts_and_without_the_zoo(trained: Path) -> None:
    card = (trained / "adapters" / "mine" / "README.md").read_text()
    assert "inputs = tokenizer(*texts" in card
    assert "not_equivalent, equivalent" in card


# the real thing


@pytest.mark.skipif(not MRPC.is_dir(), reason="needs ../shared/data/mrpc")
def test_the_real_files_are_read_whole() -> None:
    found = opened(MRPC)
    assert (len(found.train), len(found.held_out)) == (3576, 500)
    assert found.labels == ["not_equivalent", "equivalent"]
    assert found.train[0]["text"].startswith('Amrozi accused his brother, whom he called "the witness", of')
    assert sum(row["label"] for row in found.held_out) == 346
