"""Every next step for a registry works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.places import Reached
from tests.cli.next_steps.registry_cases import CASES


@parametrize(CASES)
def test_the_next_step_for_a_registry_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)
