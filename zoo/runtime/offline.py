"""Keeps the Hub's client offline for as long as only local files may be used."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "HF_HUB_OFFLINE"


@contextmanager
def offline() -> Iterator[None]:
    """Send nothing to the Hub within; its client reads the variable once, so that value is set too."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    client = sys.modules.get("huggingface_hub.constants")
    kept = getattr(client, _VARIABLE, None)
    if client is not None:
        setattr(client, _VARIABLE, True)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
        client = sys.modules.get("huggingface_hub.constants")
        if client is not None:
            setattr(
                client,
                _VARIABLE,
                (before or "").upper() in ("1", "TRUE", "YES", "ON") if kept is None else kept,
            )
