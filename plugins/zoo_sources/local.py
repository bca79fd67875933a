"""`path:`: a model folder or a data file on this disk."""

import shlex

from zoo import Kind, NotFoundError, Resolved, Source
from zoo.runtime.paths import expand, is_there

zoo_api = 1


class Local(Source):
    name = "local"
    summary = "model folders and data files on this disk"
    scheme = "path"
    order = 10

    def resolve(self, ref: str, kind: Kind, *, weights: bool = True) -> Resolved | None:
        path = expand(ref)
        if not is_there(path):
            return None
        path = path.resolve()
        if kind == "base":
            if not path.is_dir():
                what = "a GGUF, which is not read" if path.suffix.lower() == ".gguf" else "a file"
                raise NotFoundError(
                    f"base '{ref}' is {what}; a base is a folder with a config.json.", "zoo sources"
                )
            if not (path / "config.json").is_file():
                if (path / "adapter_config.json").is_file():
                    raise NotFoundError(
                        f"'{ref}' is an adapter, not a base.", f"zoo import {shlex.quote(str(path))}"
                    )
                raise NotFoundError(
                    f"base '{ref}' has no config.json, so it is not a model folder.", "zoo sources"
                )
            if weights and not any(path.glob("*.safetensors")):
                raise NotFoundError(
                    f"base '{ref}' has a config but no *.safetensors weights (pickled ones are not read).",
                    "zoo sources",
                )
        return Resolved(
            kind=kind,
            id=f"local:{path.name}",
            source=self.name,
            location=f"path:{path}",
            path=path,
        )
