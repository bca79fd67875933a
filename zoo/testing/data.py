"""Small data worth reading: reviews, conversations and pictures with captions, as files that tasks open."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

_GOOD = ("a moving and honest film", "wonderful acting throughout", "I loved every minute", "a joy to watch")
_BAD = ("a dull and lifeless film", "terrible acting throughout", "I hated every minute", "a chore to watch")
_MORE = ("on a Sunday", "in the cinema", "with my sister", "again last night", "for the third time")
_COLOURS = ("red", "green", "blue", "black", "orange")
_SHAPES = ("square", "circle", "triangle")
_GROUNDS = ("white", "yellow")
_ANIMALS = ("cat", "dog", "horse", "snail", "whale", "parrot")
_ASKED = {
    "How many legs has a {}?": {"cat": "Four.", "dog": "Four.", "horse": "Four.", "parrot": "Two."},
    "Where does a {} live?": {"whale": "In the sea.", "parrot": "In the forest."},
    "Is a {} quick?": {"horse": "Yes, very.", "snail": "No, not at all."},
}

CAPTIONS = tuple(
    f"a {colour} {shape} on {ground}"
    for colour, shape, ground in itertools.product(_COLOURS, _SHAPES, _GROUNDS)
)
CONVERSATIONS = tuple(
    (question.format(animal), answers.get(animal, "I do not know."))
    for question, answers in _ASKED.items()
    for animal in _ANIMALS
)
"""(question, answer)"""


def reviews(rows: int = 60, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) rows, half of them good, all different."""
    pick = random.Random(seed)
    found = []
    for index in range(rows):
        words = _GOOD if index % 2 else _BAD
        found.append((f"{pick.choice(words)} {pick.choice(_MORE)}, showing {index}", str(index % 2)))
    return found


def write_csv(path: Path, rows: Sequence[Sequence[str]], header: str = "text,label") -> Path:
    """Rows under a header, each value but the last in quotes."""
    lines = [",".join([*(f'"{value}"' for value in values), last]) for *values, last in rows]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def write_conversations(path: Path, rows: int = len(CONVERSATIONS)) -> Path:
    """A line of JSON for each conversation, in the `messages` form."""
    with path.open("w", encoding="utf-8") as file:
        for question, answer in CONVERSATIONS[:rows]:
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


def write_pictures(folder: Path, rows: int = len(CAPTIONS)) -> Path:
    """A folder of PNGs of 40 x 32 pixels and `metadata.csv` with the columns file_name and text."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    draws = {"square": ImageDraw.ImageDraw.rectangle, "circle": ImageDraw.ImageDraw.ellipse}
    lines = ["file_name,text"]
    for index, caption in enumerate(CAPTIONS[:rows]):
        _, colour, shape, _, ground = caption.split()
        image = Image.new("RGB", (40, 32), ground)
        if shape in draws:
            draws[shape](ImageDraw.Draw(image), (10, 6, 30, 26), fill=colour)
        else:
            ImageDraw.Draw(image).polygon([(20, 6), (10, 26), (30, 26)], fill=colour)
        image.save(folder / f"{index:02}.png")
        lines.append(f"{index:02}.png,{caption}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
