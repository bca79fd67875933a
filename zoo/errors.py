"""Defines every error that a user can cause or meet, as one tree.

    ZooError                 exit 1   something failed
    ├── UsageError           exit 2   the command is wrong: an option, name or value
    │   ├── OptionError      exit 2   `-s key=value` does not fit the method's parameters
    │   └── DataError        exit 2   the rows cannot be trained on: empty, one class, not UTF-8
    ├── NotFoundError        exit 3   no such adapter, plugin, base, data set or file
    │   └── UnreachableError exit 3   it may exist, but is not reachable from this machine
    ├── AuthError            exit 4   the Hub asks for a token
    ├── IncompatibleError    exit 5   the adapter or method does not fit, or a check failed
    ├── PluginError          exit 1   a plugin is broken, or two claim one name
    └── RegistryError        exit 1   registry.json cannot be read or written
        ├── LockedError      exit 1   another process holds the registry's lock
        └── FullError        exit 1   the disk has no room for what is to be written

The message is one line that says what was wrong; `hint` says what to type next: a command (`zoo list`), or
how the same command is to be changed, as options to set (`--name other`, `-s r=8`), `without --resume`, or
`lora instead of lorra`; or it is `AGAIN`. The command line prints that command whole.
Any other text is advice.
"""

from __future__ import annotations

AGAIN = "again"
"""The hint to give the same command once more."""
GO_ONLINE = f"unset HF_HUB_OFFLINE && {AGAIN}"
"""The hint where the Hub must not be asked."""


class ZooError(Exception):
    """Base of the tree. `hint` is shown on its own line, after `Next:`, or `Hint:` where it is advice."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.hint = hint


class UsageError(ZooError):
    exit_code = 2


class OptionError(UsageError):
    pass


class DataError(UsageError):
    pass


class NotFoundError(ZooError):
    exit_code = 3


class UnreachableError(NotFoundError):
    pass


class AuthError(ZooError):
    exit_code = 4


class IncompatibleError(ZooError):
    exit_code = 5


class PluginError(ZooError):
    pass


class RegistryError(ZooError):
    pass


class LockedError(RegistryError):
    pass


class FullError(RegistryError):
    pass


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or another signal, noticed at a safe point. Not a failure, so not in the tree.

    A process ends with 128 and the signal's number: see `zoo.runtime.signals`.
    """

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.hint = hint
