"""An edited card keeps its prose and no number but the record's; what the Hub would refuse is said before."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.records import make_base, make_metric, make_record
from zoo.cards.render import render
from zoo.cards.tables import same_numbers
from zoo.cards.validate import differs, is_edited, validate
from zoo.registry.schema import HubId

RECORD = make_record(
    metrics=[
        make_metric("accuracy", 0.869234, low=0.8471, high=0.8888, n=983),
        make_metric("f1", 0.7531, low=0.7123, high=0.7987, n=983),
    ],
    baselines={
        "majority": [make_metric("accuracy", 0.5012, low=0.4701, high=0.5323, n=983)],
        "untrained": [make_metric("accuracy", 0.512, low=0.48, high=0.54, n=491)],
    },
    flags=["f1: not better than always answering 'positive' beyond chance"],
)
CARD = render(RECORD, "me/mine")
WEIGHTS = RECORD.base.weights["model.safetensors"]
REVISION = "0123456789"
BASE = RECORD.base.id
RESULT = "[{name: a, results: [{task: {type: %s}, dataset: {type: d, name: n}, metrics: [%s]}]}]"


def edited(old: str, new: str, times: int = 1) -> str:
    """The card with `new` in the place of `old`, which must be there."""
    assert old in CARD, old
    return CARD.replace(old, new, times)


def test_a_card_as_it_was_made_differs_in_nothing() -> None:
    assert differs(CARD, RECORD) == []
    assert differs(render(RECORD), RECORD) == []
    assert validate(CARD) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("accuracy | 0.8692", "accuracy | 0.9999", "accuracy 0.9999 is not the record's 0.8692"),
        ("accuracy | 0.8692", "accuracy | 0.8693", "accuracy 0.8693"),
        ("accuracy | 0.8692", "accuracy | 1", "accuracy 1 is not"),
        ("0.8471 to 0.8888", "0.8671 to 0.8888", "interval of accuracy"),
        ("983 | 0.5012", "9830 | 0.5012", "n of accuracy 9830 is not the record's 983"),
        ("0.5012 (0.4701", "0.4012 (0.4701", "majority of accuracy"),
        ("n 491", "n 983", "untrained of accuracy"),
        ("value: 0.869234", "value: 0.969234", "accuracy 0.969234 is not the record's 0.869234"),
        ("value: 0.869234", "value: '0.9'", "accuracy 0.9 is not"),
        ("low: 0.8471", "low: 0.8771", "low of accuracy 0.8771"),
        ("majority: 0.5012", "majority: 0.1", "majority of accuracy 0.1"),
        ("seed: 42", "seed: 43", "seed of accuracy 43"),
        ("verified: false", "verified: true", "accuracy is not verified"),
        ("fingerprint: sha256:ef", "fingerprint: sha256:ee", "args"),
        ("type: stanfordnlp/imdb", "type: glue", "type glue of the data"),
        (f"safetensors: {WEIGHTS}", f"safetensors: {'0' * 64}", "base_model_sha256 of model.safetensors"),
        (f"base_model: {BASE}", "base_model: a/b", f"base_model a/b is not the record's {BASE}"),
        (f"base_model:adapter:{BASE}", "base_model:adapter:a/b", "the tag base_model:adapter:a/b"),
        (
            f"revision | `{REVISION}`",
            "revision | `main`",
            "base revision main is not the record's",
        ),
        (f"base model | `{BASE}`", "base model | `gpt2`", "base model gpt2"),
        (f"`{WEIGHTS}`", f"`{'0' * 64}`", "model.safetensors sha256 000"),
        ("trained parameters | 296,450", "trained parameters | 96,450", "trained parameters 96,450"),
        ("rows trained on | 2,000", "rows trained on | 20,000", "rows trained on"),
        ("learning rate | 0.001", "learning rate | 0.01", "learning rate 0.01"),
    ],
)
def test_a_number_that_is_not_the_records_is_named(old: str, new: str, said: str) -> None:
    found = differs(edited(old, new), RECORD)
    assert any(said in one for one in found), found
    assert len(found) <= 3, found


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (f"Its weights have the sha256 {'7' * 64}.", "sha256 777"),
        ("| metric | value |\n|---|---|\n| accuracy | 0.95 |", "accuracy 0.95 is not the record's 0.8692"),
        ("metric | value\n---|---\nbleu | 0.5", "bleu in the table of results is not on record"),
    ],
)
def test_a_number_that_was_added_is_named(more: str, said: str) -> None:
    found = differs(f"{CARD}\n{more}\n", RECORD)
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("| f1 | 0.7531", "f1 is gone from the table of results"),
        ("| trained parameters", "trained parameters is gone"),
        ("| fingerprint of the rows", "fingerprint of the rows is gone"),
        ("| base model |", "base model is gone"),
        ("| model.safetensors", "model.safetensors is gone"),
        ("- **Doubt:**", "the doubt is gone: f1"),
        ("base_model: google", "base_model is gone"),
        ("base_model_revision", "base_model_revision is gone"),
        ("- stanfordnlp/imdb", "the data set stanfordnlp/imdb is gone"),
        ("- base_model:adapter", "the tag base_model:adapter:google-bert/bert-base-cased is gone"),
    ],
)
def test_a_result_that_was_deleted_is_missed(gone: str, said: str) -> None:
    lines = CARD.splitlines()
    assert any(line.startswith(gone) for line in lines)
    text = "\n".join(line for line in lines if not line.startswith(gone))
    assert any(said in one for one in differs(text, RECORD)), differs(text, RECORD)


def test_a_model_index_that_was_deleted_is_missed_result_by_result() -> None:
    start, end = CARD.index("model-index:"), CARD.index("pipeline_tag:")
    found = differs(CARD[:start] + CARD[end:], RECORD)
    assert found == ["accuracy is gone from the model-index.", "f1 is gone from the model-index."]


@pytest.mark.parametrize(
    "change",
    [
        lambda: edited("## Limits\n", "## Why\n\nBecause, in 2026, 7 of us wanted it.\n\n## Limits\n"),
        lambda: edited("On 1,000 held-out rows", "On about 1,000 rows that it has never seen"),
        lambda: edited("- One run with one seed", "- Only one run with one seed"),
        lambda: edited("| accuracy | 0.8692 |", "| **accuracy** | 0.87 |"),
        lambda: edited("| accuracy | 0.8692 |", "| accuracy | 86.92% |"),
        lambda: edited("0.8471 to 0.8888", "0.847–0.889"),
        lambda: edited("value: 0.869234", "value: 0.8692"),
        lambda: edited("language: en", "language: en\nthumbnail: a.png"),
        lambda: edited("- adapter-zoo\n", "- adapter-zoo\n- films\n"),
        lambda: edited("license: apache-2.0", "license: mit"),
        lambda: edited("| hardware | a CPU, 2 threads |", "| hardware | my laptop, 2 threads |"),
        lambda: CARD + "\n| dish | price |\n|---|---|\n| soup | 3.50 |\n",
        lambda: CARD.replace("\n", "\r\n"),
        lambda: CARD[: CARD.index("## Cost")] + "## Costs" + CARD[CARD.index("## Cost") + 7 :],
    ],
)  # fmt: skip
def test_prose_may_change_and_numbers_may_be_rounded(change: Callable[[], str]) -> None:
    text = change()
    assert text != CARD
    assert differs(text, RECORD) == []


def test_sections_and_columns_may_move() -> None:
    head, first, *rest = CARD.split("\n## ")
    assert differs("\n## ".join([head, *rest, f"{first}\n"]), RECORD) == []
    moved = edited("| metric | value | interval | n |", "| metric | n | interval | value |")
    for metric in RECORD.metrics:
        old = f"{metric.value:.4f} | {metric.low:.4f} to {metric.high:.4f} | {metric.n} |"
        moved = moved.replace(
            old, f"{metric.n} | {metric.low:.4f} to {metric.high:.4f} | {metric.value:.4f} |"
        )
    assert differs(moved, RECORD) == []


def test_every_digit_of_the_table_of_results_counts() -> None:
    start, end = CARD.index("| accuracy |"), CARD.index("- **Doubt:**")
    for place in range(start, end):
        if CARD[place].isdigit() and CARD[place - 1 : place + 1] != "f1":
            text = CARD[:place] + str((int(CARD[place]) + 1) % 10) + CARD[place + 1 :]
            assert differs(text, RECORD), CARD[place - 10 : place + 10]


def test_every_digit_of_the_front_matters_results_counts() -> None:
    start, end = CARD.index("    metrics:"), CARD.index("    task:")
    for place in range(start, end):
        if CARD[place].isdigit() and not CARD[place - 1].isalpha():
            text = CARD[:place] + str((int(CARD[place]) + 1) % 10) + CARD[place + 1 :]
            assert differs(text, RECORD), CARD[place - 20 : place + 10]


def test_the_card_of_another_adapter_differs() -> None:
    other = make_record(base=make_base(id="a/b", revision=None, weights={"model.safetensors": "9" * 64}))
    assert len(differs(render(other), RECORD)) > 5


def test_an_unreadable_front_matter_is_said() -> None:
    assert differs("---\na: [\n---\n", RECORD)[0].startswith(
        "the front matter cannot be read: it is not YAML"
    )
    assert "no front matter" in differs("", RECORD)[0]


def test_a_card_that_nobody_edited_is_known_wherever_it_is_opened_from() -> None:
    published = msgspec.structs.replace(RECORD, hub=HubId(repo="me/mine", revision="01", url=""))
    assert not is_edited(render(RECORD), RECORD)
    assert not is_edited(CARD, published)
    assert is_edited(CARD, RECORD)
    assert is_edited(f"{CARD}\nMine.\n", published)


@pytest.mark.parametrize(
    ("said", "wanted", "same"),
    [
        ("0.87", "0.8692", True), ("0.9", "0.8692", False), ("1", "0.8692", False), ("87%", "0.8692", True),
        ("0.86920", "0.8692", True), ("0.86921", "0.8692", False), ("-0.03", "-0.0299", True),
        ("0.03", "-0.0299", False), ("1,000", "1000", True), ("0.78-0.83", "0.7835 to 0.8322", True),
        ("1e-3", "0.001", True), ("", "0.5", False), ("0.5 0.5", "0.5", False), ("1e999999999", "1", False),
        (".5000", "0.5", True), ("9" * 5000, "9", False),
    ],
)  # fmt: skip
def test_a_number_may_lose_digits_down_to_two_and_no_more(said: str, wanted: str, same: bool) -> None:
    assert same_numbers(said, wanted) is same


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("base_model: /home/anna/bert", "base_model '/home/anna/bert' is a path"),
        ("base_model: ../bert", "is a path"),
        ("base_model: local:bert", "is a path"),
        ("base_model: C:\\models\\bert", "is a path"),
        ("base_model: my model", "is no id of a model"),
        ("base_model: [a/b, ./c]", "base_model './c' is a path"),
        ("base_model: 7", "base_model is 7, which is no text"),
        ("base_model_relation: cousin", "base_model_relation is one of adapter"),
        ("license: Apache 2.0", "'Apache 2.0' is no id that the Hub knows. Did you mean 'apache-2.0'?"),
        ("license:", "license is missing"),
        ("license: [mit, 5]", "license is ['mit', 5]"),
        ("language: no", "language is False, which is no text: put it in quotes"),
        ("language: English", "language 'English' is no code"),
        ("datasets: [/home/anna/x.csv]", "datasets names '/home/anna/x.csv'"),
        ("tags: lora", "tags is no list of texts"),
        ("metrics: [1]", "metrics is no list of texts"),
        ("pipeline_tag: [a]", "pipeline_tag is ['a']"),
        ("model-index: nothing", "model-index cannot be read"),
        ("model-index: [{name: a, results: [{task: {type: t}, metrics: []}]}]", "model-index cannot be read"),
        ("model-index: " + RESULT % ("t", "{type: f1, value: [1]}"), "no value for 'f1'"),
        ("model-index: " + RESULT % (1, ""), "has no name"),
        ("a: [", "cannot be read: it is not YAML in its line"),
        ("license: mit\nlicense: mit", "'license' is there twice"),
    ],
)  # fmt: skip
def test_what_the_hub_refuses_is_said(line: str, said: str) -> None:
    key = line.partition(":")[0]
    rest = [] if key == "license" else ["license: mit"]
    found = validate("\n".join(["---", *rest, line, "---", "", "# Title"]))
    assert len(found) == 1, found
    assert said in found[0]


def test_a_card_without_front_matter_or_licence_is_refused() -> None:
    assert validate("# Title") == [
        "the card has no front matter: it begins with a line ---, and another ends it."
    ]
    assert validate("---\ntags: [lora]\n---\n") == ["license is missing."]
    assert validate(render(make_record(base=make_base(licence=None)))) == ["license is missing."]
    assert validate(render(make_record(base=make_base(licence=None)), licence="mit")) == []
