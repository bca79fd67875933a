"""The commands as a user or a script meets them, when all goes well."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import zoo as package
from tests.conftest import Result, reviews, run_process, write_csv
from zoo.registry.store import Registry, dump

Zoo = Callable[..., Result]
GOOD, BAD = "I loved every minute again last night", "a dull and lifeless film in the cinema"
HEADER = [
    *("name", "method", "task", "base", "metric", "value", "low", "high", "n"),
    *("trainable", "parameters", "bytes", "created", "warning"),
]


@pytest.fixture
def have(trained_bert: Registry, tmp_path: Path) -> Path:
    """A registry's folder with `first` (lora) and `second` (head), where `zoo` looks."""
    registry = Registry(tmp_path / "registry" / "registry.json")
    for name, method in (("first", "lora"), ("second", "head")):
        made = shutil.copytree(trained_bert.adapter_folder(method), registry.work_folder(name) / "made")
        registry.add(msgspec.structs.replace(trained_bert.get(method), name=name), made)
    return registry.path.parent


def rows_of(result: Result) -> list[dict[str, str]]:
    header, *rows = (line.split("\t") for line in result.out.splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def add_copies(folder: Path, **changes: dict[str, Any]) -> None:
    """Enter copies of `first` in registry.json under other names, with other values."""
    path = folder / "registry.json"
    content = json.loads(path.read_bytes())
    for name, change in changes.items():
        copy = json.loads(json.dumps(content["adapters"]["first"])) | {"name": name}
        for key, value in change.items():
            copy[key] = {**copy[key], **value} if isinstance(value, dict) else value
        content["adapters"][name] = copy
    path.write_bytes(dump(content))


def names(result: Result) -> list[str]:
    assert result.code == 0, result.err
    return [row["name"] for row in rows_of(result)]


def test_list_is_tab_separated_for_a_pipe_with_a_header_and_nothing_cut(zoo: Zoo, have: Path) -> None:
    long = "a" * 90
    add_copies(have, **{long: {"base": {"id": "somebody/" + "b" * 80}, "flags": ["c" * 300]}})
    found = zoo("list")
    assert found.code == 0
    assert found.err == ""
    assert found.out.splitlines()[0].split("\t") == HEADER
    row = next(row for row in rows_of(found) if row["name"] == long)
    assert row["base"] == "somebody/" + "b" * 80
    assert row["warning"] == "c" * 300


def test_list_of_nothing_is_a_header_and_says_where_it_looked(zoo: Zoo, tmp_path: Path) -> None:
    found = zoo("list")
    assert found.code == 0
    assert found.out.splitlines() == ["\t".join(HEADER)]
    assert str(tmp_path / "registry" / "registry.json") in found.err
    assert zoo("list", "--json").json == []


def test_list_finds_a_base_by_id_alias_hash_prefix_and_folder(
    zoo: Zoo, have: Path, tiny_bert: Path, tiny_models: dict[str, Path]
) -> None:
    weights = {"model.safetensors": "ab" * 32}
    other = {"id": "google-bert/bert-base-cased", "weights": weights, "tensors_sha256": None}
    add_copies(have, other={"base": other})
    assert names(zoo("list", "--base", "google-bert/bert-base-cased")) == ["other"]
    assert names(zoo("list", "--base", "bert-base-cased")) == ["other"]
    assert names(zoo("list", "--base", "abababab")) == ["other"]
    assert zoo("list", "--base", "abababa").code == 3  # too short for a hash
    assert names(zoo("list", "--base", "sha256:" + "ab" * 32)) == ["other"]
    assert names(zoo("list", "--base", "local:base")) == ["first", "second"]
    assert names(zoo("list", "--base", tiny_bert)) == ["first", "second"]
    assert names(zoo("list", "--base", f"path:{tiny_bert}")) == ["first", "second"]
    assert names(zoo("list", "--base", tiny_models["roberta"])) == []
    assert zoo("list", "--base", "bert").code == 3


@pytest.mark.usefixtures("have")
def test_list_filters_by_method_and_task(zoo: Zoo) -> None:
    assert names(zoo("list", "--method", "lora")) == ["first"]
    assert names(zoo("list", "--task", "bert-imdb")) == ["first", "second"]
    assert names(zoo("list", "--task", "bert-imdb", "--method", "full")) == []


def test_list_keeps_what_has_the_metric_at_least(zoo: Zoo, have: Path) -> None:
    metric = {"name": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95, "n": 12, "interval": "wilson"}
    add_copies(have, good={"metrics": [metric]}, poor={"metrics": [metric | {"value": 0.3}]})
    found = names(zoo("list", "--min", "accuracy=0.9"))
    assert "good" in found
    assert "poor" not in found
    assert "poor" in names(zoo("list", "--min", "accuracy=.3"))
    assert names(zoo("list", "--min", "accuracy=0.3", "--min", "loss=0")) == []


def test_list_sorts_by_name_size_and_the_best_metric_first(zoo: Zoo, have: Path) -> None:
    metric = {"name": "accuracy", "low": 0.0, "high": 1.0, "n": 12, "interval": "wilson"}
    add_copies(
        have,
        zz={"metrics": [metric | {"value": 1.1}], "cost": {"trainable_parameters": 1}},
        aa={"metrics": [metric | {"value": -0.1}], "cost": {"trainable_parameters": 10**9}},
    )
    assert names(zoo("list")) == ["aa", "first", "second", "zz"]
    best = names(zoo("list", "--sort", "accuracy"))
    assert (best[0], best[-1]) == ("zz", "aa")
    small = names(zoo("list", "--sort", "parameters"))
    assert (small[0], small[-1]) == ("zz", "aa")
    assert [record["name"] for record in zoo("list", "--sort", "accuracy", "--json").json] == best
    assert names(zoo("list", "--max", "accuracy=0")) == ["aa"]


def test_list_sorts_by_time_bytes_and_seconds_with_what_is_not_known_last(zoo: Zoo, have: Path) -> None:
    add_copies(
        have,
        aa={"created": "2100-01-01T00:00:00+00:00", "cost": {"adapter_bytes": 1, "train_seconds": None}},
        zz={"created": "2001-01-01T00:00:00+00:00", "cost": {"adapter_bytes": 2**70, "train_seconds": 1e-9}},
    )
    for key, ends in {"created": ("zz", "aa"), "bytes": ("aa", "zz"), "seconds": ("zz", "aa")}.items():
        found = names(zoo("list", "--sort", key))
        assert (found[0], found[-1]) == ends


def test_list_shows_the_records_own_name_where_a_hand_has_changed_the_key(zoo: Zoo, have: Path) -> None:
    path = have / "registry.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"first": {', '"key": {'), encoding="utf-8")
    assert names(zoo("list")) == ["first", "second"]
    assert [record["name"] for record in zoo("list", "--json").json] == ["first", "second"]


def test_show_says_what_it_is_how_good_and_how_to_make_it_again(zoo: Zoo, have: Path) -> None:
    found = zoo("show", "first")
    assert found.code == 0
    facts = dict(line.split("\t") for line in found.out.splitlines())
    (record,) = zoo("show", "first", "--json").json
    assert facts["name"] == "first"
    assert facts["method"].startswith("lora (")
    assert facts["again"] == record["command"]
    assert facts["files"] == str(have / "adapters" / "first")
    assert facts["base model.safetensors"] == f"sha256:{record['base']['weights']['model.safetensors']}"
    assert facts["accuracy"].startswith(f"{record['metrics'][0]['value']:.4f}")


def test_show_takes_several_and_folders_with_a_record_anywhere(zoo: Zoo, have: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(have / "adapters" / "second", tmp_path / "elsewhere")
    found = zoo("show", "first", elsewhere, "first")
    assert found.code == 0, found.err
    first, second = found.out.split("\n\n")
    assert first == zoo("show", "first").out.rstrip()
    assert second.startswith("name\tsecond\n")
    assert second.splitlines()[-1] == f"files\t{elsewhere}"
    assert [one["name"] for one in zoo("show", "first", elsewhere, "--json").json] == ["first", "second"]


def test_show_says_of_a_folder_without_a_record_that_it_has_none(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = zoo("show", tmp_path / "empty")
    assert (done.code, done.out) == (3, "")
    assert f"{tmp_path / 'empty'} holds no zoo.json" in done.error
    (tmp_path / "empty" / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert f"Next: zoo import {tmp_path / 'empty'}\n" in zoo("show", tmp_path / "empty").err


def test_methods_and_tasks_name_their_parameters_defaults_and_package(zoo: Zoo) -> None:
    methods = {row["name"]: row for row in rows_of(zoo("methods"))}
    assert {"full", "head", "lora"} <= set(methods)
    assert methods["lora"]["merges"] == "yes"
    assert "bert-imdb" in methods["head"]["tasks"].split(", ")
    assert methods["lora"]["package"].startswith("adapter-zoo ")
    as_json = {row["name"]: row for row in zoo("methods", "--json").json}
    assert set(as_json) == set(methods)
    assert as_json["lora"]["params"]["r"]["default"] == "8"
    task = next(row for row in rows_of(zoo("tasks")) if row["name"] == "bert-imdb")
    assert task["bases"].split(", ")[0] == "hub:google-bert/bert-base-cased"
    assert task["columns"] == "text, label"
    assert {row["name"] for row in zoo("tasks", "--json").json} >= {"bert-imdb"}


def test_sources_and_plugins_say_what_is_here(zoo: Zoo) -> None:
    lines = rows_of(zoo("sources"))
    assert list(dict.fromkeys(line["source"] for line in lines)) == ["local", "pip", "hub"]
    assert "pip:sentence-transformers/all-MiniLM-L6-v2" in {line["here now"] for line in lines}
    assert [row["scheme"] for row in zoo("sources", "--json").json] == ["path:", "pip:", "hub:"]
    plugins = rows_of(zoo("plugins"))
    assert {row["state"] for row in plugins} == {"ok"}
    assert zoo("plugins", "--json").json == plugins


def check_predictions(rows: list[dict[str, Any]], texts: list[str]) -> None:
    assert [row["text"] for row in rows] == texts
    for row in rows:
        assert set(row["probabilities"]) == {"negative", "positive"}
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert row["probability"] == max(row["probabilities"].values())
        assert row["probabilities"][row["label"]] == row["probability"]


@pytest.mark.usefixtures("have")
def test_predict_takes_texts_files_tables_and_stdin_and_keeps_their_order(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of mixed lengths, which the batches reorder."""
    texts = [BAD, GOOD, f"{GOOD}, and {BAD}", "a", GOOD]
    rows = zoo("predict", "first", *texts, "--json").json
    check_predictions(rows, texts)
    assert rows[1]["probabilities"] == pytest.approx(rows[4]["probabilities"], abs=1e-6)

    plain = tmp_path / "texts.txt"
    plain.write_text("\n".join(texts) + "\n\n", encoding="utf-8")
    from_file = zoo("predict", "first", "-f", plain, "--json").json
    check_predictions(from_file, texts)

    table = tmp_path / "texts.csv"
    table.write_text("id,review\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts)))
    from_table = zoo("predict", "first", "-f", table, "--column", "review", "--json").json

    stdin = io.TextIOWrapper(io.BytesIO("\n".join(texts).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    from_stdin = zoo("predict", "first", "-f", "-", "--json").json
    assert from_file == from_table == from_stdin
    assert [row["label"] for row in from_file] == [row["label"] for row in rows]


@pytest.mark.usefixtures("have")
def test_predict_for_a_pipe_is_label_probability_and_text(zoo: Zoo) -> None:
    found = zoo("predict", "first", "a text\twith a tab", GOOD)
    assert [list(row) for row in rows_of(found)] == [["label", "probability", "text"]] * 2
    assert rows_of(found)[0]["text"] == "a text with a tab"


@pytest.mark.usefixtures("have")
@pytest.mark.parametrize("name", ["first", "second"])
def test_evaluate_on_its_own_held_out_rows_gives_the_recorded_metrics(zoo: Zoo, name: str) -> None:
    (record,) = zoo("show", name, "--json").json
    done = zoo("evaluate", name, "--json")
    assert done.code == 0, done.err
    (found,) = done.json
    assert found["metrics"] == record["metrics"]
    assert found["baselines"]["majority"] == record["baselines"]["majority"]


@pytest.mark.usefixtures("have")
def test_evaluate_on_other_data_uses_all_of_its_rows(zoo: Zoo, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", reviews(30, seed=5), header="review,stars")
    found = zoo(
        "evaluate", "first", "--data", other, "--column", "text=review", "--column", "label=stars", "--json"
    )
    assert found.code == 0, found.err
    (measured,) = found.json
    assert {metric["n"] for metric in measured["metrics"]} == {30}
    assert {metric["n"] for metric in measured["baselines"]["majority"]} == {30}


@pytest.mark.usefixtures("have")
def test_evaluate_for_a_pipe_names_the_adapter_beside_its_baselines(zoo: Zoo) -> None:
    rows = rows_of(zoo("evaluate", "first"))
    assert {row["model"] for row in rows} >= {"first", "majority"}
    assert {row["metric"] for row in rows} == {"accuracy", "f1", "mcc"}


@pytest.mark.usefixtures("have")
def test_evaluate_of_several_is_one_table_in_the_order_given_with_common_baselines_once(zoo: Zoo) -> None:
    """And each of them once, however often it is named."""
    alone = {name: rows_of(zoo("evaluate", name)) for name in ("first", "second")}
    found = zoo("evaluate", "second", "first", "second")
    measured = {name: [row for row in rows if row["model"] == name] for name, rows in alone.items()}
    baselines = [row for row in alone["first"] if row["model"] != "first"]
    assert rows_of(found) == measured["second"] + measured["first"] + baselines
    warned = [line for line in found.err.splitlines() if line.startswith("Warning:")]
    assert warned
    assert all(line.startswith(("Warning: first: ", "Warning: second: ")) for line in warned)


@pytest.mark.usefixtures("have")
def test_evaluate_as_json_is_a_list_for_one_as_for_several(zoo: Zoo) -> None:
    first, second = (zoo("evaluate", name, "--json").json for name in ("first", "second"))
    assert [one["name"] for one in (*first, *second)] == ["first", "second"]
    assert zoo("evaluate", "first", "second", "--json").json == [*first, *second]
    assert zoo("evaluate", "first", "first", "--json").json == first


def test_evaluate_prints_the_baselines_of_two_data_sets_below_their_adapters(
    zoo: Zoo, have: Path, tmp_path: Path
) -> None:
    data = write_csv(tmp_path / "more.csv", reviews(100))
    base = zoo("show", "first", "--json").json[0]["base"]["location"]
    words = ("train", "head", "bert-imdb", "--base", base, "--data", data, "--epochs", 1)
    assert zoo(*words, "--precision", "fp32", "--name", "third").code == 0
    rows = rows_of(zoo("evaluate", "first", "third", "second"))
    models = [row["model"] for row in rows if row["metric"] == "accuracy"]
    assert models == ["first", "third", "majority", "second", "majority"]
    assert [row["n"] for row in rows if row["metric"] == "accuracy"] == ["12", "20", "20", "12", "12"]


@pytest.mark.usefixtures("have")
def test_evaluate_knows_every_name_before_it_loads_anything(zoo: Zoo) -> None:
    found = zoo("evaluate", "first", "secnod")
    assert found.code == 3
    assert "no adapter is called 'secnod'. Did you mean 'second'?" in found.error
    assert found.out == ""
    assert zoo("evaluate").code == 2


def test_rm_takes_the_record_and_the_files_and_nothing_else(zoo: Zoo, have: Path) -> None:
    kept = (have / "adapters" / "second" / "zoo.json").read_bytes()
    done = zoo("rm", "first", "--yes")
    assert done.code == 0
    assert names(zoo("list")) == ["second"]
    assert not (have / "adapters" / "first").exists()
    assert (have / "adapters" / "second" / "zoo.json").read_bytes() == kept


def test_rm_of_one_that_is_not_there_removes_none(zoo: Zoo, have: Path) -> None:
    assert zoo("rm", "second", "third", "--yes").code == 3
    assert names(zoo("list")) == ["first", "second"]
    assert (have / "adapters" / "second").is_dir()


def test_rebuild_restores_registry_json_byte_for_byte(zoo: Zoo, have: Path) -> None:
    path = have / "registry.json"
    before = path.read_bytes()
    path.unlink()
    done = zoo("registry", "rebuild")
    assert done.code == 0
    assert "2 adapters" in done.err
    assert path.read_bytes() == before


def test_restore_writes_the_record_in_the_folder_as_the_registry_has_it(zoo: Zoo, have: Path) -> None:
    path = have / "adapters" / "first" / "zoo.json"
    before, registry = path.read_bytes(), (have / "registry.json").read_bytes()
    path.write_bytes(b"{")
    done = zoo("registry", "restore", "first", "second")
    assert (done.code, done.out) == (0, "")
    assert (path.read_bytes(), (have / "registry.json").read_bytes()) == (before, registry)
    assert zoo("registry", "restore", "third").code == 3


@pytest.mark.usefixtures("have")
def test_the_schema_of_a_record_fits_what_is_in_its_folder(zoo: Zoo, have: Path) -> None:
    schema = zoo("registry", "schema").json
    jsonschema.validate(json.loads((have / "adapters" / "first" / "zoo.json").read_bytes()), schema)
    top = schema["$defs"]["AdapterRecord"]
    assert {"name", "spec", "base", "data", "metrics", "files", "command"} <= set(top["required"])


@pytest.mark.parametrize(
    ("group", "first", "last"),
    [("data", "check", "check"), ("plugin", "new", "check"), ("registry", "rebuild", "schema")],
)  # fmt: skip
def test_a_group_without_a_command_prints_its_help_on_stdout(group: str, first: str, last: str) -> None:
    done = run_process(group)
    assert (done.code, done.err) == (0, "")
    assert done.out == run_process(group, "--help").out
    listed = done.out.partition("Commands:\n")[2].partition("\n\n")[0]
    commands = [line.split()[0] for line in listed.splitlines()]
    assert {first, last} <= set(commands)


def test_version_and_help_answer_and_name_every_command(zoo: Zoo) -> None:
    assert package.__version__ in zoo("--version").out
    text = zoo("--help").out
    for command in ("train", "list", "show", "evaluate", "predict", "rm", "registry"):
        assert f"\n  {command} " in text
        assert zoo(command, "--help").code == 0


def test_terminal_escapes_do_not_reach_stdout(zoo: Zoo, tiny_bert: Path, tmp_path: Path) -> None:
    """Labels come from data files, names and flags from a registry that somebody else may have written."""
    marked = {"0": "bad\x1b[31m", "1": "good\x1b]0;title\x07"}
    data = write_csv(tmp_path / "escapes.csv", [(text, marked[label]) for text, label in reviews()])
    words = ("train", "lora", "bert-imdb", "--base", tiny_bert, "--data", data, "--epochs", 1)
    done = zoo(*words, "--precision", "fp32", "--name", "first")
    assert done.code == 0, done.err
    add_copies(tmp_path / "registry", **{"evil\x1b[2J": {"flags": ["\x1b[5mdoubt\r\n\tmore"]}})
    outputs = [
        done,
        zoo("list"),
        zoo("list", "--json"),
        zoo("show", "first"),
        zoo("show", "first", "--json"),
        zoo("show", "evil\x1b[2J"),
        zoo("predict", "first", "a \x1b[31mtext"),
        zoo("predict", "first", "a \x1b[31mtext", "--json"),
        zoo("evaluate", "first"),
    ]
    for output in outputs:
        assert output.code == 0, output.err
        assert not set(output.out) & {"\x1b", "\x07", "\r"}
    assert len(rows_of(outputs[1])) == 2


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_a_reader_that_goes_away_is_not_an_error(have: Path) -> None:
    add_copies(have, **{f"copy-{number:04}": {} for number in range(2000)})  # more than a pipe holds
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -m zoo list | head -1"],
        env={**os.environ, "ZOO_REGISTRY": str(have)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == ["\t".join(HEADER)]
    assert done.stderr == ""


def test_a_third_party_broken_plugin_is_named_and_harms_nothing(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    meta = site / "zoo_broken-1.0.dist-info"
    meta.mkdir(parents=True)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-broken\nVersion: 1.0\n")
    groups = ("methods", "tasks", "sources")
    points = "\n".join(f"[zoo.{group}]\nbroken = zoo_broken" for group in groups)
    (meta / "entry_points.txt").write_text(points)
    (site / "zoo_broken.py").write_text("raise RuntimeError('made by a third party')\n")
    monkeypatch.syspath_prepend(str(site))
    for command in groups:
        found = zoo(command)
        assert found.code == 0
        assert "made by a third party" in found.err
        assert "zoo-broken 1.0" in found.err
        assert "Traceback" not in found.err
    assert {"full", "head", "lora"} <= {row["name"] for row in rows_of(zoo("methods"))}
    states = {(row["kind"], row["name"]): row["state"] for row in rows_of(zoo("plugins"))}
    assert "made by a third party" in states["method", "broken"]
    assert states["method", "lora"] == "ok"
    assert zoo("train", "broken", "bert-imdb").code == 1
