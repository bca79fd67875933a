"""Every next step for methods and plugins works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.places import Reached
from tests.cli.next_steps.plugin_cases import CASES, SLOW


@parametrize(CASES)
def test_the_next_step_for_a_plugin_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_next_step_for_a_new_plugin_or_a_training_works(
    case: Case, world: World, reached: Reached
) -> None:
    assert_next_step_works(case, world, reached)
