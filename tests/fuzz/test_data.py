"""Rows: tables, JSON, parquet, folders of pictures, conversations; pictures; the lines that predict reads."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import Recipe, contents, damage, dumped, edit, made, words
from zoo.data import columns, files
from zoo.data.files import columns_of, fingerprint, read_frames
from zoo.errors import ZooError
from zoo.plugins import manager
from zoo.registry.schema import AdapterSpec
from zoo.runtime.console import Report
from zoo.tasks.causal_lm.conversations import read_conversations
from zoo.tasks.image_text import captioned, images

ROWS = [{"text": f'review {number}, of "words"', "label": number % 2} for number in range(12)]
CSV = "text,label\n" + "".join(f'"review {n}, of ""words""",{n % 2}\n' for n in range(12))
TSV = "Quality\t#1 String\t#2 String\n" + "".join(f"{n % 2}\tone {n}\ttwo {n}\n" for n in range(12))
CHAT = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]},
    {
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
        "system": "Be kind.",
    },
    {"instruction": "Add.", "input": "1 1", "output": "2"},
    {"prompt": "Hi", "completion": [{"role": "assistant", "content": [{"type": "text", "text": "Ho"}]}]},
]
CAPTIONS = b"file_name,text\n0.png,a red square\n1.png,a blue square\n0.png,red\n"


def _tables(recipe: Recipe) -> tuple[str, bytes]:
    """A file's name, and what it holds."""
    suffix = recipe.one_of((".csv", ".tsv", ".json", ".jsonl"))
    if suffix in (".csv", ".tsv"):
        return f"rows{suffix}", damage(recipe, (CSV if suffix == ".csv" else TSV).encode())
    rows = edit(recipe, ROWS)
    if suffix == ".jsonl":
        content = b"\n".join(dumped(one).replace(b"\n", b"") for one in rows)
    else:
        content = dumped(rows)
    return f"rows{suffix}", damage(recipe, content) if recipe.below(2) else content


HUGE = ("rows.csv", CSV.encode() + b"a film," + b"9" * 400 + b"\n")


@fuzz(made(_tables), ("rows.json", b'[{"text": "\\ud83d", "label": 0}]'), HUGE)
def test_a_table_is_read_or_refused(tmp_path: Path, file: tuple[str, bytes]) -> None:
    path = tmp_path / file[0]
    path.write_bytes(file[1])
    frames = survives(lambda: read_frames(path))
    if frames is not None:
        _use(frames, path)


@pytest.fixture(scope="module")
def parquet() -> bytes:
    import pandas as pd

    file = io.BytesIO()
    pd.DataFrame(ROWS).to_parquet(file)
    return file.getvalue()


@fuzz(made(lambda recipe: Recipe(recipe.rest())))
def test_a_parquet_file_is_read_or_refused(tmp_path: Path, parquet: bytes, recipe: Recipe) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(damage(recipe, parquet))
    frames = survives(lambda: read_frames(path))
    if frames is not None:
        _use(frames, path)


def _use(frames: dict[str, Any], path: Path) -> None:
    """The rows as a task of texts reads them."""
    task = manager.load_task("bert-mrpc" if path.suffix == ".tsv" else "bert-imdb")
    survives(lambda: {name: columns.with_header(one, task.columns) for name, one in frames.items()})
    survives(lambda: columns.few_values(frames["train"]))
    found = survives(lambda: task.examples(frames, {}, str(path), Report()))
    if found is not None:
        splits, _ = found
        survives(lambda: fingerprint(splits, task.key))
        spec = AdapterSpec(method="lora", task=task.name, limit=4, eval_limit=2)
        survives(lambda: files.divide(splits, task.key, spec))


@fuzz(made(lambda recipe: edit(recipe, [recipe.one_of(CHAT)] * 2)))
def test_a_conversation_is_read_or_refused(tmp_path: Path, rows: Any) -> None:
    path = tmp_path / "chat.json"
    path.write_bytes(dumped(rows))
    frames = survives(lambda: read_frames(path))
    if frames is None:
        return
    survives(lambda: read_conversations(frames["train"], {}, str(path)))
    task = manager.load_task("tinyllama-chat")
    found = survives(lambda: task.examples(frames, {}, str(path), Report()))
    if found is not None:
        survives(lambda: fingerprint(found[0], task.key))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from PIL import Image

    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{number}.png")
    return tmp_path


@fuzz(
    contents(CAPTIONS)
    | made(
        lambda recipe: b"\n".join(
            dumped(one).replace(b"\n", b"")
            for one in edit(
                recipe, [{"file_name": "0.png", "text": ["a", "b"]}, {"file_name": "1.png", "text": "c"}]
            )
        )
    ),
    b"file_name,text\n0.p\0ng,a red square\n1.png,a blue square\n",
    share=0.2,
)
def test_the_captions_of_a_folder_are_read_or_refused(pictures: Path, content: bytes) -> None:
    name = "metadata.jsonl" if content.startswith(b"{") else "metadata.csv"
    for one in captioned.METADATA:
        (pictures / one).unlink(missing_ok=True)
    (pictures / name).write_bytes(content)
    frames = survives(lambda: captioned.read_folder(pictures))
    if frames:
        survives(lambda: captioned.examples(frames, {}, str(pictures), Report()))
        survives(lambda: captioned.captions(frames, str(pictures)))


@pytest.fixture(scope="module")
def drawn() -> tuple[bytes, ...]:
    """A small picture in each of the formats that people have."""
    from PIL import Image

    noise = Image.frombytes("RGB", (24, 24), random.Random(0).randbytes(24 * 24 * 3))
    found = []
    for form in ("png", "jpeg", "gif", "bmp", "webp", "tiff"):
        file = io.BytesIO()
        noise.save(file, form)
        found.append(file.getvalue())
    return tuple(found)


@fuzz(made(lambda recipe: Recipe(recipe.rest())))
def test_a_picture_is_opened_or_says_why_not(drawn: tuple[bytes, ...], recipe: Recipe) -> None:
    content = damage(recipe, recipe.one_of(drawn))

    def opened() -> bool:
        try:
            return images.open_image(content).mode == "RGB"
        except OSError as error:
            raise ZooError(str(error)) from None

    survives(opened)


@fuzz(words("text=review", "label=stars", "sentence1=q", "x", "=", "text= "), "it's=a b")
def test_a_column_is_found_or_refused(pair: str) -> None:
    import pandas as pd

    from zoo.data.dataset import check_roles
    from zoo.plugins.params import split_pairs

    given = survives(lambda: split_pairs([pair], "--column")) or {}
    task = manager.load_task("bert-imdb")
    text = pair.encode("utf-8", "replace").decode()  # pandas takes no other
    frame = pd.DataFrame({"review": ["a"], text: ["b"], "stars": [1]})

    def checked() -> None:
        check_roles(task, given)
        columns_of(frame, given, "rows.csv")

    survives(checked)
    survives(lambda: columns.recognise(frame, task.columns, given, "rows.csv"))
    survives(lambda: columns_of(frame, {"text": "nothing"}, "rows.csv"))
