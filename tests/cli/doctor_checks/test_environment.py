"""What this machine is and has: reported without torch in the process, and without ever showing a token."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import run_process
from zoo.cli.doctor_checks import environment
from zoo.registry.store import Registry
from zoo.runtime.checks import FAILED, WARNING

CANARY = "hf_canaryCANARYcanaryCANARYcanaryCANARY"


def test_versions_and_hardware_are_told() -> None:
    facts = environment.machine()
    assert facts["torch"] == version("torch")
    assert facts["zoo"] == version("adapter-zoo")
    assert int(facts["memory_bytes"]) > 1e8


def test_device_and_precision_are_asked_of_a_child_process_that_takes_no_module_from_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from zoo.runtime.device import choose_precision

    for name in ("json.py", "torch.py"):
        (tmp_path / name).write_text("raise ImportError", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    facts, results = environment.answer(environment.probe())
    assert facts["precision"] == choose_precision("auto")
    assert str(facts["device"]).startswith("c")
    assert results == []


def test_a_torch_that_does_not_import_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text(f"raise ImportError('libtorch.so {CANARY}')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts, (result,) = environment.answer(environment.probe())
    assert (facts, result.status) == ({}, FAILED)
    assert "libtorch.so" in result.detail
    assert CANARY not in result.detail
    assert "torch" in result.fix


def test_a_torch_that_hangs_is_a_failed_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(environment, "_PROBE_SECONDS", 1.0)
    _, (result,) = environment.answer(environment.probe())
    assert "no answer within 1 s" in result.detail


def test_room_is_told_of_folders_that_do_not_exist_yet(registry: Registry, cache: Path) -> None:
    facts = environment.room(registry)
    assert facts["registry"] == str(registry.path)
    assert facts["cache"] == str(cache)
    assert facts["cache size_bytes"] == 0
    assert int(facts["registry free_bytes"]) > 0
    (cache / "index").mkdir(parents=True)
    (cache / "index" / "a").write_bytes(bytes(1000))
    (cache / "link").symlink_to(cache / "index" / "a")
    assert environment.room(registry)["cache size_bytes"] == 1000
    assert not registry.path.parent.exists()


def test_a_disk_that_is_nearly_full_is_a_warning() -> None:
    (result,) = environment.shortcomings({"registry": "/x", "registry free_bytes": 10**9})
    assert (result.status, result.detail, result.name) == (WARNING, "only 1.0 GB are free", "/x")
    assert result.fix == "zoo list --sort bytes"


def test_a_library_out_of_its_range_is_named_with_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [*environment.shortcomings({})] == []
    monkeypatch.setattr(environment, "_version", lambda name: "0.1" if name == "peft" else version(name))
    (result,) = environment.shortcomings({})
    assert result.status == FAILED
    assert result.detail.startswith("the zoo needs peft>=")
    assert result.detail.endswith(" 0.1 is installed")
    assert result.fix.startswith("pip install 'peft>=")


def test_a_token_is_present_or_not_and_never_shown(tmp_path: Path) -> None:
    """Nor is the password of an endpoint; wherever the token is kept."""
    home = tmp_path / "home"
    home.mkdir()
    env = {"HF_HOME": str(home), "HF_ENDPOINT": "http://me:s3cret@127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    base = {**env, "ZOO_REGISTRY": str(tmp_path / "r"), "HF_TOKEN": "", "HF_TOKEN_PATH": str(home / "token")}
    for state, more in (
        ("none", {}),
        ("present, in HF_TOKEN", {"HF_TOKEN": CANARY}),
        ("present, stored", {}),
    ):
        if state == "present, stored":
            (home / "token").write_text(CANARY, encoding="utf-8")
        for switches in ([], ["--json"])[: 2 if more else 1]:
            done = run_process("doctor", "--fast", *switches, env={**base, **more})
            assert done.code == 0, done.err
            assert state in done.out
            assert CANARY not in done.out + done.err
            assert "s3cret" not in done.out + done.err
            assert str(len(CANARY)) not in [word for line in done.out.splitlines() for word in line.split()]
