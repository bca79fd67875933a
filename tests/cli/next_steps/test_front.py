"""Every next step of a filter, a setting, a registry or a local base that was refused works when typed."""

from __future__ import annotations

from tests.cli.next_steps.front_cases import CASES, SLOW
from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.places import Reached


@parametrize(CASES)
def test_the_next_step_of_the_front_door_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_command_for_the_first_adapter_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)
