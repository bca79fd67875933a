from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Result
from tests.records import add_record
from tests.registry.killed import state
from tests.third_party import CONFIG, ROBERTA_HEAD, WILD, adapter_files, lora_weights, put_down
from zoo.plugins import manager
from zoo.plugins.peft_method import PeftMethod
from zoo.registry.schema import UNKNOWN
from zoo.registry.store import Registry

Zoo = Callable[..., Result]
_NO_WEIGHTS = "has no weights beside its adapter_config.json"
_OTHER_TOOLS = {
    "3513542967-creator__smolbge-image-embedding": "is another tool's (architecture 'frozen_smolvlm2",
    "Aditii2112__Instaworkers": "is another tool's (its keys are rank, alpha, dropout)",
    "Ch3nOff__dual-loop-controller": "is another tool's (adapter_type 'dual_loop_cognitive_controller')",
    "Faizanyousaf140__VLM-qlora-doc2markdown": "is a Git LFS pointer",
    "Inishpy__lerobot-libero": "is another tool's (its keys are base_model)",
    "chan4lk__mlx-fine-tune__lora_model": "is MLX-LM's",
    "dopaemon__Gemma": "is MLX-LM's",
    "jungyoon-lee__aicity2026-track5": "is another tool's (format 'cosmos3-native-lora')",
}
_FOLDERS = sorted(path.name for path in WILD.iterdir() if path.is_dir()) if WILD.is_dir() else []
_needs_wild = pytest.mark.skipif(not _FOLDERS, reason="../shared/adapters_in_the_wild is not here")


@pytest.fixture
def plain(tiny_bert: Path, tmp_path: Path) -> Path:
    return put_down(tmp_path / "Plain adapter", adapter_files(tiny_bert))


@_needs_wild
@pytest.mark.parametrize("name", _FOLDERS)
def test_every_config_from_the_wild_is_refused_in_one_line(zoo: Zoo, name: str) -> None:
    done = zoo("import", WILD / name)
    lines = done.err.splitlines()
    assert (done.code, lines[0].startswith("Error:"), len(lines) <= 2) == (
        5 if name in _OTHER_TOOLS else 3,
        True,
        True,
    )
    assert _OTHER_TOOLS.get(name, _NO_WEIGHTS) in done.error
    assert zoo("list", "--json").json == []


