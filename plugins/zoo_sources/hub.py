"""`hub:`: models and data sets of the Hugging Face Hub, through its own clients.

A reference is pinned to a commit before anything is fetched, by one question with a short timeout: the
clients retry for minutes when it is a download that finds out that there is no network. A base that the cache
holds whole is used without asking. Only safetensors weights are taken: pickle runs code. A data set of
several configurations is named with the one that is meant, `hub:nyu-mll/glue:mrpc`, and only its files are
fetched.
"""

from __future__ import annotations

import dataclasses
import re
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import (
    DataError,
    IncompatibleError,
    Kind,
    NotFoundError,
    Offer,
    Resolved,
    Source,
    UsageError,
    ZooError,
)
from zoo.cards.metadata import parse, split
from zoo.data.files import CLASS_NAMES
from zoo.hub import waits
from zoo.hub.client import HUB_TIMEOUT, client, to_zoo_error
from zoo.models.fingerprint import canonical, has_weights
from zoo.runtime.suggest import instead
from zoo.security.gates import PROCESSOR_FILES

if TYPE_CHECKING:
    from pandas import DataFrame

zoo_api = 1
_DATA_FILES = ["README.md", *(f"*{suffix}" for suffix in (".parquet", ".csv", ".tsv", ".jsonl", ".json"))]
_REPO_ID = re.compile(r"[A-Za-z0-9]([\w.-]{0,94}\w)?(/[A-Za-z0-9]([\w.-]{0,94}\w)?)?", re.ASCII)
_LONGEST_ID = 96
_CONFIG_FILES = ("README.md", "config.json", "generation_config.json", *PROCESSOR_FILES)
_BUILDERS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json"}
"""Suffix -> how the datasets client calls the reader of such files."""


class Hub(Source):
    name = "hub"
    summary = "the Hugging Face Hub and its cache on this disk"
    scheme = "hub"
    order = 30

    def resolve(self, ref: str, kind: Kind, *, weights: bool = True) -> Resolved | None:
        whole, _, asked = ref.partition("@")
        repo, colon, config = whole.partition(":")
        if not _is_repo_id(repo) or (colon and kind == "base"):
            return None
        if kind == "base":
            return self._base(canonical(repo), asked or None, weights)
        return self._data(repo, config or None, asked or None, weights)

    def frames(self, resolved: Resolved) -> dict[str, DataFrame]:
        """Read the snapshot through the datasets client, which knows the splits that its card declares."""
        import datasets

        datasets.disable_progress_bars()
        folder = resolved.path
        assert folder is not None, "a data set that was resolved with its rows"
        try:
            if resolved.config is None:
                parts = datasets.load_dataset(str(folder))
            else:  # by its files: the client looks for those of the card's other configurations too
                files = _files(folder, _configs(folder / "README.md")[resolved.config])
                kind = _BUILDERS[Path(next(iter(files.values()))[0]).suffix]
                parts = datasets.load_dataset(kind, data_files=files)
        except Exception as error:  # the client raises its own, pyarrow's, pandas' and fsspec's errors
            raise DataError(f"the rows of '{resolved.id}' cannot be read: {error}") from error
        frames = {}
        for named, rows in parts.items():
            frames[str(named)] = rows.to_pandas()
            names = {name: list(kind.names) for name, kind in rows.features.items() if hasattr(kind, "names")}
            frames[str(named)].attrs[CLASS_NAMES] = names
        return frames

    def offers(self, kind: Kind) -> list[Offer]:
        """What the cache holds, of a base all weights: no network is asked.

        The client's own scan takes the size of every file, and a second where there are thousands.
        """
        from huggingface_hub import constants

        prefix = "models--" if kind == "base" else "datasets--"
        found = []
        for repo in sorted(Path(constants.HF_HUB_CACHE).glob(f"{prefix}*")):
            whole = _newest_whole(repo / "snapshots", kind)
            if whole is not None:
                name = repo.name.removeprefix(prefix).replace("--", "/")
                found.append(Offer(kind, name, f"hub:{name}", "in the cache", whole))
        return found

    def _base(self, repo: str, asked: str | None, weights: bool) -> Resolved:
        cached = _cached_folder(repo, asked, "model", ["config.json"])
        # an interrupted download leaves a snapshot without its weights: the Hub is asked again then
        if cached and (cached / "config.json").is_file() and (not weights or has_weights(cached)):
            return self._resolved("base", repo, cached)
        try:
            info = client().model_info(repo, revision=asked, timeout=HUB_TIMEOUT)
            names = [file.rfilename for file in info.siblings or [] if "/" not in file.rfilename]
            tensors = [name for name in names if name.endswith((".safetensors", ".safetensors.index.json"))]
            # some repositories hold the same weights again under other names (consolidated.safetensors)
            tensors = [name for name in tensors if name.startswith("model")] or tensors
            if weights and not tensors:
                raise NotFoundError(
                    f"base '{repo}' has no safetensors weights on the Hub (pickled weights are not read)."
                )
            wanted = [*_CONFIG_FILES, *(tensors if weights else [])]
            folder = _snapshot(info.id, "model", asked, wanted)
        except ZooError:
            raise
        except Exception as error:
            raise to_zoo_error(repo, error) from error
        return self._resolved("base", info.id, folder)

    def _data(self, repo: str, config: str | None, asked: str | None, rows: bool) -> Resolved:
        """The Hub is asked even if the cache has it: a cut-off download looks like a smaller data set."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            repo = client().dataset_info(repo, revision=asked, timeout=HUB_TIMEOUT).id
            # this also notes which commit `main` is
            folder = _snapshot(repo, "dataset", asked, ["README.md"])
            wanted = _wanted(repo, folder, config)
            if rows:
                folder = _snapshot(repo, "dataset", folder.name, wanted)
        except ZooError:
            raise
        except Exception as error:
            cached = _cached_folder(repo, asked, "dataset", ["README.md"])
            if cached is None or isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
                raise to_zoo_error(repo, error) from error
            folder = cached
            wanted = _wanted(repo, folder, config)
            if rows and not _holds(folder, wanted):
                raise to_zoo_error(repo, error) from error
        found = self._resolved("data", repo, folder)
        named = f"hub:{repo}:{config}@{folder.name}" if config else found.location
        return dataclasses.replace(found, config=config, location=named, path=folder if rows else None)

    def _resolved(self, kind: Kind, repo: str, snapshot: Path) -> Resolved:
        """A snapshot folder is named after its commit."""
        licence = _metadata(snapshot / "README.md").get("license")
        return Resolved(
            kind=kind,
            id=repo,
            source=self.name,
            location=f"hub:{repo}@{snapshot.name}",
            path=snapshot,
            revision=snapshot.name,
            licence=", ".join(map(str, licence)) if isinstance(licence, list) else licence and str(licence),
        )


def _is_repo_id(text: str) -> bool:
    """As the client takes it, an owner or none."""
    is_one = _REPO_ID.fullmatch(text) and len(text) <= _LONGEST_ID and not text.endswith(".git")
    return bool(is_one) and "--" not in text and ".." not in text


def _snapshot(repo: str, repo_type: str, revision: str | None, patterns: list[str]) -> Path:
    with waits.transfers():
        found = client().snapshot_download(
            repo, repo_type=repo_type, revision=revision, allow_patterns=patterns, tqdm_class=waits.bar()
        )
    return Path(found)


def _wanted(repo: str, folder: Path, config: str | None) -> list[str]:
    """The files to fetch: those of the configuration, or all that hold rows.

    Raises:
        NotFoundError: it has no such configuration.
        UsageError: it has several, none is the default, and none was named.
    """
    card = folder / "README.md"
    configs = _configs(card)
    if config is None:
        declared = _declared(card)
        has_default = "default" in declared or any(one.get("default") for one in declared.values())
        if len(configs) > 1 and not has_default:
            raise UsageError(
                f"'{repo}' has several configurations: {', '.join(configs)}.",
                _instead(repo, f"{repo}:{next(iter(configs))}"),
            )
        return _DATA_FILES
    if config not in configs:
        raise NotFoundError(
            f"'{repo}' has no configuration '{config}': it has {', '.join(configs) or 'none'}.",
            _instead(f"{repo}:{config}", f"{repo}:{next(iter(configs))}" if configs else repo),
        )
    return ["README.md", *(pattern for patterns in configs[config].values() for pattern in patterns)]


def _instead(asked: str, other: str) -> str:
    """The hint to ask for another configuration, whether the scheme was given or not."""
    return ", ".join(instead(f"hub:{other}", one) for one in (asked, f"hub:{asked}"))


def _configs(card: Path) -> dict[str, dict[str, list[str]]]:
    """Configuration -> split -> patterns of its files, as the data set's card declares them."""
    return {name: _patterns(one.get("data_files") or f"{name}/*") for name, one in _declared(card).items()}


