"""The gates on folders that are really there: adapters as PEFT saves them, with one hostile thing added."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import IncompatibleError
from zoo.security.gates import check_file_name, check_incoming, incoming, outgoing

SECRET = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
HONEST = {
    "adapter_config.json": json.dumps(
        {"peft_type": "LORA", "base_model_name_or_path": "a/b", "r": 4, "megatron_core": "megatron.core"}
    ),
    "README.md": "---\nlicense: mit\n---\n# An adapter\n",
    "tokenizer_config.json": json.dumps({"tokenizer_class": "BertTokenizer", "tokenizer_file": None}),
    "tokenizer.json": json.dumps({"model": {"vocab": {"auto_map": 1, "a": 0}}}),
    "chat_template.jinja": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
}


def write_weights(path: Path, rank: int = 4, value: float = 1.0) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    shapes = {"lora_A": (rank, 8), "lora_B": (8, rank)}
    tensors = {
        f"base_model.model.l.q.{side}.weight": np.full(shape, value, dtype=np.float32)
        for side, shape in shapes.items()
    }
    save_file(tensors, str(path), metadata={"format": "pt"})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "adapter"
    made.mkdir()
    for name, text in HONEST.items():
        (made / name).write_text(text, encoding="utf-8")
    write_weights(made / "adapter_model.safetensors")
    return made


def refusal(judge: Callable[[Path], object], folder: Path) -> IncompatibleError:
    with pytest.raises(IncompatibleError) as caught:
        judge(folder)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    return caught.value


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_an_honest_folder_comes_in_and_goes_out_whole(folder: Path) -> None:
    assert check_incoming(folder) == []
    files, left_out = outgoing(folder)
    assert [path.name for path in files] == sorted([*HONEST, "adapter_model.safetensors"])
    assert left_out == []


def test_the_gates_import_neither_torch_nor_the_hubs_client() -> None:
    script = (
        "import sys, zoo.security.gates, zoo.security.secrets; zoo.security.secrets.redact('a');"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "a\\b",
        "/etc/passwd",
        "C:evil",
        "a:stream",
        "a\nb",
        "a\x1b[2J",
        "a\u202etxt",
        "NUL",
        "con.json",
        "Lpt1.txt",
        "a ",
        "a.",
        "a*",
        "a" * 256,
    ],
)
def test_a_name_that_is_not_one_plain_component_is_refused(name: str) -> None:
    with pytest.raises(IncompatibleError) as caught:
        check_file_name(name)
    assert str(caught.value).isprintable()


def test_plain_names_are_let_through() -> None:
    for name in ("model-00001-of-00002.safetensors", ".gitattributes", "a..b", "console.json", "模型.txt"):
        assert check_file_name(name) == name


def test_of_a_repository_only_the_files_of_an_adapter_are_fetched() -> None:
    names = [
        "adapter_config.json",
        "checkpoint-5/adapter_config.json",
        "train.py",
        "a: b.png",
        ".gitattributes",
    ]
    assert incoming(names) == ["adapter_config.json"]
    assert incoming(["model.safetensors", "model-a/b-of-c.safetensors"]) == ["model.safetensors"]


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../../b", "..\\a", "/etc/a", "C:\\a", "~/.ssh/a", "a\x1b[2J", "model-/../-of-.safetensors"],
)
def test_a_repository_with_a_name_made_to_leave_its_folder_is_refused_though_it_would_not_be_fetched(
    name: str,
) -> None:
    with pytest.raises(IncompatibleError, match="leave its folder"):
        incoming(["adapter_config.json", name])


def test_pickled_weights_alone_are_refused(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"\x80\x02.")
    said = str(refusal(check_incoming, folder))
    assert "adapter_model.bin is pickled, and pickle runs code" in said


def test_pickled_weights_beside_safetensors_are_left_out_aloud(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x02.")
    (folder / "optimizer.pt").write_bytes(b"")
    assert check_incoming(folder) == ["left out: adapter_model.bin, optimizer.pt"]


def test_a_rank_that_no_tensor_has_is_refused(folder: Path) -> None:
    change(folder / "adapter_config.json", r=5_000_000)
    assert "r = 5,000,000, which no tensor of adapter_model.safetensors has" in str(
        refusal(check_incoming, folder)
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "adapter_config.json",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "Git LFS pointer",
        ),
        ("adapter_config.json", b"[1]", "no JSON object"),
        ("adapter_config.json", b"{", "is not JSON"),
        ("adapter_config.json", b'{"a": 1, "a": 2}', "'a' twice"),
        ("adapter_config.json", b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        ("adapter_config.json", b'{"a": "' + b"a" * (1 << 20) + b'"}', "are allowed"),
        ("adapter_config.json", b'{"peft_type": "LORA", "megatron_core": "os"}', "megatron_core"),
        ("README.md", b"\xff\xfe", "UTF-8"),
        ("zoo.json", b'{"files": {"../../.bashrc": {}}}', "../../.bashrc"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../../x.safetensors"}}', "../../x"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "pytorch_model.bin"}}', "pytorch_model.bin"),
        ("adapter_model.safetensors", b"\x80\x02.", "safetensors"),
        ("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": ["t.T", null]}}', "auto_map"),
        ("chat_template.jinja", b"{{ ''.__class__.__mro__ }}", "__class__"),
    ],
)
def test_a_file_that_is_a_threat_or_not_what_its_name_says_is_refused_by_name(
    folder: Path, name: str, content: bytes, said: str
) -> None:
    (folder / name).write_bytes(content)
    message = str(refusal(check_incoming, folder))
    assert name in message
    assert said in message


def test_windows_line_ends_and_byte_order_marks_are_no_threat(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b",", b",\r\n"))
    assert check_incoming(folder) == []


def test_weights_that_are_not_finite_are_refused_both_ways(folder: Path) -> None:
    write_weights(folder / "adapter_model.safetensors", value=float("inf"))
    for judge in (check_incoming, outgoing):
        assert "infinity in the tensor" in str(refusal(judge, folder))


def test_a_link_to_another_file_of_this_machine_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("mine", encoding="utf-8")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "private")
    assert "README.md is a link" in str(refusal(check_incoming, folder))


def test_the_links_that_the_hubs_cache_is_made_of_are_let_in(folder: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "cache" / "blobs", tmp_path / "cache" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", str(number)))
    assert check_incoming(snapshot) == []


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder: Path) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")
    assert "README.md is no file" in str(refusal(check_incoming, folder))


PLANTED = {
    ".env": "a hidden file",
    ".gitignore": "a hidden file",
    "id_rsa": "a key",
    "server.pem": "a key",
    "my_credentials.json": "a key",
    "optimizer.pt": "state of the training",
    "scheduler.pt": "state of the training",
    "rng_state_0.pth": "state of the training",
    "training_args.bin": "state of the training",
    "trainer_state.json": "state of the training",
    "adapter_model.bin": "pickled",
    "train.csv": "data",
    "rows.jsonl": "data",
    "notes.md": "no file of an adapter",
    "train.py": "no file of an adapter",
}


def test_what_is_no_file_of_an_adapter_stays_and_is_named_with_the_reason(
    folder: Path, tmp_path: Path
) -> None:
    for name in PLANTED:
        (folder / name).write_text(SECRET, encoding="utf-8")
    (folder / "checkpoint-10").mkdir()
    (folder / "data").mkdir()
    (tmp_path / "private").write_text("mine", encoding="utf-8")
    (folder / "vocab.txt").symlink_to(tmp_path / "private")
    files, left_out = outgoing(folder)
    assert sorted(path.name for path in files) == sorted([*HONEST, "adapter_model.safetensors"])
    assert dict(left_out) == {
        **PLANTED,
        "checkpoint-10": "a checkpoint",
        "data": "a folder",
        "vocab.txt": "a link",
    }


@pytest.mark.parametrize("name", ["README.md", "tokenizer_config.json", "zoo.json"])
def test_a_secret_in_a_file_that_would_go_stops_it_and_is_not_repeated(folder: Path, name: str) -> None:
    (folder / name).write_text(f'{{"a": "see {SECRET}"}}', encoding="utf-8")
    error = refusal(outgoing, folder)
    assert f"{name} holds a Hugging Face token" in str(error)
    assert SECRET not in f"{error} {error.hint}"


def test_a_secret_in_the_metadata_of_weights_stops_them(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    path = folder / "adapter_model.safetensors"
    save_file({"a": np.ones(2, dtype=np.float32)}, str(path), metadata={"command": f"train --token {SECRET}"})
    assert "adapter_model.safetensors holds a Hugging Face token" in str(refusal(outgoing, folder))