@_needs_wild
@pytest.mark.parametrize(
    ("name", "family", "body", "head", "task"),
    [
        ("huduby__mind_control", "roberta", "roberta.", ROBERTA_HEAD, "bert-imdb"),
        (
            "Neoville026__chatbotkesehatanmentalbertpeftlora",
            "bert",
            "bert.",
            {"classifier": (2, 32)},
            "bert-imdb",
        ),
        ("vedant-spatil__TULIP", "llama", "", {}, "tinyllama-chat"),
    ],
)
def test_a_config_from_the_wild_with_weights_comes_in_and_fits_its_base(
    zoo: Zoo,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    name: str,
    family: str,
    body: str,
    head: dict[str, tuple[int, int]],
    task: str,
) -> None:
    base = tiny_models[family]
    folder = tmp_path / name
    shutil.copytree(WILD / name, folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_model.safetensors").write_bytes(lora_weights(base, config, body=body, head=head))
    done = zoo("import", folder, "--task", task, "--base", base, "--json")
    assert done.code == 0, done.err
    record = done.json
    assert (record["spec"]["method"], record["spec"]["task"], record["format"]) == ("lora", task, "peft")
    assert record["spec"]["params"]["r"] == config["r"]
    assert record["spec"]["params"]["alpha"] == config["lora_alpha"]
    assert sorted(record["spec"]["params"]["targets"]) == sorted(config["target_modules"])
    assert list(record["base"]["weights"]) == ["model.safetensors"]
    assert zoo("check", record["name"]).code == 0


def test_every_field_that_the_files_tell_is_filled_and_the_rest_is_unknown(zoo: Zoo, plain: Path) -> None:
    record = zoo("import", plain, "--json").json
    assert record["name"] == "Plain-adapter"
    assert record["spec"]["method"] == "lora"
    assert record["spec"]["params"] == {"r": 4, "alpha": 8, "dropout": 0.05, "targets": ["query", "value"]}
    assert (record["base"]["id"], record["base"]["location"]) == (
        "google-bert/bert-base-cased",
        "hub:google-bert/bert-base-cased",
    )
    assert (record["spec"]["task"], record["data"], record["training"]) == (UNKNOWN, None, None)
    # four matrices of 32 x 32 at rank 4, and the head
    assert record["cost"]["trainable_parameters"] == 4 * 2 * 4 * 32 + 2 * 32 + 2
    assert record["labels"] == ["LABEL_0", "LABEL_1"]
    assert record["origin"] == f"path:{plain}"
    assert sorted(record["files"]) == ["adapter_config.json", "adapter_model.safetensors"]


def test_what_is_not_known_is_said_with_the_option_that_tells_it(zoo: Zoo, plain: Path) -> None:
    done = zoo("import", plain)
    assert "what it was trained for is unknown (SEQ_CLS): --task bert-imdb|" in done.err
    assert "what its 2 labels mean is unknown: --labels A,B names them" in done.err


def test_an_adapter_of_which_little_is_known_is_listed_shown_and_removed(zoo: Zoo, plain: Path) -> None:
    zoo("import", plain)
    assert "Plain-adapter\tlora\tunknown\tgoogle-bert/bert-base-cased" in zoo("list").out
    assert zoo("list", "--base", "bert-base-cased", "--json").json[0]["name"] == "Plain-adapter"
    shown = zoo("show", "Plain-adapter").out
    assert "data\tunknown" in shown
    assert "training\tunknown" in shown
    before = zoo("list", "--json").out
    assert zoo("registry", "rebuild").code == 0
    assert zoo("list", "--json").out == before
    assert zoo("rm", "--yes", "Plain-adapter").code == 0
    assert zoo("list", "--json").json == []


def test_what_was_imported_predicts_as_plain_peft_does(zoo: Zoo, plain: Path, tiny_bert: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    done = zoo(
        "import", plain, "--name", "mine", "--task", "bert-imdb", "--labels", "bad,good", "--base", tiny_bert
    )
    assert done.code == 0, done.err
    done = zoo("predict", "mine", "a film to remember", "--json")
    assert done.code == 0, done.err
    base = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=2)
    model = PeftModel.from_pretrained(base, str(plain)).eval()
    batch = AutoTokenizer.from_pretrained(tiny_bert)("a film to remember", return_tensors="pt")
    with torch.no_grad():
        expected = model(**batch).logits.softmax(-1)[0].tolist()
    row = done.json[0]
    assert row["probabilities"] == pytest.approx(dict(zip(["bad", "good"], expected, strict=True)), abs=2e-3)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--labels", "a,b,c"), 2, "3 labels are given, and the adapter's head has 2"),
        (("--task", "tinyllama-chat"), 5, "is of the kind CAUSAL_LM, and the adapter is SEQ_CLS"),
        (("--base", "llama"), 5, "does not fit"),
    ],
)
def test_labels_a_task_or_a_base_that_do_not_fit_are_refused(
    zoo: Zoo,
    plain: Path,
    tiny_models: dict[str, Path],
    options: tuple[str, str],
    code: int,
    message: str,
) -> None:
    option, value = options
    done = zoo("import", plain, option, tiny_models["llama"] if option == "--base" else value)
    assert (done.code, message in done.error) == (code, True)
    assert zoo("list", "--json").json == []


@pytest.mark.parametrize(
    ("named", "likely"),
    [
        ("/root/autodl-tmp/models/Mistral-7B-Instruct-v0.2", "Mistral-7B-Instruct-v0.2"),
        ("./flan", "flan"),
        ("C:\\models\\bert\\checkpoint-30", "bert"),
        ("/kaggle/input/nemotron/default/1", "nemotron"),
        ("alpaca-native", "alpaca-native"),
    ],
)
def test_a_folder_of_the_authors_machine_is_no_base_but_its_name_is_proposed(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path, named: str, likely: str
) -> None:
    folder = put_down(tmp_path / "one", adapter_files(tiny_bert, base_model_name_or_path=named))
    done = zoo("import", folder, "--json")
    assert (done.json["base"]["id"], done.json["base"]["location"]) == (UNKNOWN, "")
    assert f"perhaps of {likely}: --base FOLDER|ID" in done.err


