"""Every place that says what to type next is reached by a case, or gives advice that is no command."""

from __future__ import annotations

import pytest

from tests.cli.next_steps import (
    accident_cases,
    adapter_cases,
    data_cases,
    doctor_cases,
    front_cases,
    hub_cases,
    model_cases,
    plugin_cases,
    registry_cases,
    run_cases,
    training_cases,
)
from tests.cli.next_steps.places import all_places
from zoo.cli.next_steps import is_command, next_step
from zoo.errors import AGAIN

TYPED = ["train", "lora", "bert-imdb", "--name", "mine", "--resume", "--registry", "kept"]
MODULES = (
    accident_cases,
    adapter_cases,
    data_cases,
    doctor_cases,
    front_cases,
    hub_cases,
    model_cases,
    plugin_cases,
    registry_cases,
    run_cases,
    training_cases,
)
_REMEDY = "remove it from a copy of the folder, then zoo import the copy"
ADVICE = {
    "zoo/adapters/formats.py check_has_weights 1": "fetch the whole folder",
    "zoo/data/batching.py TokenBudgetBatches.__init__ 1": "fewer processes",
    "zoo/data/files.py _read_separated 1": "a text that holds the separator must be quoted",
    "zoo/data/inspect.py _check_copies 1": "settle on one label for each: nothing can learn both",
    "zoo/data/inspect.py _check_labels 1": "more rows of them, or one label for all that are rare",
    "zoo/data/inspect.py _check_labels 2": "write them alike in reviews.csv",
    "zoo/data/json_rows.py _list 1": "write [{...}, {...}], or one object per line",
    "zoo/models/fingerprint.py LocalWeights.__init__ 1": "fetch it again",
    "zoo/models/safetensors_header.py _not_whole 2": "fetch it again",
    "zoo/models/safetensors_header.py _not_whole 3": "fetch it again",
    "zoo/models/safetensors_header.py _read 1": "fetch it again",
    "zoo/plugins/manager.py _check_api 1": "add zoo_api = 1 to zoo_bad",
    "zoo/runtime/config.py _damaged 1": "correct that line; zoo config --help has the keys",
    "zoo/security/adapter_config.py check_config 1": _REMEDY,
    "zoo/security/gates.py check_file 1": "copy the file in its place",
    "zoo/security/gates.py outgoing 1": "revoke it, take it out, and publish again",
    "zoo/security/remote_code.py check_json 1": _REMEDY,
    "zoo/security/remote_code.py check_json 2": _REMEDY,
    "zoo/security/remote_code.py check_json 3": _REMEDY,
    "zoo/security/remote_code.py check_template 1": _REMEDY,
    "zoo/training/portable.py choose_kernels 2": "set MKL_CBWR=COMPATIBLE before that",
    "zoo/training/finite.py explain 3": "remove or correct training row 3 of 16",
    "zoo/tasks/image_text/captioned.py _picture 1": "name files relative to the folder",
    "zoo/tasks/image_text/captioned.py check_is_data 1": (
        "write one: a header file_name,text and a line per picture and caption"
    ),
}
"""Place -> its advice, which no command can follow."""


def covered() -> set[str]:
    return {case.place for module in MODULES for case in (*module.CASES, *getattr(module, "SLOW", ()))}


def test_every_place_has_a_case_or_a_reason() -> None:
    known, cases = set(all_places()), covered()
    assert cases <= known, sorted(cases - known)
    assert not cases & set(ADVICE)
    every = cases | set(ADVICE)
    assert known == every, sorted(known ^ every)


@pytest.mark.parametrize("place", ADVICE)
def test_advice_is_not_shown_as_a_command(place: str) -> None:
    step = next_step(ADVICE[place], TYPED)
    assert step == ADVICE[place]
    assert not is_command(step)


def test_the_same_command_again_is_whole() -> None:
    assert next_step(AGAIN, TYPED) == "zoo train lora bert-imdb --name mine --resume --registry kept"
