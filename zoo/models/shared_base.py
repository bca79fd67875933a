"""Shares a loaded base between adapters in turn, each as if it had just come from disk.

Every adapter gets a module tree of its own. Its weights share the memory of the template, its heads, buffers
and configs are copies. What a method does to the tree is its own affair; only a write into the shared memory
can reach the next adapter, so that is looked for, and a template that was written to is read again.
"""

from __future__ import annotations

import copy
import pickle
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

_BLOCK = 64
"""Groups of eight bytes whose sum is one number of the fingerprint."""


class Bases:
    """Announce every use, then take: a template lives no longer than it is wanted."""

    def __init__(self) -> None:
        self._uses: Counter[Hashable] = Counter()
        self._templates: dict[Hashable, _Template] = {}

    def announce(self, key: Hashable) -> None:
        self._uses[key] += 1

    def take(
        self, key: Hashable, read: Callable[[], tuple[nn.Module, list[str]]]
    ) -> tuple[nn.Module, list[str]]:
        """What `read` returns, a base and the names of its head's modules, in the memory of the last one.

        The last use gets the template itself, so an adapter by itself costs what it would without this.
        """
        self._uses[key] -= 1
        template = self._templates.pop(key, None)
        if template is not None and not template.is_pristine():
            template = None
        if template is None:
            template = _Template(*read())
        if self._uses[key] > 0:
            tree = template.copy()
            if tree is not None:
                self._templates[key] = template
                return tree, template.head
        return template.model, template.head


class _Template:
    def __init__(self, model: nn.Module, head: list[str]):
        import torch

        self.model, self.head = model, head
        # methods write into fresh heads in place, and forward passes into buffers: both are small, and copied
        own = {id(value) for name in head for value in model.get_submodule(name).parameters()}
        # and so is a quantised weight, which carries more than its memory
        self._shared = [
            value
            for value in model.parameters()
            if id(value) not in own and type(value) is torch.nn.Parameter and value.layout is torch.strided
        ]
        self._versions: list[int] = []
        self._fingerprints: list[int] = []

    def copy(self) -> nn.Module | None:
        """None where a copy might still reach into this model, or cannot be made."""
        if any(map(_is_patched, self.model.modules())):
            return None
        memo: dict[int, Any] = {id(value): _alias(value) for value in self._shared}
        try:
            tree = copy.deepcopy(self.model, memo)
        except Exception:  # a third-party model may hold anything
            return None
        if not self._fingerprints:
            self._fingerprints = [_fingerprint(value) for value in self._shared]
        self._versions = [value._version for value in self._shared]
        return tree

    def is_pristine(self) -> bool:
        """Torch counts the writes to a tensor, but not those through `.data` or numpy."""
        return self._versions == [value._version for value in self._shared] and self._fingerprints == [
            _fingerprint(value) for value in self._shared
        ]


def options_key(options: Mapping[str, Any]) -> Hashable:
    """Equal for options that load the same model. `==` will not do: 4 bits equal 8 in BitsAndBytesConfig."""
    try:
        return pickle.dumps(dict(options))
    except Exception:  # what cannot be compared is equal to nothing
        return object()


def _is_patched(module: nn.Module) -> bool:
    """A function may hold on to the module that it was made for, and copying leaves functions as they are."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or any(
            name == "forward" or (isinstance(value, FunctionType) and value.__closure__)
            for name, value in vars(module).items()
        )
    )


def _alias(value: nn.Parameter) -> nn.Parameter:
    """Another parameter with the same memory and the same count of writes, through `detach`."""
    import torch

    alias = torch.nn.Parameter(value.detach(), requires_grad=value.requires_grad)
    vars(alias).update(vars(value))
    return alias


def _fingerprint(value: Tensor) -> int:
    """Read at the speed of memory: groups of eight bytes are summed in blocks, and the sums are hashed.

    A change goes unseen only if it leaves the sum of each block of 512 bytes as it was.
    """
    import torch

    content = value.detach().reshape(-1).view(torch.uint8)
    if content.storage_offset() % 8:
        content = content.clone()
    cut = len(content) // (8 * _BLOCK) * (8 * _BLOCK)
    sums = content[:cut].view(torch.int64).view(-1, _BLOCK).sum(1)
    return zlib.crc32(content[cut:].cpu().numpy(), zlib.crc32(sums.cpu().numpy()))
