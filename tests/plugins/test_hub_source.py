"""`hub:` through the real clients, in processes of their own, against a Hub on this machine."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result, reviews, run_process
from tests.hub.local_hub import LocalHub

BERT = "google-bert/bert-base-cased"
IMDB = "stanfordnlp/imdb"
GLUE = "nyu-mll/glue"
RUN = ("--epochs", 1, "--precision", "fp32")
TRAIN = ("train", "lora", "bert-imdb", "--limit", 20, "--eval-limit", 20, *RUN)
MRPC = ("train", "lora", "bert-mrpc", "--limit", 20, "--name", "mine", *RUN)


def write_card(folder: Path, **configs: list[str]) -> None:
    """A data set's README, which declares the splits of each configuration."""
    lines = ["---", "license: other", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("\n".join([*lines, "---", "# A data set", ""]), encoding="utf-8")


def write_rows(folder: Path, split: str, columns: Mapping[str, Any], **features: Any) -> None:
    from datasets import Dataset, Features, Value

    kinds = {
        name: Value("string" if isinstance(values[0], str) else "int64") for name, values in columns.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    rows = Dataset.from_dict(columns, features=Features(kinds | features))
    rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def save_glue(folder: Path) -> None:
    """`mrpc` as the Hub has it: parquet with class labels, and no labels in the test split."""
    from datasets import ClassLabel

    write_card(folder, cola=["train"], mrpc=["train", "validation", "test"])
    write_rows(folder / "cola", "train", {"sentence": ["a"], "label": [0]})
    for split, rows in (("train", 60), ("validation", 20), ("test", 10)):
        texts = [f"{one} ({split})" for one, _ in reviews(rows)]
        columns = {
            "sentence1": texts,
            "sentence2": texts[::-1],
            "label": [-1 if split == "test" else index % 2 for index in range(rows)],
            "idx": list(range(rows)),
        }
        write_rows(folder / "mrpc", split, columns, label=ClassLabel(names=["not_equivalent", "equivalent"]))


def save_moods(folder: Path) -> None:
    """A data set of one configuration that names its classes."""
    from datasets import ClassLabel

    columns = {"text": [text for text, _ in reviews()], "label": [index % 3 for index in range(60)]}
    write_rows(folder, "train", columns, label=ClassLabel(names=["joy", "anger", "fear"]))


@pytest.fixture(scope="module")
def hub(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    """BERT and IMDB, small; a gated model, and one with pickled weights only."""
    root = tmp_path_factory.mktemp("hub")
    for repo, licence in ((BERT, "apache-2.0"), ("org/gated", "other"), ("org/pickled", "mit")):
        shutil.copytree(tiny_models["bert"], root / "models" / repo)
        card = f"---\nlicense: {licence}\n---\n# A model\n"
        (root / "models" / repo / "README.md").write_text(card, encoding="utf-8")
    (root / "models" / "org/pickled" / "model.safetensors").rename(
        root / "models" / "org/pickled" / "pytorch_model.bin"
    )
    data = root / "datasets" / IMDB
    write_card(data, plain_text=["train", "test"])
    for split, rows, seed in (("train", 60, 0), ("test", 40, 1)):
        made = reviews(rows, seed)
        columns = {"text": [f"{text} ({split})" for text, _ in made], "label": [int(one) for _, one in made]}
        write_rows(data / "plain_text", split, columns)
    save_glue(root / "datasets" / GLUE)
    save_moods(root / "datasets" / "org/moods")
    with LocalHub(root, aliases={"bert-base-cased": BERT}) as served:
        yield served


class Machine:
    """A home folder with a Hub cache and a registry, and `zoo` run in it as a process."""

    def __init__(self, folder: Path, hub: LocalHub):
        self.folder, self.hub = folder, hub
        self.seconds = 0.0

    def zoo(self, *args: object, **env: str) -> Result:
        own = {"ZOO_REGISTRY": str(self.folder / "registry.json"), "HF_HUB_OFFLINE": None}
        start = time.monotonic()
        done = run_process(*args, env=own | self.hub.env(self.folder / "hf") | env, cwd=self.folder)
        self.seconds = time.monotonic() - start
        return done


@pytest.fixture
def machine(tmp_path: Path, hub: LocalHub) -> Iterator[Machine]:
    """One that has never asked the Hub for anything."""
    hub.requests.clear()
    yield Machine(tmp_path, hub)
    hub.down, hub.gated = False, set()


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, hub: LocalHub) -> tuple[Machine, Result]:
    """One where `zoo train lora bert-imdb` was run once."""
    machine = Machine(tmp_path_factory.mktemp("used"), hub)
    return machine, machine.zoo(*TRAIN, "--json")


@pytest.fixture
def nobody_listens() -> str:
    """The address of a port that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_the_plain_command_uses_the_tasks_base_and_data_from_the_hub(
    used: tuple[Machine, Result], hub: LocalHub
) -> None:
    _, trained = used
    assert trained.code == 0, trained.err
    record = trained.json
    base, data = record["base"], record["data"]
    assert (base["id"], base["source"], base["licence"]) == (BERT, "hub", "apache-2.0")
    assert base["revision"] == hub.commit(BERT)
    assert base["location"] == f"hub:{BERT}@{hub.commit(BERT)}"
    assert (data["id"], data["source"], data["licence"]) == (IMDB, "hub", "other")
    assert data["revision"] == hub.commit(IMDB, "dataset")
    assert (data["n_train"], data["n_train_available"], data["n_held_out"]) == (20, 60, 20)
    assert data["split"].startswith("the data's own test split")
    assert record["labels"] == ["negative", "positive"]
    assert "(the default of the task)" in trained.err
    assert "Warning: the task's preferred" not in trained.err


def test_the_weights_recorded_are_those_that_the_hub_lists(
    used: tuple[Machine, Result], hub: LocalHub
) -> None:
    listed = hub.find("models", BERT, "main").file("model.safetensors")["lfs"]["oid"]
    assert used[1].json["base"]["weights"] == {"model.safetensors": listed}


def test_what_was_downloaded_once_trains_again_with_the_hub_forbidden(
    used: tuple[Machine, Result], hub: LocalHub
) -> None:
    machine, first = used
    hub.requests.clear()
    again = machine.zoo(*TRAIN, "--json", HF_HUB_OFFLINE="1")
    assert again.code == 0, again.err
    assert hub.requests == []
    for part in ("base", "data"):
        assert (again.json[part]["id"], again.json[part]["revision"]) == (
            first.json[part]["id"],
            first.json[part]["revision"],
        )
    assert again.json["data"]["fingerprint"] == first.json["data"]["fingerprint"]
    file = "adapter_model.safetensors"
    assert again.json["files"][file] == first.json["files"][file]


def test_an_adapter_on_a_hub_base_predicts_and_measures_with_the_hub_forbidden(
    used: tuple[Machine, Result],
) -> None:
    machine, first = used
    name = first.json["name"]
    measured = machine.zoo("evaluate", name, "--json", HF_HUB_OFFLINE="1")
    assert measured.code == 0, measured.err
    assert measured.json[0]["metrics"] == first.json["metrics"]


def test_the_old_id_of_a_base_is_the_same_base(used: tuple[Machine, Result]) -> None:
    machine, first = used
    old = machine.zoo(*TRAIN, "--base", "bert-base-cased", "--name", "by-alias", "--json")
    assert old.code == 0, old.err
    assert old.json["base"]["id"] == BERT
    assert old.json["base"]["weights"] == first.json["base"]["weights"]
    listed = machine.zoo("list", "--base", "bert-base-cased", "--json")
    assert {first.json["name"], "by-alias"} <= {record["name"] for record in listed.json}


def test_the_source_offers_what_the_cache_holds(used: tuple[Machine, Result]) -> None:
    found = next(source for source in used[0].zoo("sources", "--json").json if source["name"] == "hub")
    assert {(offer["kind"], offer["id"]) for offer in found["offers"]} == {("base", BERT), ("data", IMDB)}


def test_a_dry_run_downloads_neither_weights_nor_rows_and_the_run_after_it_does(
    machine: Machine, hub: LocalHub
) -> None:
    """After it the cache holds a snapshot without weights: that is not a base."""
    dry = machine.zoo(*TRAIN, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert hub.sent()
    assert [path for path in hub.sent() if path.endswith((".safetensors", ".parquet", ".bin"))] == []
    assert dry.json["trainable"] < dry.json["parameters"]
    done = machine.zoo(*TRAIN, "--json")
    assert done.code == 0, done.err
    assert done.json["base"]["id"] == BERT
    assert len([path for path in hub.sent() if path.endswith(".safetensors")]) == 1


@pytest.mark.parametrize(
    ("base", "code", "reasons"),
    [
        ("org/nothing", 3, ("no such repository", "org/nothing")),
        ("org/gated", 4, ("gated", "hf auth login")),
        (f"hub:{BERT}@{'0' * 40}", 3, ("no such revision",)),
        ("org/pickled", 3, ("safetensors",)),
    ],
    ids=["no repository", "gated", "no revision", "pickled weights only"],
)
def test_a_base_that_the_hub_does_not_give_is_refused_with_the_reason(
    base: str, code: int, reasons: tuple[str, ...], machine: Machine, hub: LocalHub
) -> None:
    hub.gated = {"org/gated"}
    done = machine.zoo(*TRAIN, "--base", base)
    assert done.code == code, done.err
    assert [reason for reason in reasons if reason not in done.err] == []
    assert "Traceback" not in done.err
    assert [path for path in hub.sent() if path.endswith(".bin")] == []


def test_a_hub_that_is_down_is_reported_within_seconds(machine: Machine, hub: LocalHub) -> None:
    hub.down = True
    done = machine.zoo(*TRAIN, "--base", BERT)
    assert done.code == 3, done.err
    assert "503" in done.error
    assert machine.seconds < 15
    assert "Traceback" not in done.err


def test_with_nobody_listening_the_tasks_packaged_base_is_found_within_seconds(
    machine: Machine, nobody_listens: str
) -> None:
    done = machine.zoo(*TRAIN, "--dry-run", "--json", HF_ENDPOINT=nobody_listens)
    assert done.code == 0, done.err
    assert done.json["base"].startswith("sentence-transformers/all-MiniLM-L6-v2")
    assert "Warning: the task's preferred base is not available" in done.err
    assert "next choice of the task" in done.err
    assert machine.seconds < 40  # the clients' own retries take minutes; importing torch takes most of this


def test_with_nobody_listening_a_base_asked_for_is_exit_3_within_seconds(
    machine: Machine, nobody_listens: str
) -> None:
    done = machine.zoo(*TRAIN, "--base", "some/model", HF_ENDPOINT=nobody_listens)
    assert done.code == 3, done.err
    assert "some/model" in done.error
    assert "cannot be reached" in done.error
    assert machine.seconds < 15


# data sets of several configurations


def test_the_task_of_glue_reads_its_own_configuration_and_fetches_no_other(
    machine: Machine, hub: LocalHub
) -> None:
    done = machine.zoo(*MRPC, "--json")
    assert done.code == 0, done.err
    data = done.json["data"]
    commit = hub.commit(GLUE, "dataset")
    assert (data["id"], data["config"], data["revision"]) == (GLUE, "mrpc", commit)
    assert data["location"] == f"hub:{GLUE}:mrpc@{commit}"
    assert (data["n_train_available"], data["n_held_out"]) == (60, 20)
    assert data["split"] == "the data's own validation split"
    assert done.json["labels"] == ["not_equivalent", "equivalent"]
    assert [path for path in hub.sent() if "/cola/" in path] == []
    hub.requests.clear()
    again = machine.zoo("evaluate", "mine", "--json", HF_HUB_OFFLINE="1")
    assert again.code == 0, again.err
    assert again.json[0]["metrics"] == done.json["metrics"]
    assert hub.requests == []


def test_a_configuration_is_named_with_a_revision(machine: Machine, hub: LocalHub) -> None:
    commit = hub.commit(GLUE, "dataset")
    done = machine.zoo("data", "check", f"hub:{GLUE}:mrpc@{commit}", "--task", "bert-mrpc", "--json")
    assert done.code == 0, done.err
    assert [(split["name"], split["rows"]) for split in done.json["splits"]] == [
        ("train", 60),
        ("test", 10),
        ("validation", 20),
    ]
    assert done.json["held_out"] == 20


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (f"hub:{GLUE}:mrcp", 3, "no configuration 'mrcp': it has cola, mrpc"),
        (GLUE, 2, "several configurations: cola, mrpc"),
    ],
)
def test_a_configuration_must_be_one_of_those_that_the_card_declares(
    data: str, code: int, reason: str, machine: Machine, hub: LocalHub
) -> None:
    done = machine.zoo(*MRPC, "--data", data)
    assert done.code == code, done.err
    assert reason in done.error
    assert f"--data hub:{GLUE}:cola" in done.err
    assert [path for path in hub.sent() if path.endswith(".parquet")] == []


def test_names_of_classes_that_the_data_declares_are_the_labels(machine: Machine) -> None:
    done = machine.zoo(*TRAIN, "--name", "moods", "--data", "org/moods", "--json")
    assert done.code == 0, done.err
    assert done.json["labels"] == ["joy", "anger", "fear"]
