"""`zoo check`: does an adapter fit a base, and which bases does it fit. Nothing here needs a model."""

from __future__ import annotations

import click

from zoo.cli.output import json_option, print_checks, print_json, registry_option
from zoo.registry.store import Registry


@click.command(name="check")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--base", metavar="ID|PATH", help="On this base; it is never fetched.")
@registry_option
@json_option
@click.pass_context
def check_command(
    ctx: click.Context, registry: Registry, names: tuple[str, ...], base: str | None, as_json: bool
) -> None:
    """Does an adapter fit a base: exactly (the same weights), in shape, or not, and why.

    NAME is a registered adapter or a folder with an adapter_config.json. Without --base: on its own base,
    and on every other that this machine knows. Without NAME: every registered adapter on its own base.
    Ends with 5 where one does not fit, with 3 where something is missing to tell.

    \b
    zoo check lora-bert-imdb --base google-bert/bert-base-cased
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
        print_json(results)
    else:
        print_checks(results, "base", "fit")
    if not results:
        click.echo(f"no adapter to check; looked in {registry.path}", err=True)
    ctx.exit(report.exit_code(results))
