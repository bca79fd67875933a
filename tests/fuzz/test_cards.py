"""Model cards that people edit: front matter, block markers, prose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import texts
from tests.records import make_record
from zoo.cards import markdown, metadata, redact, render, validate
from zoo.errors import ZooError
from zoo.hub.infer_record import _card_base

NEW = render.card(make_record(), "print('hi')")
YAML = """license: mit
language: [en, de]
tags:
- one
- base_model:adapter:x/y
datasets: &rows [imdb]
metrics: *rows
model-index:
- name: x
  results:
  - task: {type: text-classification}
    dataset: {type: imdb, name: IMDB}
    metrics: [{type: accuracy, value: 0.9, name: Accuracy}]
base_model: google-bert/bert-base-cased
more: {date: 2026-01-01, number: 1_000.5, octal: 0o17, time: 1:30:00, yes: no, set: !!set {a, b}}
text: |
  several
  lines
"""
TAGS = "".join(
    f"a{n}: !!{tag} x\n" for n, tag in enumerate(("int", "float", "bool", "timestamp", "binary", "omap"))
)
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
BODY = NEW.partition("---\n\n")[2]
CARDS = (NEW, f"---\n{YAML}---\n# Mine\n{BODY}more", f"---\n{TAGS}---\n", f"---\n{BOMB}---\n")


@fuzz(
    texts(YAML, TAGS, BOMB, "a: &a [*a]\n", "a: {<<: {b: 1}}\n"), BOMB, TAGS, "a: &a [*a]\n", "a: !!int ''\n"
)
def test_front_matter_is_read_or_refused(text: str) -> None:
    def parsed() -> dict[str, Any]:
        try:
            return metadata.parse(text)
        except ValueError as error:
            raise ZooError(str(error)) from None

    matter = survives(parsed)
    if matter is not None:
        written = survives(lambda: metadata.dump(matter))
        assert written is not None
    merged = survives(lambda: metadata.merge(text, "license: mit\ntags: [x]\n"))
    assert merged is not None


MARKERS = "---\nlicense: mit\n---\n" + "<!-- zoo:begin -->\n" * 20_000


@fuzz(texts(*CARDS), MARKERS, *CARDS, share=0.1)
def test_an_edited_card_is_kept_or_replaced(tmp_path: Path, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    kept = survives(lambda: render.keep_prose(text, NEW))
    assert kept is not None
    assert survives(lambda: validate.validate(text)) is not None
    assert survives(lambda: validate.differs(text, make_record())) is not None
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert survives(lambda: _card_base(tmp_path)) is not None


@fuzz(
    texts(
        "a *bold* `code` [link](x) <b> | cell |\n```\nfence\n```",
        "zoo train lora x --data '/home/me/rows.csv'",
    ),
    "[" * 400_000,
)
def test_any_text_becomes_plain_markdown(text: str) -> None:
    for change in (
        markdown.plain,
        markdown.code,
        markdown.excerpt,
        markdown.single_line,
        redact.without_folder,
    ):
        assert survives(change, text) is not None
    assert "\n" not in markdown.row(text, text)
    record = make_record(command=text, labels=[text], flags=[text], origin=text)
    assert survives(lambda: redact.public(redact.public(record)) == redact.public(record))
