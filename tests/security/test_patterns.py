"""Which regular expressions are done in moments; some are timed, so that the rule is not a belief."""

from __future__ import annotations

import multiprocessing
import re
import time

import pytest

from zoo.security.patterns import is_quick

NAME = "base_model.model.model.language_model.layers.31.self_attn.q_proj"
QUICK = [
    "q_proj",
    r".*\.(q|k|v|o)_proj",
    r"model\.layers\.\d+\.self_attn\.(q_proj|v_proj)",
    r"^(?!.*(vision|lm_head)).*_proj$",
    # as a popular training tool writes it
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:k_proj|v_proj|q_proj|out_proj|fc1|fc2|o_proj|gate_proj|up_proj|down_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\."
    r"(?:(?:k_proj|v_proj|q_proj|out_proj|fc1|fc2|o_proj|gate_proj|up_proj|down_proj)))",
]
SLOW = [
    r"([a-z_.0-9]+)+X",
    r"((a|b|\w)\.?)*X",
    r".*.*.*.*.*.*.*.*X",
    r"(?:.?){40}.{50}X",
    r"(.*)*X",
]


@pytest.mark.parametrize("pattern", QUICK)
def test_an_honest_pattern_is_quick_and_is_called_so(pattern: str) -> None:
    assert is_quick(pattern)
    started = time.process_time()
    for _ in range(300):  # modules
        re.fullmatch(pattern, NAME)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", SLOW)
def test_a_hostile_pattern_is_told_by_its_parts(pattern: str) -> None:
    assert not is_quick(pattern)


def test_the_first_of_the_hostile_ones_is_really_never_done() -> None:
    """Else the rule forbids what does no harm. Another process, for nothing stops a match in this one."""
    match = multiprocessing.get_context("spawn").Process(
        target=re.fullmatch, args=(SLOW[0], NAME), daemon=True
    )
    match.start()
    match.join(3)
    is_done = not match.is_alive()
    match.kill()
    match.join()
    assert not is_done


def test_what_is_no_pattern_at_all_is_left_to_peft() -> None:
    assert is_quick("(unclosed")
