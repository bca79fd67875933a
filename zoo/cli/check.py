"""`zoo check` and `zoo verify`: does an adapter fit a base, and does it still do what its record says."""

from __future__ import annotations

import click
from msgspec.structs import replace

from zoo.cli.common import base_option, json_option, print_json, registry_option
from zoo.cli.help import Command
from zoo.cli.outputs import Verified, fits
from zoo.cli.tables import Column, print_checks, wide_option, with_whole_fixes
from zoo.errors import IncompatibleError
from zoo.registry.store import Registry
from zoo.runtime.checks import failures
from zoo.runtime.console import StderrReport
from zoo.runtime.terminal import say


@click.command(
    name="check",
    cls=Command,
    examples=[
        "zoo check lora-bert-imdb",
        "zoo check lora-bert-imdb --base google-bert/bert-base-cased",
    ],
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--base", metavar="ID|PATH", help="On this base; it is never fetched.")
@registry_option
@wide_option
@json_option(fits)
@click.pass_context
def check_command(
    ctx: click.Context, registry: Registry, names: tuple[str, ...], base: str | None, as_json: bool
) -> None:
    """Does an adapter fit a base: exactly (the same weights), in shape, or not, and why.

    NAME is a registered adapter or a folder with an adapter_config.json. Without --base: on its own base,
    and on every other that this machine knows. Without NAME: every registered adapter on its own base.
    Ends with 5 where one does not fit, with 3 where something is missing to tell.
    """
    from zoo.adapters.compat import report

    if names:
        subjects = [report.subject(name, registry) for name in names]
    else:
        subjects = [
            report.Subject(name, registry.adapter_folder(name), record) for name, record in registry.each()
        ]
    if base is not None:
        results = [report.on_base(one, base) for one in subjects]
    else:
        results = []
        recorded = [record.base for _, record in registry.each()] if names else []
        for one in subjects:
            results.append(report.on_own(one))
            if names:
                results += report.on_others(one, recorded)
    if as_json:
        print_json(with_whole_fixes(results))
    else:
        print_checks(results, Column("base", rank=1 if names else 2), Column("fit"))
    if not results:
        say(f"no adapter to check; looked in {registry.path}")
    ctx.exit(report.exit_code(results))


@click.command(
    name="verify",
    cls=Command,
    examples=[
        "zoo verify lora-bert-imdb",
        "zoo verify lora-bert-imdb --metrics",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@base_option
@click.option("--metrics", is_flag=True, help="Measure again, and compare with the recorded intervals.")
@registry_option
@wide_option
@json_option(list[Verified])
def verify_command(
    registry: Registry, names: tuple[str, ...], base: str | None, metrics: bool, as_json: bool
) -> None:
    """Load each adapter NAME and compare it with its files, its base and the answers it was saved with.

    A lost or random head, an adapter that does nothing, another base and a changed byte are told apart.
    """
    for name in names:
        registry.locate(name)

    from zoo.adapters import verify

    report = StderrReport()
    found = {name: verify.verify(name, registry, report, base=base, metrics=metrics) for name in names}
    if as_json:
        print_json(
            [Verified(name=name, results=with_whole_fixes(results)) for name, results in found.items()]
        )
    else:
        print_checks(replace(one, name=f"{name}: {one.name}") for name in found for one in found[name])
    failed = {name: failures(results) for name, results in found.items() if failures(results)}
    if failed:
        name, results = next(iter(failed.items()))
        checks = ", ".join(one.name for one in results)
        more = f", and {len(failed) - 1} others" if len(failed) > 1 else ""
        raise IncompatibleError(f"'{name}' is not what its record says: {checks}{more}.")
