"""Knows the record of an adapter and registry.json, which holds all of them."""

import warnings


def __getattr__(name: str) -> object:
    if name != "Registry":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    warnings.warn("zoo.registry.Registry is deprecated: use zoo.Registry", DeprecationWarning, stacklevel=2)
    from zoo.registry.store import Registry

    return Registry