def test_a_base_read_from_the_hubs_cache_is_known_with_its_commit(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path
) -> None:
    commit = "ab" * 20
    told = f"/home/x/.cache/huggingface/hub/models--google-bert--bert-base-cased/snapshots/{commit}"
    folder = put_down(tmp_path / "one", adapter_files(tiny_bert, base_model_name_or_path=told))
    base = zoo("import", folder, "--json").json["base"]
    assert (base["id"], base["revision"]) == ("google-bert/bert-base-cased", commit)


def test_where_the_config_names_a_folder_the_card_may_name_the_base(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path
) -> None:
    card = f"---\nbase_model: Qwen/Qwen3-8B-Base@{'cd' * 20}\n---\n".encode()
    files = adapter_files(tiny_bert, base_model_name_or_path="/mnt/qwen") | {"README.md": card}
    base = zoo("import", put_down(tmp_path / "one", files), "--json").json["base"]
    assert (base["id"], base["revision"]) == ("Qwen/Qwen3-8B-Base", "cd" * 20)


def test_the_labels_come_from_the_config_beside_the_adapter(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path
) -> None:
    files = adapter_files(tiny_bert) | {"config.json": b'{"id2label": {"0": "bad", "1": "good"}}'}
    assert zoo("import", put_down(tmp_path / "one", files), "--json").json["labels"] == ["bad", "good"]


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({"use_dora": True}, "dora"),
        ({"use_rslora": True}, "rslora"),
        ({"use_dora": True, "use_rslora": True}, "dora"),
        ({"use_dora": False, "use_rslora": False}, "lora"),
        ({"peft_type": "MADE_UP"}, UNKNOWN),
    ],
)
def test_the_method_is_told_by_pefts_type_and_switches(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path, changes: dict[str, Any], method: str
) -> None:
    folder = put_down(tmp_path / "one", adapter_files(tiny_bert, **changes))
    assert zoo("import", folder, "--json").json["spec"]["method"] == method


@pytest.mark.parametrize("name", sorted(manager.find("method")))
def test_each_method_of_peft_knows_its_own_config_again(name: str) -> None:
    method = manager.load_method(name)
    if not isinstance(method, PeftMethod) or name in ("pissa", "olora", "qlora"):
        assert method.recognise(CONFIG) is None
        return
    params = method.Params()
    config = method.config(params, manager.load_task("bert-imdb")).to_dict()
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    config |= {"peft_type": str(config["peft_type"].value), "task_type": "SEQ_CLS"}
    knowing = [
        other for other, one, _ in manager.load_all("method") if one and one.recognise(config) is not None
    ]
    assert [plugin.name for plugin in knowing] == [name]
    told = method.recognise(config)
    assert told is not None
    asked = {key: getattr(params, key) for key in told if key != "targets"}
    assert {key: value for key, value in told.items() if key != "targets"} == asked
    assert (
        len(told)
        >= len([key for key in vars(params) if key not in ("targets", "feedforward", "init_text", "init")])
        - 1
    )


def test_pickled_weights_are_refused_with_the_command_that_converts_them(zoo: Zoo, plain: Path) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = load_file(plain / "adapter_model.safetensors")
    (plain / "adapter_model.safetensors").unlink()
    torch.save(tensors, plain / "adapter_model.bin")
    done = zoo("import", plain)
    assert (done.code, "adapter_model.bin is pickled" in done.error) == (5, True)
    assert f"zoo import {plain} --convert-bin" in done.err
    done = zoo("import", plain, "--convert-bin", "--json")
    assert done.code == 0, done.err
    assert sorted(done.json["files"]) == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "is a Git LFS pointer"),
        (b"", "is empty"),
        (struct.pack("<Q", 1 << 40), "is not a safetensors file"),
        (b"PK\x03\x04" + bytes(60), "is pickled weights under another name"),
    ],
)
def test_weights_that_are_none_are_named_for_what_they_are(
    zoo: Zoo, plain: Path, content: bytes, said: str
) -> None:
    (plain / "adapter_model.safetensors").write_bytes(content)
    done = zoo("import", plain)
    assert (done.code, said in done.error, str(plain) in done.error) == (5, True, True)
    assert zoo("list", "--json").json == []


