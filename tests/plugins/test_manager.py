"""Plugins are found through entry points, those of the zoo and those of third parties alike."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT, Result
from zoo import hookimpl
from zoo.errors import NotFoundError, PluginError
from zoo.plugins import manager
from zoo.plugins.method import Method
from zoo.plugins.source import Source
from zoo.tasks.base import Task

KINDS: dict[str, type] = {"method": Method, "task": Task, "source": Source}
GOOD = """
    from zoo import Method, hookimpl

    class Mine(Method):
        name = "{name}"
        summary = "a third party's"

        def attach(self, model, params, task, head):
            return model

    @hookimpl
    def zoo_method():
        return Mine()
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution with one method on sys.path, as pip would."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    made: list[str] = []

    def distribution(
        package: str, name: str, source: str = GOOD, version: str = "1.0", api: str = "zoo_api = 1"
    ) -> None:
        info = site / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", encoding="utf-8"
        )
        module = f"{package}_plugin"
        (info / "entry_points.txt").write_text(f"[zoo.methods]\n{name} = {module}\n", encoding="utf-8")
        text = textwrap.dedent(source).replace("{name}", name)
        (site / f"{module}.py").write_text(f"{api}\n{text}", encoding="utf-8")
        monkeypatch.syspath_prepend(str(site))  # again: importlib forgets what it knew of the folder
        made.append(module)

    yield distribution
    for module in made:
        sys.modules.pop(module, None)


def own(kind: str) -> set[str]:
    """The names of the plugins whose files are in plugins/."""
    folder = ROOT / "plugins" / f"zoo_{kind}s"
    return {path.stem.replace("_", "-") for path in folder.glob("*.py") if path.stem != "__init__"}


# the zoo's own


@pytest.mark.parametrize("kind", manager.KINDS)
def test_every_plugin_of_the_zoo_is_found_through_its_entry_point(kind: str) -> None:
    found = manager.find(kind)
    firsthand = {name for name, plugin in found.items() if plugin.distribution.startswith("adapter-zoo ")}
    assert firsthand == own(kind)
    assert list(found) == sorted(found)
    for name in firsthand:
        assert found[name].module == f"zoo_{kind}s.{name.replace('-', '_')}"
        assert found[name].kind == kind


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in sorted(own(kind))])
def test_a_plugin_of_the_zoo_makes_what_its_kind_is(kind: str, name: str) -> None:
    made = manager.load(kind, name)
    assert made.name == name
    assert made.summary
    assert isinstance(made, KINDS[kind])


def test_sources_come_in_the_order_in_which_they_are_asked() -> None:
    names = [source.name for source in manager.load_sources()]
    assert [name for name in names if name in own("source")] == ["local", "pip", "hub"]


def test_an_unknown_name_is_not_found_and_the_nearest_is_suggested() -> None:
    with pytest.raises(NotFoundError, match=r"no method is called 'hed'\. Did you mean 'head'\?") as caught:
        manager.load_method("hed")
    assert caught.value.hint == "head instead of hed"
    with pytest.raises(NotFoundError, match="no task is called 'lora'"):
        manager.load_task("lora")


# third parties


def test_a_third_partys_method_appears_beside_the_zoos_own(install: Install) -> None:
    install("other_a", "mine")
    assert manager.find("method")["mine"].distribution == "other_a 1.0"
    assert manager.load_method("mine").summary == "a third party's"
    assert own("method") < set(manager.find("method"))


def test_an_entry_point_may_name_an_object_in_its_module(install: Install) -> None:
    install("other_b", "mine")
    points = Path(sys.path[0]) / "other_b-1.0.dist-info" / "entry_points.txt"
    points.write_text("[zoo.methods]\nmine = other_b_plugin:Mine\n", encoding="utf-8")
    assert manager.load_method("mine").name == "mine"


def test_a_name_claimed_by_two_packages_harms_no_other_in_any_listing(
    install: Install, zoo: Callable[..., Result]
) -> None:
    """`zoo plugins` is what a person types to find out what is wrong."""
    install("first_e", "mine")
    install("second_e", "mine")
    plugins = zoo("plugins")
    assert plugins.code == 0
    state = {line.split("\t")[1]: line.split("\t")[-1] for line in plugins.out.splitlines()}
    assert state["mine"] == "method 'mine' is claimed by two packages: first_e 1.0 and second_e 1.0."
    assert state["lora"] == "ok"
    methods = zoo("methods")
    assert methods.code == 0
    assert "claimed by two packages" in methods.err
    names = [line.split("\t")[0] for line in methods.out.splitlines()]
    assert ("lora" in names, "mine" in names) == (True, False)
    asked = zoo("methods", "mine")
    assert asked.code == 1
    assert "first_e 1.0 and second_e 1.0" in asked.error
    assert "pip uninstall" in asked.err


