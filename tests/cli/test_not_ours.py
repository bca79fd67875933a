"""Commands that write leave everything alone that is not provably a registry of the zoo, to the byte."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.records import add_record
from tests.third_party import adapter_files, put_down
from zoo.errors import ZooError
from zoo.registry.schema import SCHEMA
from zoo.registry.store import Registry

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes, links and modes")

Zoo = Callable[..., Result]
Make = Callable[[Path], object]


def _file(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


def _of_a_newer_zoo(folder: Path) -> Path:
    registry = Registry(folder / "registry.json")
    add_record(registry, "mine")
    found = json.loads(registry.path.read_bytes())
    registry.path.write_text(json.dumps({**found, "schema": SCHEMA + 1, "more": []}), encoding="utf-8")
    return registry.path


def _in_conflict(folder: Path) -> Path:
    registry = Registry(folder / "registry.json")
    add_record(registry, "mine")
    ours = registry.path.read_bytes()
    add_record(registry, "other")
    theirs = registry.path.read_bytes()
    registry.path.write_bytes(b"<<<<<<< HEAD\n%b=======\n%b>>>>>>> other\n" % (ours, theirs))
    return registry.path


def _unreadable(folder: Path) -> Path:
    registry = Registry(folder / "registry.json")
    add_record(registry, "mine")
    registry.path.chmod(0)
    return registry.path


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "registry.json")
    return folder / "registry.json"


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(".", os.O_RDONLY)
        os.chdir(folder)  # the path of a socket is short
        try:
            one.bind("registry.json")
        finally:
            os.fchdir(here)
            os.close(here)
    return folder / "registry.json"


def _folder_of_that_name(folder: Path) -> Path:
    (folder / "registry.json" / "photos").mkdir(parents=True)
    (folder / "registry.json" / "photos" / "1.jpg").write_bytes(b"\xff\xd8")
    return folder


def _link_to_nothing(folder: Path) -> Path:
    (folder / "registry.json").symlink_to("not-here.json")
    return folder / "registry.json"


def _link_to_a_table(folder: Path) -> Path:
    (folder / "table.csv").write_bytes(b"a,b\n1,2\n")
    (folder / "registry.json").symlink_to("table.csv")
    return folder / "registry.json"


def _adapters_of_another_program(folder: Path) -> Path:
    (folder / "adapters" / "postgres").mkdir(parents=True)
    (folder / "adapters" / "postgres" / "index.js").write_bytes(b"module.exports = {}\n")
    (folder / "package.json").write_bytes(b'{"name": "app"}')
    return folder


def _adapters_that_is_a_file(folder: Path) -> Path:
    (folder / "adapters").write_bytes(b"USB-C to HDMI: 2\n")
    return folder


def _adapters_that_leads_to_photos(folder: Path) -> Path:
    (folder / "photos" / "2019").mkdir(parents=True)
    (folder / "photos" / "2019" / "1.jpg").write_bytes(b"\xff\xd8")
    (folder / "adapters").symlink_to("photos")
    return folder


THINGS: dict[str, Make] = {
    "a table": _file("table.csv", b"name,adapters\nmine,3\n"),
    "a table called registry.json": _file("registry.json", b"name,adapters\nmine,3\n"),
    "package.json": _file("package.json", b'{"name": "app", "version": "1.0.0"}'),
    "JSON of another program": _file("registry.json", b'{"adapters": ["pg", "mysql"], "schema": "public"}'),
    "JSON of almost our shape": _file("registry.json", b'{"adapters": {"pg": {"host": "db"}}, "schema": 1}'),
    "JSON of our shape and more": _file("x.json", b'{"adapters": {}, "schema": 1, "url": "postgres://"}'),
    "a JSON list": _file("registry.json", b"[1, 2, 3]\n"),
    "JSON nested deep": _file("registry.json", b"[" * 100_000 + b"]" * 100_000),
    "a picture": _file("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "bytes called registry.json": _file("registry.json", bytes(range(256))),
    "an empty file": _file("notes.txt", b""),
    "another program's cut off JSON": _file("state.json", b'{"adapters": {"pg": {"host"'),
    "notes with conflict markers": _file("notes.md", b"<<<<<<< HEAD\na\n=======\nb\n>>>>>>> b\n"),
    "a registry of a newer zoo": _of_a_newer_zoo,
    "a registry in conflict": _in_conflict,
    "a registry that may not be read": _unreadable,
    "a pipe": _pipe,
    "a socket": _socket,
    "a folder called registry.json": _folder_of_that_name,
    "a link to nothing": _link_to_nothing,
    "a link to a table": _link_to_a_table,
    "the adapters of another program": _adapters_of_another_program,
    "a file called adapters": _adapters_that_is_a_file,
    "a link from adapters to photos": _adapters_that_leads_to_photos,
}
COMMANDS = (
    "registry rebuild",
    "registry migrate",
    "registry merge OTHER",
    "registry merge",
    "registry restore mine",
    "rm mine --yes",
    "rm mine --yes --purge",
    "import THEIRS --name mine --replace",
    "card mine --write",
    "undo",
)
ADDS = ("the adapters of another program", "a link from adapters to photos", "a folder called registry.json")
"""Beside which a new registry may be made: nothing that is there is touched by that."""


def snapshot(folder: Path) -> dict[str, tuple[int, object]]:
    """What everything is, and holds: kind and mode, bytes, and where links lead."""
    found: dict[str, tuple[int, object]] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content: object = None
        if stat.S_ISLNK(mode):
            content = os.readlink(path)
        elif stat.S_ISREG(mode):
            path.chmod(0o600)
            content = path.read_bytes()
            path.chmod(stat.S_IMODE(mode))
        if path.name != "registry.json.lock":  # of a registry, which two of these are
            found[str(path.relative_to(folder))] = (mode, content)
    return found


@pytest.fixture
def theirs(tmp_path: Path, tiny_bert: Path) -> dict[str, str]:
    """What may be typed: another registry, and an adapter to import."""
    other = Registry(tmp_path / "other" / "registry.json")
    add_record(other, "theirs")
    return {
        "OTHER": str(other.path),
        "THEIRS": str(put_down(tmp_path / "theirs", adapter_files(tiny_bert))),
    }


@pytest.mark.parametrize("thing", THINGS)
def test_no_command_changes_what_is_not_a_registry(
    thing: str, zoo: Zoo, tmp_path: Path, theirs: dict[str, str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    made = THINGS[thing](folder)
    for command in COMMANDS:
        if (command.startswith("import") or "OTHER" in command) and thing in ADDS:
            continue
        if command == "registry merge" and thing == "a registry in conflict":
            continue  # which is what it is for
        before = snapshot(folder)
        if thing == "a registry that may not be read" and os.access(str(made), os.R_OK):
            pytest.skip("root may read anything")
        words = [theirs.get(word, word) for word in command.split()]
        done = zoo(*words, "--registry", made)
        assert done.code != 0, command
        assert done.error, done.err
        if thing not in ("a registry of a newer zoo", "a registry in conflict"):
            assert "damaged" not in done.err
            assert "rebuild" not in done.err or "rebuild" in command
        assert snapshot(folder) == before, command


def test_what_may_not_be_read_is_left_alone(tmp_path: Path) -> None:
    """As another user: root may read anything."""
    if os.geteuid() != 0:
        pytest.skip("the test above does it")
    folder = tmp_path / "mine"
    folder.mkdir()
    registry = Registry(_unreadable(folder))
    before = snapshot(folder)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(path.stat().st_mode | 0o711)
    came, goes = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        try:
            registry.rebuild()
        except ZooError as error:
            os.write(goes, str(error).encode())
        os._exit(0)
    os.close(goes)
    with open(came, encoding="utf-8") as told:
        assert told.read() == f"{registry.path} cannot be read: Permission denied."
    os.waitpid(child, 0)
    assert snapshot(folder) == before


@pytest.mark.parametrize("thing", ADDS)
def test_an_import_beside_what_others_have_touches_none_of_it(
    thing: str, zoo: Zoo, tmp_path: Path, theirs: dict[str, str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    made = THINGS[thing](folder)
    before = snapshot(folder)
    zoo("import", theirs["THEIRS"], "--name", "new", "--replace", "--registry", made)
    after = snapshot(folder)
    assert {name: after.get(name) for name in before} == before


@pytest.fixture
def mine(registry: Registry) -> Registry:
    add_record(registry, "mine")
    return registry


def test_photos_under_adapters_stay_where_they_are(zoo: Zoo, mine: Registry) -> None:
    photos = mine.adapter_folder("photos")
    photos.mkdir()
    (photos / "1.jpg").write_bytes(b"\xff\xd8")
    assert zoo("rm", "photos", "--yes").code == 3
    for words in ("registry rebuild", "registry migrate", "rm mine --yes", "undo"):
        assert zoo(*words.split()).code == 0
    assert (photos / "1.jpg").read_bytes() == b"\xff\xd8"
    assert list(mine.records()) == ["mine"]


@pytest.mark.parametrize(
    "words", ["rm mine --yes", "rm mine --yes --purge", "import THEIRS --name mine --replace"]
)
def test_notes_in_the_place_of_an_adapter_are_not_taken_for_it(
    words: str, zoo: Zoo, mine: Registry, theirs: dict[str, str]
) -> None:
    folder = mine.adapter_folder("mine")
    for path in folder.iterdir():
        path.unlink()
    (folder / "notes.txt").write_bytes(b"mine")
    before = snapshot(mine.path.parent)
    done = zoo(*(theirs.get(word, word) for word in words.split()))
    assert done.code == 2
    assert "has no zoo.json of 'mine': it may be something else. Nothing was changed." in done.error
    assert "Next: zoo registry restore mine\n" in done.err
    assert snapshot(mine.path.parent) == before


def test_an_adapter_that_lost_its_zoo_json_is_known_by_its_files(zoo: Zoo, mine: Registry) -> None:
    (mine.adapter_folder("mine") / "zoo.json").unlink()
    assert zoo("rm", "mine", "--yes").code == 0
    assert zoo("undo").code == 0
    assert (mine.adapter_folder("mine") / "adapter_model.safetensors").is_file()


def test_a_name_that_a_folder_has_is_not_replaced(zoo: Zoo, mine: Registry, theirs: dict[str, str]) -> None:
    mine.adapter_folder("notes").mkdir()
    done = zoo("import", theirs["THEIRS"], "--name", "notes", "--replace")
    assert (done.code, "already called 'notes'" in done.error) == (2, True)
    assert list(mine.adapter_folder("notes").iterdir()) == []


def test_a_rebuild_that_would_lose_every_adapter_is_refused(zoo: Zoo, mine: Registry) -> None:
    """As where the disk of adapters/ is not mounted."""
    away = mine.folder.rename(mine.folder.with_name("away"))
    before = mine.path.read_bytes()
    done = zoo("registry", "rebuild")
    assert (done.code, "has none of the adapters in" in done.error) == (1, True)
    assert mine.path.read_bytes() == before
    mine.folder.rmdir()
    away.rename(mine.folder)
    assert zoo("registry", "rebuild").code == 0


def test_a_rebuild_names_the_adapters_that_it_leaves_out(zoo: Zoo, mine: Registry) -> None:
    add_record(mine, "other")
    before = mine.path.read_bytes()
    os.rename(mine.adapter_folder("other"), mine.path.parent / "away")
    done = zoo("registry", "rebuild")
    assert done.code == 0
    assert f"Warning: left out 'other': {mine.adapter_folder('other')} has no zoo.json" in done.err
    assert zoo("undo").code == 0
    assert mine.path.read_bytes() == before


def test_the_advice_for_a_file_of_somebody_else_works(zoo: Zoo, mine: Registry) -> None:
    table = mine.path.parent / "my table.csv"
    table.write_bytes(b"a,b\n")
    done = zoo("list", "--registry", table)
    assert done.code == 2
    assert done.err.endswith(f"Next: zoo list --registry {mine.path.parent}\n")
