"""Reads pictures with captions: an image folder with metadata, or a table with pictures in its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.data.files import HELD_OUT_NAMES, SUFFIXES, TRAIN_NAMES, Example, columns_of, read_frames
from zoo.errors import DataError, NotFoundError
from zoo.runtime.checks import some
from zoo.tasks.image_text import images

if TYPE_CHECKING:
    from pandas import DataFrame

    from zoo.runtime.console import Report

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FOLDER = "folder"
"""In `attrs` of a frame: the folder of the files that its rows name."""
_USUAL = {
    "image": ("image", "file_name", "img", "image_path"),
    "text": ("text", "caption", "captions", "title", "description"),
}
"""Common names of the columns; the first that exists is used."""


def read_folder(path: Path) -> dict[str, DataFrame] | None:
    """The metadata of an image folder, or of its split folders train, test, ...; None if there is none.

    `path` may be the metadata file itself.
    """
    if path.is_file():
        frames = read_frames(path)
        folders = dict.fromkeys(frames, path.parent)
    else:
        folders = {"train": path} if _metadata(path) else {}
        for folder in sorted(path.iterdir()) if not folders else ():
            split = "train" if folder.name.lower() in TRAIN_NAMES else folder.name.lower()
            if split in (*TRAIN_NAMES, *HELD_OUT_NAMES) and folder.is_dir() and _metadata(folder):
                folders[split] = folder
        frames = {
            split: read_frames(_metadata(folder) or folder)["train"] for split, folder in folders.items()
        }
    for split, folder in folders.items():
        frames[split].attrs[FOLDER] = str(folder)
    return frames or None


def check_is_data(path: Path) -> None:
    """Raises NotFoundError: a folder with neither metadata nor tables."""
    if path.is_dir() and not any(file.suffix.lower() in SUFFIXES for file in path.iterdir()):
        raise NotFoundError(
            f"{path} has no {METADATA[0]} or {METADATA[1]} with the captions of its pictures.",
            "write one: a header file_name,text and a line per picture and caption",
        )


def examples(
    frames: Mapping[str, DataFrame], columns: Mapping[str, str], location: str, report: Report
) -> dict[str, list[Example]]:
    """One example per picture, with all its captions. Equal bytes are one picture, in one split only.

    Pictures and captions are numbered (`number`, `numbers`), equal ones with the same number.

    Raises:
        DataError: no usable row, a missing column, or a file outside the folder.
    """
    rows: list[_Row] = []
    for split, frame in frames.items():
        wanted = {role: columns.get(role) or _usual(frame, role) for role in _USUAL}
        table = columns_of(frame, wanted, location)
        folder = Path(frame.attrs[FOLDER]) if FOLDER in frame.attrs else None
        cells = zip(table["image"].tolist(), table["text"].tolist(), strict=True)
        for row, (cell, text) in enumerate(cells, 1):
            picture = _picture(cell, folder, location)
            name = Path(picture).name if isinstance(picture, str) else f"{split} row {row}"
            rows.append(_Row(split, picture, name, _captions(text)))
    silent = sum(not row.texts for row in rows)
    if silent:
        report.left_out(f"{silent} rows of {location} have no caption and are left out.")
    found = _grouped([row for row in rows if row.texts], location, report)
    if not any(found.values()):
        raise DataError(f"{location} has no row with both a picture and a caption.")
    return _apart(found, location, report)


def captions(frames: Mapping[str, DataFrame], location: str) -> list[str]:
    """Every distinct caption, in order."""
    cells = (
        cell
        for frame in frames.values()
        for cell in columns_of(frame, {"text": _usual(frame, "text")}, location)["text"].tolist()
    )
    return list(dict.fromkeys(text for cell in cells for text in _captions(cell)))


def readable(paths: Sequence[str], location: str, report: Report) -> list[str]:
    """The paths that can be opened; a warning names the others."""
    troubles = [trouble for _, trouble in images.look(paths, report)]
    _say_unusable([Path(path).name for path in paths], troubles, location, report)
    return [path for path, trouble in zip(paths, troubles, strict=True) if not trouble]


class _Row(NamedTuple):
    split: str
    picture: images.Picture | None
    name: str
    texts: list[str]


def _grouped(rows: Sequence[_Row], location: str, report: Report) -> dict[str, list[Example]]:
    names = {row.picture: row.name for row in reversed(rows) if row.picture is not None}
    seen = dict(zip(names, images.look(list(names), report), strict=True))
    absent = sum(row.picture is None for row in rows)
    if absent:
        report.left_out(f"{absent} rows of {location} have no picture and are left out.")
    _say_unusable([*names.values()], [trouble for _, trouble in seen.values()], location, report)
    numbers: dict[str, int] = {}
    found: dict[str, dict[str, Example]] = {row.split: {} for row in rows}
    for split, picture, name, texts in rows:
        if picture is None or seen[picture][1]:
            continue
        digest = seen[picture][0]
        fresh: Example = {
            "image": picture,
            "name": name,
            "digest": digest,
            "texts": [],
            "number": numbers.setdefault(f"image {digest}", len(numbers)),
            "numbers": [],
        }
        one = found[split].setdefault(digest, fresh)
        for text in texts:
            if text not in one["texts"]:
                one["texts"].append(text)
                one["numbers"].append(numbers.setdefault(f"text {text}", len(numbers)))
    return {split: list(ones.values()) for split, ones in found.items()}


def _say_unusable(
    names: Sequence[str], troubles: Sequence[str | None], location: str, report: Report
) -> None:
    unusable = sorted(f"{name} ({why})" for name, why in zip(names, troubles, strict=True) if why)
    if unusable:
        report.left_out(
            f"{len(unusable)} pictures of {location} cannot be opened and are left out: {some(unusable)}."
        )


def _apart(found: dict[str, list[Example]], location: str, report: Report) -> dict[str, list[Example]]:
    """Remove held-out pictures from the other splits, whatever their captions there."""
    taken: set[str] = set()
    for split in dict.fromkeys((*HELD_OUT_NAMES, *found)):
        if split in found:
            kept = [one for one in found[split] if one["digest"] not in taken]
            if len(kept) < len(found[split]):
                report.warn(
                    f"{len(found[split]) - len(kept)} pictures of the {split} split of {location} are in a "
                    "held-out split too, and are used only there."
                )
            found[split] = kept
            taken |= {one["digest"] for one in kept if split in HELD_OUT_NAMES}
    return {split: ones for split, ones in found.items() if ones}


def _usual(frame: DataFrame, role: str) -> str:
    return next((name for name in _USUAL[role] if name in frame.columns), _USUAL[role][0])


def _picture(cell: Any, folder: Path | None, location: str) -> images.Picture | None:
    """A cell's picture: a file in the folder, bytes, or the {bytes, path} of the datasets library."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return cell
    if not isinstance(cell, str) or not cell.strip():
        return None
    name = PurePosixPath(cell.replace("\\", "/"))
    if name.is_absolute() or PureWindowsPath(cell).drive or ".." in name.parts:
        raise DataError(
            f"{location} names a file outside its folder: '{cell}'.", "name files relative to the folder"
        )
    if folder is None:
        raise DataError(f"{location} names the file '{cell}', but has no folder to find it in.")
    return str(folder / name)


def _captions(cell: Any) -> list[str]:
    """One caption, or a list of them in one cell."""
    several = [cell] if isinstance(cell, str) else cell if isinstance(cell, Iterable) else []
    return [text.strip() for text in several if isinstance(text, str) and text.strip()]


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)
