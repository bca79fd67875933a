"""Silences loading bars and notices of other libraries that a user cannot act on."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from zoo.runtime.console import Report


def quiet_libraries(report: Report | None = None) -> None:
    """Import them, which takes seconds, and say so where that is still to be done."""
    if report is not None and "transformers" not in sys.modules:
        report.say("loading torch and transformers")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # peft reads an attribute that transformers is renaming; nobody who trains an adapter can act on it
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # peft has no list of layers that a method may not know, and says so of every one but a few
    warnings.filterwarnings("ignore", message="Unsupported layer type", module="peft")
    # it tells of kernels for the CPU that could be fetched from the Hub
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
