"""Rows and references that are refused, by the place that refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.cli.next_steps.harness import TRAIN, Case, World
from tests.conftest import reviews, write_csv
from zoo.testing.data import write_pictures

CHECK = "data check {} --task bert-imdb --base base"
REVIEWS = CHECK.format("reviews.csv")
FILES = "zoo/data/files.py"
SOURCE = "zoo/plugins/source.py"


def table(header: str, *, name: str = "other.csv", spare: str = "") -> Callable[[World], None]:
    """A file whose texts and labels are under other names."""

    def write(world: World) -> None:
        rows = [(text, *([spare] if spare else []), label) for text, label in reviews()]
        write_csv(world.folder / name, rows, header)

    return write


def two_texts(world: World) -> None:
    write_csv(
        world.folder / "other.csv", [(text, text, label) for text, label in reviews()], "review,body,label"
    )


def only_a_dev_and_a_test(world: World) -> None:
    (world.folder / "splits").mkdir()
    for name in ("dev.csv", "test.csv"):
        write_csv(world.folder / "splits" / name, reviews()[len(name) % 2 :: 2])


def no_split(world: World) -> None:
    (world.folder / "splits").mkdir()
    for name in ("some.csv", "train.csv"):
        write_csv(world.folder / "splits" / name, reviews())


def latin1(world: World) -> None:
    rows = "".join(f'"caf\xe9 {text}",{label}\n' for text, label in reviews())
    (world.folder / "other.csv").write_bytes(f"text,label\n{rows}".encode("latin1"))


def utf16(world: World) -> None:
    rows = "".join(f'"{text}",{label}\n' for text, label in reviews())
    (world.folder / "other.csv").write_bytes(f"text,label\n{rows}".encode("utf-16"))


def a_list_in_jsonl(world: World) -> None:
    rows = [{"text": text, "label": label} for text, label in reviews()]
    world.write("other.jsonl", json.dumps(rows, indent=1))


def many_labels(world: World) -> None:
    rows = [(text, f"{number / 7:.3f}", label) for number, (text, label) in enumerate(reviews())]
    write_csv(world.folder / "other.csv", rows, "text,label,stars")


def long_texts(world: World) -> None:
    write_csv(world.folder / "other.csv", [(f"{text} " * 3, label) for text, label in reviews()])


def questions(world: World) -> None:
    world.base("llama", "llama")
    rows = [{"question": f"Is {one} even?", "reply": "It depends."} for one in range(20)]
    world.write("talk.jsonl", "".join(json.dumps(one) + "\n" for one in rows))


def pictures(world: World) -> None:
    write_pictures(world.folder / "pictures")


def bare(world: World) -> None:
    world.base("bert", "bare")
    (world.folder / "bare" / "model.safetensors").unlink()


def gaps(world: World) -> None:
    write_csv(world.folder / "other.csv", [("", "1"), *reviews()])


OTHER = CHECK.format("other.csv")
CASES = [
    Case(f"{FILES} check_columns 1", OTHER, "--column text=words", table("words,label")),
    Case(
        f"{FILES} check_columns 1",
        f"{OTHER} --column label=stras",
        "--column label=stars",
        table("text,stars"),
    ),
    Case(f"{FILES} check_columns 1", f"{OTHER} --label-column stras", "label=stars", table("text,stars")),
    Case(f"{FILES} _read_splits 1", CHECK.format("splits"), "splits/some.csv", no_split),
    Case(f"{FILES} _read_file 1", OTHER, "iconv -f latin1", latin1),
    Case(f"{FILES} _read_file 1", OTHER, "iconv -f utf-16", utf16),
    Case("zoo/data/columns.py _only 1", OTHER, "--column text=review", two_texts),
    Case("zoo/data/dataset.py frames_of 1", CHECK.format("splits"), "--split", only_a_dev_and_a_test),
    Case("zoo/data/dataset.py check_roles 1", f"{REVIEWS} --column txet=text", "--column text=text"),
    Case("zoo/data/json_rows.py _lines 1", CHECK.format("other.jsonl"), "mv ", a_list_in_jsonl),
    Case(
        "zoo/data/inspect.py check 1", f"{OTHER} --max-length 4", "--max-length", long_texts, check="length"
    ),
    Case(
        "zoo/tasks/text_classification.py TextClassification._label_ids 1", OTHER, "label=stars", many_labels
    ),
    Case(
        "zoo/tasks/causal_lm/conversations.py read_conversations 1",
        "data check talk.jsonl --task tinyllama-chat --base llama",
        "--column prompt=question --column completion=reply",
        questions,
    ),
    Case(
        "zoo/runtime/console.py Report.left_out 1",
        TRAIN.replace("reviews", "other") + " --strict --dry-run",
        "",
        gaps,
    ),
    Case(
        f"{SOURCE} resolve 1",
        "data check --task clip-retrieval",
        "zoo data check",
        fill={"FILE": "pictures"},
        state=pictures,
    ),
    Case(f"{SOURCE} _resolve_one 1", CHECK.format("path:"), "", fill={"FILE": "reviews.csv"}),
    Case(f"{SOURCE} _no_file 1", CHECK.format("reviws.csv"), "zoo data check reviews.csv"),
    Case(f"{SOURCE} _no_file 1", CHECK.format("/nowhere/xyz.csv"), "", fill={"FILE": "reviews.csv"}),
    Case(
        f"{SOURCE} _resolve_one 3",
        TRAIN.replace("--base base", "--base pip:bse") + " --dry-run",
        "--base pip:",
    ),
    Case(f"{SOURCE} _resolve_one 3", "data check pip:xyz --task clip-retrieval", "zoo sources"),
    Case(
        f"{SOURCE} _resolve_one 2",
        TRAIN.replace("--base base", "--base google-bert/bert-large-cased") + " --dry-run",
        "--base pip:",
    ),
    Case(
        "plugins/zoo_sources/local.py Local.resolve 4",
        TRAIN.replace("--base base", "--base bare") + " --dry-run",
        "--base pip:",
        bare,
    ),
]
SLOW = [
    Case(
        f"{SOURCE} _resolve_one 3",
        "data check pip:xyz --task bert-imdb --base base",
        "zoo data check pip:stanfordnlp/imdb",
    ),
]
