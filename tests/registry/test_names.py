"""Names of adapters: one plain path component on every system."""

from __future__ import annotations

import pytest

from zoo import UsageError
from zoo.registry.names import check_name, plain_name


@pytest.mark.parametrize("name", ["a", "lora-bert-imdb", "A.b_c-1", "1", "v1.2", "console", "a" * 96])
def test_a_plain_path_component_is_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../x", "a/b", "a\\b", "/abs", "C:x", "a b", " a", "a\n", "a\0b", ".hidden", "-rf",
        "_x", "a.", "a..", "con", "NUL", "aux.txt", "com1", "LPT9.tar.gz", "café", "a\u202eb", "a*", "~",
        "$x", "a" * 97,
    ],
)  # fmt: skip
def test_what_is_no_plain_path_component_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name an adapter"):
        check_name(name)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("my adapter (final)", "my-adapter-final"), ("../x", "x"), ("con", "adapter-con"), ("", "adapter"),
        ("n" * 200, "n" * 80),
    ],
)  # fmt: skip
def test_a_text_that_is_no_name_is_made_one_and_suggested(text: str, plain: str) -> None:
    assert check_name(plain_name(text)) == plain
    with pytest.raises(UsageError) as caught:
        check_name(text)
    assert caught.value.hint == f"--name {plain}"