def test_a_truncated_file_is_named(zoo: Zoo, plain: Path) -> None:
    path = plain / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    assert "is cut short" in zoo("import", plain).error


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"adapters.safetensors": b"x"}, "holds MLX-LM's weights (adapters.safetensors)"),
        ({"pytorch_adapter.bin": b"x"}, "holds weights of the adapters library (AdapterHub)"),
    ],
)
def test_the_weights_of_other_tools_are_named(
    zoo: Zoo, tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    config = {"adapter_config.json": json.dumps(CONFIG).encode()}
    done = zoo("import", put_down(tmp_path / "one", config | files))
    assert (done.code, said in done.error) == (5, True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"config": {}, "model_class": "BertModel", "hidden_size": 32},
            "is of the adapters library (AdapterHub)",
        ),
        ({"architectures": ["BertModel"], "model_type": "bert"}, "is the config of a whole model"),
        ({"_class_name": "UNet2DConditionModel"}, "is diffusers' config"),
        ([1, 2], "no JSON object"),
        ({}, "its keys are none"),
        ({"\x1b[31mred": 1}, "its keys are \\x1b[31mred"),
    ],
)
def test_configs_of_other_tools_are_recognised_by_their_keys(
    zoo: Zoo, tmp_path: Path, config: object, said: str
) -> None:
    done = zoo("import", put_down(tmp_path / "one", {"adapter_config.json": json.dumps(config).encode()}))
    assert (done.code, said in done.error, "\x1b" in done.err) == (5, True, False)


def test_keys_of_a_newer_peft_are_gone_before_peft_reads_the_config(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = put_down(tmp_path / "one", adapter_files(tiny_bert, from_the_future=True))
    done = zoo("import", folder, "--name", "x")
    assert "from_the_future" in done.err
    files = Path(zoo("show", "x").out.rpartition("files\t")[2].strip())
    assert "from_the_future" not in (files / "adapter_config.json").read_text(encoding="utf-8")


def test_code_in_a_config_is_refused_even_where_there_are_no_weights(zoo: Zoo, tmp_path: Path) -> None:
    config = {**CONFIG, "auto_mapping": {"parent_library": "evil.module", "base_model_class": "X"}}
    done = zoo("import", put_down(tmp_path / "one", {"adapter_config.json": json.dumps(config).encode()}))
    assert (done.code, "evil.module" in done.error) == (5, True)


def test_only_files_of_an_adapter_are_copied(zoo: Zoo, plain: Path) -> None:
    put_down(plain, {".env": b"TOKEN=x", "optimizer.pt": b"x", "train.csv": b"x"})
    (plain / "README.md").symlink_to("/etc/passwd")
    done = zoo("import", plain)
    assert (done.code, "README.md is a link to a file elsewhere" in done.error) == (5, True)
    (plain / "README.md").unlink()
    done = zoo("import", plain, "--name", "x")
    files = Path(zoo("show", "x").out.rpartition("files\t")[2].strip())
    assert sorted(path.name for path in files.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "zoo.json",
    ]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda record: record["files"].clear(), "adapter_config.json is not among its files"),
        (
            lambda record: record["files"]["adapter_model.safetensors"].update(sha256="00" * 32),
            "adapter_model.safetensors has another hash",
        ),
        (lambda record: record["base"].update(id="evil/base"), "its base is evil/base"),
        (lambda record: record["spec"].update(method="ia3"), "its method is ia3"),
        (lambda record: record.update(format="pickle"), "'pickle' is no format that the zoo knows"),
        (lambda record: record.update(schema=99), "has schema 99"),
        (lambda record: record.pop("metrics"), "is damaged"),
    ],
)
def test_a_record_that_its_files_contradict_is_not_trusted(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path, spoil: Callable[[Any], object], said: str
) -> None:
    folder = recorded(tmp_path, tiny_bert)
    record = json.loads((folder / "zoo.json").read_text(encoding="utf-8"))
    spoil(record)
    (folder / "zoo.json").write_text(json.dumps(record), encoding="utf-8")
    done = zoo("import", folder, "--json")
    assert (done.code, "is not trusted, and neither are its metrics" in done.err, said in done.err) == (
        0,
        True,
        True,
    )
    assert done.json["metrics"] == []