def _declared(card: Path) -> dict[str, dict[str, Any]]:
    """Configuration -> what its card says of it; what is in no form that the Hub knows is left out."""
    listed = _metadata(card).get("configs")
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {one["config_name"]: one for one in found if isinstance(one.get("config_name"), str)}


def _patterns(files: Any) -> dict[str, list[str]]:
    """Split -> patterns, of what `data_files` may be: one, several, or a split with some in each part."""
    if isinstance(files, list) and files and isinstance(files[0], dict):
        parts = [one for one in files if isinstance(one, dict)]
        splits = {str(one.get("split")): one.get("path") for one in parts}
    else:
        splits = files if isinstance(files, dict) else {"train": files}
    return {
        str(split): [one for one in ([paths] if isinstance(paths, str) else paths) if isinstance(one, str)]
        for split, paths in splits.items()
        if isinstance(paths, str | list)
    }


def _holds(folder: Path, patterns: list[str]) -> bool:
    """Is any file there beside the card? A star matches folders too, as it does for the Hub's client."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return any(fnmatch(name, one) for name in names if name != "README.md" for one in patterns)


def _newest_whole(snapshots: Path, kind: Kind) -> Path | None:
    """The snapshot that was made last of those that can be used; None where there is none."""
    with suppress(OSError, IncompatibleError):  # no snapshot, or a malformed index of weights
        for one in sorted(snapshots.iterdir(), key=lambda path: -path.stat().st_mtime):
            is_base = (one / "config.json").is_file() and has_weights(one)
            if is_base if kind == "base" else _holds(one, _DATA_FILES):
                return one
    return None


def _metadata(card: Path) -> dict[str, Any]:
    """What the card's YAML says; empty where there is none."""
    try:
        return parse(split(card.read_text(encoding="utf-8"))[0] or "") if card.is_file() else {}
    except ValueError:  # a card that nobody can read names nothing
        return {}


def _files(folder: Path, patterns: dict[str, list[str]]) -> dict[str, list[str]]:
    found = {
        split: sorted(str(path) for pattern in paths for path in folder.glob(pattern) if path.is_file())
        for split, paths in patterns.items()
    }
    return {split: paths for split, paths in found.items() if paths}


def _cached_folder(repo: str, asked: str | None, repo_type: str, patterns: list[str]) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            repo, revision=asked, repo_type=repo_type, local_files_only=True, allow_patterns=patterns
        )
    except OSError:  # not there, or not whole
        return None
    return Path(found)
