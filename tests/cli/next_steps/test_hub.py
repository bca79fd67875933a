"""Every next step of a command that spoke with the Hub, or imported an adapter, works when it is typed."""

from __future__ import annotations

from tests.cli.next_steps.harness import Case, World, assert_next_step_works, parametrize
from tests.cli.next_steps.hub_cases import CASES, SLOW
from tests.cli.next_steps.places import Reached


@parametrize(CASES)
def test_the_next_step_with_the_hub_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)


@parametrize(SLOW, slow=True)
def test_the_next_step_of_an_import_works(case: Case, world: World, reached: Reached) -> None:
    assert_next_step_works(case, world, reached)
