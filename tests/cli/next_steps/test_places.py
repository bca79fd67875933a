"""Every place that says what to type next is reached by a case, or named here with the reason why not."""

from __future__ import annotations

import pytest

from tests.cli.next_steps import (
    adapter_cases,
    data_cases,
    doctor_cases,
    hub_cases,
    plugin_cases,
    training_cases,
)
from tests.cli.next_steps.places import all_places
from zoo.cli.next_steps import is_command, next_step
from zoo.errors import AGAIN

TYPED = ["train", "lora", "bert-imdb", "--name", "mine", "--resume", "--registry", "kept"]
MODULES = (adapter_cases, data_cases, doctor_cases, hub_cases, plugin_cases, training_cases)
ADVICE: dict[str, str] = {}
"""Place -> its advice, which no command can follow."""
ELSEWHERE: dict[str, tuple[str, str, str]] = {}
"""Place -> why no case reaches it; its hint; and the step that comes of it after `TYPED`."""


def covered() -> set[str]:
    return {case.place for module in MODULES for case in (*module.CASES, *getattr(module, "SLOW", ()))}


def test_every_place_has_a_case_or_a_reason() -> None:
    known, cases = set(all_places()), covered()
    assert cases <= known, sorted(cases - known)
    assert {*ADVICE, *ELSEWHERE} <= known, sorted({*ADVICE, *ELSEWHERE} - known)
    assert not cases & {*ADVICE, *ELSEWHERE}
    assert known == cases | {*ADVICE, *ELSEWHERE}, sorted(known - cases - {*ADVICE, *ELSEWHERE})


@pytest.mark.parametrize("place", ADVICE)
def test_advice_is_not_shown_as_a_command(place: str) -> None:
    step = next_step(ADVICE[place], TYPED)
    assert step == ADVICE[place]
    assert not is_command(step)


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_hint_that_no_case_reaches_becomes_a_whole_command(place: str) -> None:
    _, hint, step = ELSEWHERE[place]
    assert next_step(hint, TYPED) == step
    assert is_command(step)


def test_the_same_command_again_is_whole() -> None:
    assert next_step(AGAIN, TYPED) == "zoo train lora bert-imdb --name mine --resume --registry kept"
