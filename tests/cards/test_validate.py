"""A card keeps a person's prose and states the record; what the Hub would refuse is said before."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.records import make_base, make_metric, make_record
from zoo.cards.render import BEGIN, END, keep_prose, parts, render
from zoo.cards.validate import NO_BLOCK, differs, validate
from zoo.registry.schema import HubId, Sample

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
BASE = RECORD.base.id
RESULT = "[{name: a, results: [{task: {type: %s}, dataset: {type: d, name: n}, metrics: [%s]}]}]"


def edited(old: str, new: str) -> str:
    """The card with `new` in the place of `old`, which must be there."""
    text = render(RECORD)
    assert old in text, old
    return text.replace(old, new, 1)


def test_a_card_as_it_was_made_differs_in_nothing() -> None:
    published = msgspec.structs.replace(RECORD, hub=HubId(repo="me/mine", revision="01", url=""))
    assert differs(render(RECORD), RECORD) == differs(render(RECORD), published) == []
    assert differs(CARD, published) == []
    assert "me/mine" in differs(CARD, RECORD)[0]
    assert validate(CARD) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| accuracy | 0.8692 |", "| accuracy | 0.9999 |", "| accuracy | 0.8692 |"),
        ("| accuracy | 0.8692 |", "| accuracy | 0.87 |", "| accuracy | 0.8692 |"),
        ("value: 0.869234", "value: 0.969234", "the line 'value: 0.969234' should be 'value: 0.869234'."),
        ("majority: 0.5012", "majority: 0.1", "majority: 0.1"),
        ("verified: false", "verified: true", "'verified: true' should be 'verified: false'"),
        (f"safetensors: {WEIGHTS}", f"safetensors: {'0' * 64}", f"should be 'model.safetensors: {WEIGHTS}'"),
        (f"base_model: {BASE}", "base_model: a/b", f"'base_model: a/b' should be 'base_model: {BASE}'"),
        ("- stanfordnlp/imdb", "- stanfordnlp/imdb\n- glue", "glue"),
        (f"- base_model:adapter:{BASE}\n", "", f"the tag 'base_model:adapter:{BASE}' is missing"),
        (
            "tags:\n",
            "tags:\n- base_model:adapter:a/b\n",
            "'base_model:adapter:a/b' is not of the recorded base",
        ),
        ("- **Warning:**", "- **Praise:**", "**Warning:**"),
        ("One run, seed 42.", "Many runs.", "Many runs."),
        (f"{END}\n", f"| accuracy | 0.95 |\n{END}\n", "'| accuracy | 0.95 |' should be '<!-- zoo:end -->'"),
    ],
)
def test_the_first_line_that_is_not_the_records_is_named(old: str, new: str, said: str) -> None:
    found = differs(edited(old, new), RECORD)
    assert len(found) == 1, found
    assert said in found[0]


def test_a_line_that_is_missing_at_the_end_of_the_block_is_named() -> None:
    lines = render(RECORD).splitlines()
    assert differs("\n".join([*lines[:-2], lines[-1]]), RECORD)
    assert "model-index" in differs(without_model_index(render(RECORD)), RECORD)[0]


def without_model_index(text: str) -> str:
    start, end = text.index("model-index:"), text.index("pipeline_tag:")
    return text[:start] + text[end:]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n## Thanks\n\nIn 2026, 7 of us wanted 0.99.\n",
        lambda text: text.replace(
            f"# {RECORD.name}\n", "# Films\n\n| dish | price |\n|---|---|\n| soup | 3.50 |\n"
        ),
        lambda text: text.replace("language: en", "language: de\nthumbnail: a.png"),
        lambda text: text.replace("- adapter-zoo\n", "- adapter-zoo\n- films\n"),
        lambda text: text.replace("license: apache-2.0", "license: mit"),
        lambda text: text.replace("\n", "\r\n"),
    ],
    ids=["below", "above", "further keys", "further tags", "licence", "line ends"],
)
def test_prose_outside_the_block_and_further_front_matter_are_a_persons_and_stay(
    change: Callable[[str], str],
) -> None:
    text = change(render(RECORD))
    assert text != render(RECORD)
    assert differs(text, RECORD) == []
    kept = keep_prose(text, CARD)
    assert (parts(kept) or parts(""))[2] == (parts(CARD) or parts(""))[2]  # type: ignore[index]
    assert kept.replace("me/mine", RECORD.name) != CARD
    for line in set(text.splitlines()) - set(render(RECORD).splitlines()):
        assert line in kept.splitlines(), line


def test_a_card_that_nobody_edited_becomes_the_new_one() -> None:
    assert keep_prose(render(RECORD), CARD) == CARD
    assert keep_prose(CARD.replace("0.8692", "0.9692"), CARD) == CARD


def test_a_stated_licence_stays_until_another_is_asked_for() -> None:
    text = edited("license: apache-2.0", "license: mit")
    assert "license: mit\n" in keep_prose(text, CARD)
    assert "license: apache-2.0\n" in keep_prose(text, CARD, relicensed=True)


def test_a_marker_within_a_sample_ends_no_block() -> None:
    quoted = f"a\n{END}\n{BEGIN}\nb"
    record = msgspec.structs.replace(
        RECORD, samples=[Sample(prompt=quoted, expected=quoted, before=quoted, after=quoted)]
    )
    text = render(record) + "\nMine.\n"
    assert differs(text, record) == []
    assert keep_prose(text, render(record)) == text


def test_every_digit_of_the_table_and_of_the_model_index_counts() -> None:
    text = render(RECORD)
    for first, last in (("| accuracy |", "- **Warning:**"), ("    metrics:", "    task:")):
        start, end = text.index(first), text.index(last)
        for place in range(start, end):
            if text[place].isdigit() and not text[place - 1].isalpha():
                wrong = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
                assert differs(wrong, RECORD), text[place - 10 : place + 10]


def test_the_card_of_another_adapter_differs() -> None:
    other = make_record(base=make_base(id="a/b", revision=None, weights={"model.safetensors": "9" * 64}))
    assert len(differs(render(other), RECORD)) >= 3


@pytest.mark.parametrize("text", ["", "# Mine", f"{BEGIN}\n{END}", "---\nlicense: mit\n---\n# Of 0.1\n"])
def test_a_card_without_front_matter_or_markers_is_named_and_has_nothing_to_keep(text: str) -> None:
    assert differs(text, RECORD) == [NO_BLOCK]
    assert keep_prose(text, CARD) == CARD


def test_an_unreadable_front_matter_is_said() -> None:
    text = f"---\na: [\n---\n{BEGIN}\n{END}\n"
    assert differs(text, RECORD)[0].startswith("the front matter cannot be read: it is not YAML")
    assert keep_prose(text, CARD).startswith(CARD[: CARD.index("\n# lora")])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("base_model: /home/anna/bert", "base_model '/home/anna/bert' is a path"),
        ("base_model: ../bert", "is a path"),
        ("base_model: local:bert", "is a path"),
        ("base_model: C:\\models\\bert", "is a path"),
        ("base_model: my model", "is not the id of a model"),
        ("base_model: [a/b, ./c]", "base_model './c' is a path"),
        ("base_model: 7", "base_model is 7, which is not a string"),
        ("base_model_relation: cousin", "base_model_relation is one of adapter"),
        ("license: Apache 2.0", "'Apache 2.0' is unknown to the Hub. Did you mean 'apache-2.0'?"),
        ("license:", "license is missing"),
        ("license: [mit, 5]", "license is ['mit', 5]"),
        ("language: no", "language is False, which is not a string: put it in quotes"),
        ("language: English", "language 'English' is not an ISO 639 code"),
        ("datasets: [/home/anna/x.csv]", "datasets names '/home/anna/x.csv'"),
        ("tags: lora", "tags is not a list of strings"),
        ("metrics: [1]", "metrics is not a list of strings"),
        ("pipeline_tag: [a]", "pipeline_tag is ['a']"),
        ("model-index: nothing", "model-index cannot be read"),
        ("model-index: [{name: a, results: [{task: {type: t}, metrics: []}]}]", "model-index cannot be read"),
        ("model-index: " + RESULT % ("t", "{type: f1, value: [1]}"), "no value for 'f1'"),
        ("model-index: " + RESULT % (1, ""), "has no name"),
        ("a: [", "cannot be read: it is not YAML in its line"),
        ("license: mit\nlicense: mit", "'license' is there twice"),
    ],
)  # fmt: skip
def test_what_the_hub_refuses_is_reported(line: str, said: str) -> None:
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