def test_paths_and_escapes_of_an_untrusted_record_are_removed(
    zoo: Zoo, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = recorded(tmp_path, tiny_bert)
    record = json.loads((folder / "zoo.json").read_text(encoding="utf-8"))
    record["base"]["location"] = "path:/etc"
    record["spec"]["data"] = "path:/etc/passwd"
    record["command"] = "zoo train\x1b[2J; rm -rf ~"
    record["labels"] = ["\x1b]0;pwned\x07bad", "good"]
    record["name"] = "../../outside"
    (folder / "zoo.json").write_text(json.dumps(record), encoding="utf-8")
    done = zoo("import", folder, "--json")
    record = done.json
    assert record["base"]["location"] == "hub:google-bert/bert-base-cased@0123456789"
    assert record["spec"]["data"] == "path:passwd"
    assert record["labels"] == ["bad", "good"]
    assert record["name"] == "recorded"
    assert "\\u001b" not in done.out
    assert "\x1b" not in zoo("show", "recorded").out


def test_a_name_that_is_taken_is_refused_and_without_one_the_next_is_free(zoo: Zoo, plain: Path) -> None:
    assert zoo("import", plain).code == 0
    assert zoo("import", plain, "--json").json["name"] == "Plain-adapter-2"
    done = zoo("import", plain, "--name", "Plain-adapter")
    assert (done.code, "an adapter is already called 'Plain-adapter'" in done.error) == (2, True)


def test_a_failed_import_leaves_nothing_behind(zoo: Zoo, plain: Path, registry: Registry) -> None:
    zoo("import", plain, "--labels", "a,b,c")
    assert [path.name for path in registry.folder.iterdir()] == [".work"]
    assert list(registry.work_folder("").iterdir()) == []


@pytest.mark.parametrize("words", [("nowhere/at/all",), ("./nowhere",), ("/nowhere",)])
def test_a_folder_that_does_not_exist_is_refused(zoo: Zoo, words: tuple[str, ...]) -> None:
    done = zoo("import", *words)
    assert (done.code, "there is no folder" in done.error) == (3, True)


def recorded(tmp_path: Path, base: Path) -> Path:
    """A folder with a whole and honest record, as another zoo made it."""
    from zoo.hub.trust_record import recorded_files
    from zoo.registry.store import dump

    folder = put_down(tmp_path / "recorded", adapter_files(base))
    elsewhere = Registry(tmp_path / "elsewhere" / "registry.json")
    record = add_record(elsewhere, "recorded", files=recorded_files(folder))
    (folder / "zoo.json").write_bytes(dump(record))
    return folder


# --replace


def test_an_adapter_takes_the_place_of_the_one_of_its_name_which_comes_back_to_the_byte(
    zoo: Zoo, plain: Path, registry: Registry
) -> None:
    add_record(registry, "mine", labels=["old"])
    before = state(registry)
    done = zoo("import", plain, "--name", "mine", "--replace", "--labels", "bad,good", "--task", "bert-imdb")
    assert done.code == 0, done.err
    assert "replaced 'mine'; zoo undo 1 brings it back (until " in done.err
    assert (registry.get("mine").origin, list(registry.records())) == (f"path:{plain}", ["mine"])
    assert not registry.adapter_folder("mine-2").exists()
    assert registry.rebuild().entry is None
    assert zoo("undo").code == 0
    assert state(registry) == before


def test_replacing_without_a_name_takes_that_of_the_folder(zoo: Zoo, plain: Path, registry: Registry) -> None:
    assert zoo("import", plain).code == 0
    assert zoo("import", plain, "--replace").code == 0
    assert list(registry.records()) == ["Plain-adapter"]


def test_replacing_where_nobody_has_the_name_is_an_import(zoo: Zoo, plain: Path, registry: Registry) -> None:
    done = zoo("import", plain, "--name", "new", "--replace")
    assert (done.code, "undo" in done.err) == (0, False)
    assert list(registry.records()) == ["new"]


def test_an_import_that_fails_replaces_nothing(zoo: Zoo, plain: Path, registry: Registry) -> None:
    add_record(registry, "mine")
    before = state(registry)
    assert zoo("import", plain, "--name", "mine", "--replace", "--labels", "a,b,c").code == 2
    (plain / "adapter_model.safetensors").write_bytes(b"x")
    assert zoo("import", plain, "--name", "mine", "--replace").code == 5
    assert state(registry) == before
    assert zoo("undo").code == 3
