"""Every next step for a base or a plugin that does not do its work works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.model_cases import CASES, SLOW
from tests.cli.next_steps.places import Reached


@parametrize(CASES)
def test_the_next_step_for_a_base_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_next_step_for_a_template_or_a_plugin_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)
