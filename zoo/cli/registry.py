"""`zoo registry`: makes registry.json anew, checks it, joins two, and brings an old one up to date."""

from __future__ import annotations

import click

from zoo.cli.common import json_option, number_of, print_json, registry_option, say_undo, typed
from zoo.cli.help import Group
from zoo.cli.outputs import JoinedRegistry, MigratedRegistry, Rebuilt, RegistryChecked
from zoo.cli.tables import print_checks, wide_option, with_whole_fixes
from zoo.errors import IncompatibleError
from zoo.registry.schema import AdapterRecord
from zoo.registry.store import RECORD_FILE, Registry, locate
from zoo.runtime.checks import failures
from zoo.runtime.console import StderrReport
from zoo.runtime.terminal import say


@click.group(
    name="registry", cls=Group, examples=["zoo registry check", "zoo registry merge ~/other/registry.json"]
)
def registry_command() -> None:
    """Maintain registry.json."""


@registry_command.command(
    name="rebuild",
    examples=[
        "zoo registry rebuild",
        "zoo registry rebuild --registry ~/adapters",
    ],
)
@registry_option
@json_option(Rebuilt)
def rebuild_command(registry: Registry, as_json: bool) -> None:
    """Make registry.json anew from the zoo.json of each adapter; zoo undo brings the old one back."""
    rebuilt = registry.rebuild(typed())
    for line in rebuilt.left_out:
        say(f"left out {line}", "Warning:")
    for name in rebuilt.lost:
        say(f"left out '{name}': {registry.adapter_folder(name)} has no {RECORD_FILE} of it", "Warning:")
    say_undo(f"{registry.path}: {rebuilt.adapters} adapters", rebuilt.entry, "brings the old one back")
    if as_json:
        print_json(
            Rebuilt(
                registry=str(registry.path),
                adapters=rebuilt.adapters,
                left_out=rebuilt.left_out,
                lost=rebuilt.lost,
                undo=number_of(rebuilt.entry),
            )
        )


@registry_command.command(name="restore", examples=["zoo registry restore lora-bert-imdb"])
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@registry_option
def restore_command(registry: Registry, names: tuple[str, ...]) -> None:
    """Write the zoo.json of each adapter NAME anew, as registry.json has it."""
    for name in names:
        done = registry.restore(name, typed())
        say_undo(
            f"{registry.adapter_folder(name) / RECORD_FILE} written as {registry.path} has it",
            done,
            "brings the old one back",
        )


@registry_command.command(
    name="check",
    examples=[
        "zoo registry check",
        "zoo registry check --all",
    ],
)
@click.option("--all", "hashes", is_flag=True, help="Take the hash of every file; else sizes are compared.")
@registry_option
@wide_option
@json_option(RegistryChecked)
def check_command(registry: Registry, hashes: bool, as_json: bool) -> None:
    """Compare registry.json with the adapters' folders, and find what is damaged, double or left over.

    It changes nothing. Exit code 5 if something fails; warnings alone are 0.
    """
    from zoo.cli.doctor_checks.registry import check_registry

    results = check_registry(registry, StderrReport(), fast=not hashes)
    failed = failures(results)
    if as_json:
        whole = with_whole_fixes(results)
        print_json(RegistryChecked(registry=str(registry.path), results=whole, sound=not failed))
    else:
        print_checks(results)
    if failed:
        count = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
        raise IncompatibleError(f"{count} failed.", failed[0].fix or None)


@registry_command.command(
    name="merge",
    examples=[
        "zoo registry merge ~/other/registry.json --dry-run",
        "zoo registry merge ~/other/registry.json",
        "zoo registry merge",
    ],
)
@click.argument("other", required=False, metavar="[OTHER]")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and change nothing.")
@registry_option
@json_option(JoinedRegistry)
def merge_command(registry: Registry, other: str | None, dry_run: bool, as_json: bool) -> None:
    """Take the adapters of the registry OTHER into this one, or settle the git conflicts in this one.

    Of the same name and the same files there is one; another adapter of a name that is taken gets the next
    free one. OTHER stays as it is.
    """
    from zoo.adapters.integrity import changed_files
    from zoo.registry.merge import merge

    there = Registry(locate(other)) if other else None
    joined = merge(registry, there, changed_files, typed(), dry_run=dry_run)
    would = "would be " if dry_run else ""
    here = {name: there for there, name in joined.renamed.items()}
    for name in joined.added:
        what = f"'{name}' {would}added"
        what += f"; it is '{here[name]}' there, a name that another adapter has" if name in here else ""
        what += "; its record alone, there are no files" if name in joined.without_files else ""
        say(what)
    for name in joined.same:
        say(f"'{name}' is in both")
    for line in joined.left_out:
        say(f"left out {line}", "Warning:")
    if not dry_run:
        say_undo(f"{registry.path}: {len(joined.added)} added", joined.entry, "takes that back")
    if as_json:
        print_json(
            JoinedRegistry(
                registry=str(registry.path),
                added=joined.added,
                same=joined.same,
                renamed=joined.renamed,
                without_files=joined.without_files,
                left_out=joined.left_out,
                undo=number_of(joined.entry),
            )
        )


@registry_command.command(name="migrate", examples=["zoo registry migrate"])
@registry_option
@json_option(MigratedRegistry)
def migrate_command(registry: Registry, as_json: bool) -> None:
    """Check every record, and write it as this version does; zoo undo brings the old files back.

    A registry of a newer version is refused.
    """
    from zoo.registry.migrate import migrate

    migrated = migrate(registry, typed())
    for line in migrated.left_out:
        say(f"left alone {line}", "Warning:")
    if migrated.entry is None:
        say(f"{registry.path} is as this version writes it; nothing was changed")
    else:
        say_undo(f"{len(migrated.files)} files written anew", migrated.entry, "brings the old ones back")
    if as_json:
        print_json(
            MigratedRegistry(
                registry=str(registry.path),
                files=migrated.files,
                left_out=migrated.left_out,
                undo=number_of(migrated.entry),
            )
        )


@registry_command.command(name="schema", examples=["zoo registry schema"])
def schema_command() -> None:
    """Print the JSON Schema of a record.

    It is that of zoo.json and of a registry entry; zoo schema has those of --json.
    """
    from zoo.cli.schema import schema_of

    print_json(schema_of(AdapterRecord, title="zoo.json"))
