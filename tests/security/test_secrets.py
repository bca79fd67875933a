"""Secrets of every kind that a folder may hold by accident, none of them real, each written in two halves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.security.secrets import HIDDEN, clean, redact, secret_in

KINDS = {
    "a Hugging Face token": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "an Anthropic key": "sk-" + "ant-api03-AbCdEfGhIjKlMnOpQrStUvWxYz",
    "an OpenAI key": "sk-" + "proj-AbCdEfGhIjKlMnOpQrStUvWxYz",
    "a GitHub token": "ghp_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "a GitLab token": "glpat-" + "AbCdEfGhIjKlMnOpQrSt",
    "an AWS key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a Slack token": "xoxb-" + "123456789012-abcdefghijkl",
    "a Google key": "AIza" + "SyAbCdEfGhIjKlMnOpQrStUvWxYz0123456",
    "a private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "a JSON web token": "eyJ"
    + "hbGciOiJIUzI1NiJ9.eyJ"
    + "zdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r",
    "a package index token": "pypi-" + "A" * 60,
    "a Stripe key": "sk_live_" + "AbCdEfGhIjKlMnOpQrStUvWx",
    "an NVIDIA key": "nvapi-" + "A1b2" * 16,
    "a Groq key": "gsk_" + "A1b2" * 13,
    "a Replicate token": "r8_" + "A" * 37,
    "a password in an address": "https://me:" + "swordfish@db.internal/x",
    "a key that is named so": 'WANDB_API_KEY="' + "0123456789abcdef0123456789abcdef01234567" + '"',
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "hf").mkdir()
    return tmp_path / "hf"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_secret_is_found_in_a_text_by_its_name_and_struck_out(kind: str) -> None:
    text = f"before, {KINDS[kind]} after"
    assert secret_in(text.encode()) == kind
    assert secret_in(json.dumps({"a": [text]}).encode()) == kind
    hidden = redact(text)
    assert HIDDEN in hidden
    assert hidden.startswith("before, ")
    assert secret_in(hidden.encode()) is None
    assert KINDS[kind][6:] not in hidden


def test_text_of_sixteen_bits_a_character_hides_nothing() -> None:
    assert secret_in(KINDS["a GitHub token"].encode("utf-16-le")) == "a GitHub token"


@pytest.mark.parametrize(
    "text",
    [
        "hf_hub_download(repo_id=...) and hf_transfer",
        "set HF_TOKEN=hf_xxx, or api_key=YOUR_KEY",
        "HF_TOKEN=$HF_TOKEN zoo publish",
        'the sha256 is "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"',
        "https://example.org/a:b and mailto:me@example.org",
        '"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"',
        "sk-learn, task-specific, risk-averse, eyJ, AKIA",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_only_looks_like_a_secret_is_let_be(text: str) -> None:
    assert secret_in(text.encode()) is None
    assert redact(text) == text


@pytest.mark.parametrize("where", ["HF_TOKEN", "token", "stored_tokens"])
def test_this_machines_own_token_is_found_whatever_its_form(
    monkeypatch: pytest.MonkeyPatch, home: Path, where: str
) -> None:
    canary = "canary" + "-of-no-known-form"
    if where == "HF_TOKEN":
        monkeypatch.setenv(where, f" {canary}\n")
    else:
        content = canary if where == "token" else f"[work]\nhf_token = {canary}\n\n"
        (home / where).write_text(content, encoding="utf-8")
    assert secret_in(f"Bearer {canary}".encode()) == "the Hub token of this machine"
    assert redact(f"refused: {canary}!") == f"refused: {HIDDEN}!"


def test_a_signed_address_keeps_its_path_and_loses_its_signature() -> None:
    shown = redact("https://store.example/a/b?X-Amz-Signature=0a1b2c&X-Amz-Credential=me&part=1")
    assert shown == f"https://store.example/a/b?X-Amz-Signature={HIDDEN}&X-Amz-Credential={HIDDEN}&part=1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\", "here"),
        ("\x9b2Jwiped\x85", "wiped"),
        ("a\x1bPq\x1b\\b\x1bcc", "abc"),
        ("over\rwritten\b\x00", "overwritten"),
        ("a\tb\nc", "a\tb\nc"),
        ("\u202edesrever\u2066", "desrever"),
        ("half \ud800 of", "half  of"),
        ("\x1b]0;never closed\nthe next line stays", "\nthe next line stays"),
        ("naïve 模型 👩‍🚀", "naïve 模型 👩‍🚀"),
    ],
)
def test_untrusted_text_loses_what_moves_a_cursor_and_nothing_else(text: str, shown: str) -> None:
    assert clean(text) == shown
