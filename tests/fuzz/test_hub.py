"""What the Hub answers: descriptions of models, headers, errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fuzz.harness import fuzz, survives
from tests.fuzz.inputs import edited, texts
from zoo.hub import client, pull, repo, search
from zoo.runtime.console import Report

MODEL: dict[str, Any] = {
    "id": "me/lora",
    "modelId": "me/lora",
    "author": "me",
    "sha": "0123456789" * 4,
    "lastModified": "2026-01-02T03:04:05.000Z",
    "private": False,
    "gated": "auto",
    "downloads": 12,
    "likes": 1,
    "tags": ["peft", "lora", "bert-imdb", "base_model:adapter:google-bert/bert-base-cased"],
    "pipeline_tag": "text-classification",
    "siblings": [
        {"rfilename": "adapter_config.json", "size": 10, "blobId": "ab" * 20},
        {
            "rfilename": "adapter_model.safetensors",
            "size": 1000,
            "blobId": "cd" * 20,
            "lfs": {"sha256": "ef" * 32, "size": 1000, "pointerSize": 100},
        },
    ],
    "cardData": {
        "base_model": "google-bert/bert-base-cased",
        "model-index": [
            {
                "name": "x",
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {"type": "imdb", "name": "IMDB"},
                        "metrics": [{"type": "accuracy", "value": 0.9}],
                    }
                ],
            }
        ],
    },
}
OTHERS: tuple[dict[str, Any], ...] = (
    {"id": None},
    {"tags": 1},
    {"cardData": "text"},
    {"siblings": [{"rfilename": "README.md", "size": "big"}]},
)


class Answers:
    """Stands where the client does, and gives its objects what the Hub said."""

    endpoint = "https://hub.example"

    def __init__(self, answer: Any):
        self._answer = answer

    def model_info(self, repo: str, **settings: Any) -> Any:
        from huggingface_hub.hf_api import ModelInfo

        return ModelInfo(**self._answer)

    def list_models(self, **settings: Any) -> Any:
        return [self.model_info("")]


@fuzz(edited(MODEL), *({**MODEL, **other} for other in OTHERS))
def test_a_description_of_a_model_is_read_or_refused(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(repo, "client", lambda: Answers(answer))
    monkeypatch.setattr(search, "client", lambda: Answers(answer))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    model = survives(lambda: repo.find_model("me/lora", None, Report()))
    if model is not None:
        survives(lambda: pull._wanted("me/lora", model.files, False))
        survives(lambda: sum(file.size for file in model.files.values()))
    survives(
        lambda: [
            search._row(one, None, frozenset(), frozenset()) for one in search._listed([], None, None, 3)
        ]
    )


@fuzz(texts("120", "Wed, 21 Oct 2026 07:28:00 GMT", "1e3", "-1", "²"), "²", "9" * 5000)
def test_a_wait_that_the_hub_asks_for_is_read(text: str) -> None:
    error = OSError("slow down")
    error.response = type("Response", (), {"headers": {"Retry-After": text}, "status_code": 429})()  # type: ignore[attr-defined]
    survives(lambda: client._retry_after(error))
    survives(lambda: client._wait(error, 1))
    assert survives(lambda: client.to_zoo_error("me/lora", error)) is not None


@fuzz(
    texts(
        "the Hub says: <b>no</b>",
        "Illegal header value b'Bearer hf_abcdefghijklmnopq'",
        "https://u:password@x/?sig=1",
    )
)
def test_any_error_of_the_client_becomes_a_line(text: str) -> None:
    from zoo.errors import ZooError

    def failed() -> None:
        try:
            raise RuntimeError("storage") from OSError(text)
        except RuntimeError as error:
            raise client.to_zoo_error(text, error) from None

    survives(failed)
    assert isinstance(client.to_zoo_error(text, ValueError(text)), ZooError)