@pytest.mark.parametrize(
    ("packages", "name", "claims", "hint"),
    [
        (("other_g",), "lora", r"two packages: adapter-zoo .* and other_g 1\.0", "pip uninstall other_g"),
        (
            ("three_i", "two_i", "one_i"),
            "mine",
            r"one_i 1\.0 and three_i 1\.0 and two_i 1\.0",
            "pip uninstall two_i",
        ),
    ],
    ids=["with the zoo itself, which stays", "three packages"],
)
def test_everyone_who_claims_a_name_is_named_and_one_of_them_should_go(
    packages: tuple[str, ...], name: str, claims: str, hint: str, install: Install
) -> None:
    for package in packages:
        install(package, name)
    with pytest.raises(PluginError, match=claims) as caught:
        manager.load_method(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("line", "reason", "hint"),
    [
        ("", "does not declare its plugin API", "add zoo_api = 1 to versions_j_plugin"),
        ("zoo_api = 99", "made for plugin API 99, and this zoo has 1", "pip install --upgrade adapter-zoo"),
        ("zoo_api = 0", "made for plugin API 0, and this zoo has 1", "pip install --upgrade versions_j"),
        ("zoo_api = 'one'", "made for plugin API one", "pip install --upgrade versions_j"),
    ],
)
def test_a_plugin_of_no_or_another_api_is_refused_with_what_to_type(
    line: str, reason: str, hint: str, install: Install
) -> None:
    install("versions_j", "mine", api=line)
    with pytest.raises(PluginError, match=reason) as caught:
        manager.load_method("mine")
    assert caught.value.hint == hint


def test_what_a_plugin_says_in_several_lines_is_one_line_of_a_listing(
    install: Install, zoo: Callable[..., Result]
) -> None:
    install("lines_k", "mine", "raise RuntimeError('first\\nsecond')")
    install("hooks_k", "other", "from zoo import hookimpl\n@hookimpl\ndef zoo_method(wrong): ...")
    state = {line.split("\t")[1]: line.split("\t")[-1] for line in zoo("plugins").out.splitlines()}
    assert state["mine"].endswith("RuntimeError: first second")
    assert "wrong" in state["other"]
    assert state["lora"] == "ok"


HOOK = "from zoo import Method, hookimpl\n@hookimpl\ndef "
BROKEN = {
    "raises": (
        "raise RuntimeError('no GPU')",
        r"'mine' \(broken_0 1\.0\) does not import: .*: no GPU",
    ),
    "lacks a package": ("import a_package_that_nobody_has", "a_package_that_nobody_has"),
    "exits": ("raise SystemExit(3)", "does not import: SystemExit: 3"),
    "is no Python": ("def", "does not import: SyntaxError"),
    "has an unknown hook": (f"{HOOK}zoo_metod(): ...", "zoo_metod"),
    "has a hook with unknown arguments": (f"{HOOK}zoo_method(colour): ...", "colour"),
    "has no hook": ("", r"'mine' \(broken_6 1\.0\) has no zoo_method hook"),
    "makes nothing": (f"{HOOK}zoo_method(): return None", "has no zoo_method hook"),
    "calls itself otherwise": (GOOD.replace("{name}", "other"), "calls itself 'other'"),
    "raises when asked": (f"{HOOK}zoo_method(): raise RuntimeError('busy')", "fails: RuntimeError: busy"),
    "makes something else": (f"{HOOK}zoo_method(): return 'mine'", "fails: AttributeError"),
    "makes something without a name": (f"{HOOK}zoo_method(): return Method()", "fails: TypeError"),
    "lacks a step": (GOOD.replace("def attach(", "def attaches("), "abstract method '?attach"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_reported_and_harms_no_other(how: str, install: Install) -> None:
    source, reason = BROKEN[how]
    install(f"broken_{list(BROKEN).index(how)}", "mine", source)
    with pytest.raises(PluginError, match=reason):
        manager.load_method("mine")
    found = {plugin.name: (made, trouble) for plugin, made, trouble in manager.load_all("method")}
    made, trouble = found.pop("mine")
    assert made is None
    assert trouble
    assert set(found) >= own("method")
    assert all(made is not None and trouble is None for made, trouble in found.values())


def test_what_pip_removes_meanwhile_is_no_plugin_any_more(install: Install) -> None:
    install("removed_l", "mine")
    assert "mine" in manager.find("method")
    shutil.rmtree(Path(sys.path[0]) / "removed_l-1.0.dist-info")
    assert "mine" not in manager.find("method")


def test_a_plugin_is_not_imported_until_it_is_asked_for(install: Install) -> None:
    install("lazy_f", "mine")
    manager.find("method")
    manager.load_method("full")
    assert "lazy_f_plugin" not in sys.modules
    manager.load_method("mine")
    assert "lazy_f_plugin" in sys.modules


# the manager


def test_a_manager_is_fresh_each_time_and_knows_only_its_modules() -> None:
    module = ModuleType("mine")

    @hookimpl
    def zoo_card(record: object) -> str:
        return "mine"

    module.zoo_card = zoo_card  # type: ignore[attr-defined]
    first, second = manager.manager(module), manager.manager()
    assert first is not second
    assert first.hook.zoo_card(record=None) == ["mine"]
    assert second.hook.zoo_card(record=None) == []
    assert manager.manager().get_plugins() == set()


def test_a_module_that_is_both_task_and_method_is_registered_once() -> None:
    module = ModuleType("both")
    assert manager.manager(module, None, module).get_plugins() == {module}


def test_of_two_modules_the_last_is_asked_first() -> None:
    def module(answer: str | None) -> ModuleType:
        made = ModuleType(f"answers {answer}")

        @hookimpl
        def zoo_evaluate(run: object) -> str | None:
            return answer

        made.zoo_evaluate = zoo_evaluate  # type: ignore[attr-defined]
        return made

    default, task, method = module("default"), module("task"), module(None)
    assert manager.manager(default, task).hook.zoo_evaluate(run=None) == "task"
    assert manager.manager(default, task, method).hook.zoo_evaluate(run=None) == "task"
    assert manager.manager(default, method).hook.zoo_evaluate(run=None) == "default"
