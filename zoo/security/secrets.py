"""Finds secrets before files are published, redacts them in messages, and removes control characters."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

HIDDEN = "hf_***"
_KINDS = {
    "a Hugging Face token": rb"\bhf_[A-Za-z0-9]{16,}|\bapi_org_[A-Za-z]{30,}",
    "an Anthropic key": rb"\bsk-ant-[\w-]{16,}",
    "an OpenAI key": rb"\bsk-(?:proj|svcacct|admin|or-v1)-[\w-]{16,}|\bsk-[A-Za-z0-9]{20,}",
    "a GitHub token": rb"\bgh[oprsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{22,}",
    "a GitLab token": rb"\bglpat-[\w-]{20,}",
    "an AWS key": rb"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "a Slack token": rb"\bxox[abeoprs]-[\w-]{10,}|hooks\.slack\.com/services/[\w/]{20,}",
    "a Google key": rb"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}",
    "a private key": rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    "a JSON web token": rb"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a package index token": rb"\bpypi-[\w-]{50,}|\bnpm_[A-Za-z0-9]{36}",
    "a Stripe key": rb"\b[rs]k_(?:live|test)_[A-Za-z0-9]{20,}",
    "an NVIDIA key": rb"\bnvapi-[\w-]{40,}",
    "a Groq key": rb"\bgsk_[A-Za-z0-9]{40,}",
    "a Replicate token": rb"\br8_[A-Za-z0-9]{37}",
    "a password in an address": rb"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{1,64}:[^\s/:@\"'<>]{3,128}@",
    # no word boundary before: WANDB_API_KEY. The value is closed, for prose says "token: ..." too
    "a key that is named so": rb"(?i:api_?key|secret_access_key|secret_key|access_token|auth_token|hf_token)"
    rb"[\\\"']{0,2}[ \t]*[:=][ \t]*[\\\"']{0,2}[A-Za-z0-9+/_-]{20,}",
}
"""Kind -> pattern: the forms that the services document, and no looser, for a card must not be refused."""
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}
_TEXT_PATTERNS = [re.compile(pattern.decode()) for pattern in _KINDS.values()]
_SIGNED = re.compile(r"([?&](?:X-Amz-[\w-]+|X-Xet-[\w-]+|Signature|Policy|Key-Pair-Id|sig|token)=)[^&\s\"']+")
"""An address that stores sign lets whoever has it fetch or write for an hour."""
_SHORTEST = 8
"""Characters that a token has at least: redacting a shorter one would redact ordinary text."""
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN")
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 without tab and newline; what turns the direction of writing; half characters, which no terminal
takes."""


def secret_in(content: bytes) -> str | None:
    """The kind of secret that is in there, never the secret."""
    if b"\0" in content:  # text of sixteen bits a character
        content = content + b"\n" + content.replace(b"\0", b"")
    if any(token.encode() in content for token in _own()):
        return "the Hub token of this machine"
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(content)), None)


def redact(text: str) -> str:
    """`text` with every secret struck out: those of a known form, and this machine's tokens of any form."""
    for token in _own():
        text = text.replace(token, HIDDEN)
    for pattern in _TEXT_PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return _SIGNED.sub(rf"\1{HIDDEN}", text)


def clean(text: str) -> str:
    """Untrusted text without control characters and terminal escapes."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def _own() -> list[str]:
    """The tokens that the Hub's client would find here: the client itself may ask the network for one."""
    found = [os.environ.get(name, "") for name in _VARIABLES]
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("HF_HOME") or f"{cache}/huggingface").expanduser()
    token = Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    for path in (token, token.with_name("stored_tokens")):
        with suppress(OSError, UnicodeDecodeError):
            lines = path.read_text(encoding="utf-8").replace("=", " ").splitlines()
            found += [words[-1] for words in map(str.split, lines) if words]
    tokens = {token.strip() for token in found if not token.startswith("[")}
    # the longest first: one may begin another
    return sorted((token for token in tokens if len(token) >= _SHORTEST), key=len, reverse=True)
