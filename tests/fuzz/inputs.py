"""Makes inputs: valid documents that are damaged, as bytes, as text and as JSON, and what is no document.

Each is made of one short draw of bytes, a recipe: a draw for each choice would take most of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")
LONGEST_RECIPE = 40
"""Bytes."""
_DEEP = {"@deep@": 50, "@deeper@": 800, "@deepest@": 100_000}
_TOKENS = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1b[2J", b"\r", b"\n", b"\t", b" ", b"'", b'"', b"\\"),
    *(b"{", b"}", b"[", b"]", b",", b":", b"=", b"#", b"&", b"*", b"!", b"|", b"-", b"%", b"@", b"`", b"~x/"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b'"\\ud800"', b'"\\u0000"', b"\\N"),
    *(
        b"9" * 20,
        b"9" * 5000,
        b"[" * 200,
        b"[" * 900,
        b"[" * 100_000,
        b'{"a":' * 900,
        b"(" * 500,
        b"a" * 3000,
    ),
    *("\u2028".encode(), "\u202e".encode(), "é".encode(), "²".encode(), "\U0001f600".encode()),
    *(
        b"<<<<<<< HEAD\n",
        b"=======\n",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"---\n",
        b"../",
        b"/",
    ),
)
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        2**64,
        -(2**64),
        10**30,
        0.5,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        " ",
        "a",
        "\0",
        "\n",
        "\x1b[31m",
        "\ud800",
        "'",
        '"',
        "`",
        "é",
        "²",
        "..",
        "../x",
        "/",
        "~",
        "~x/y",
    ),
    *("C:\\x", "NaN", "none", "1", "a" * 3000, "[" * 300, "(a+)+$", "a{99999999999}", "--help", "a b", "a=b"),
    *([], {}, [None], [[]], [1, "a"], {"a": 1}, {"": None}, {"a": {"b": []}}, ["a", "a"], [{}], *_DEEP),
)


class Recipe:
    """Choices out of bytes; the first one of each where they are used up."""

    def __init__(self, content: bytes):
        self._content, self._at = content, 0

    def below(self, count: int) -> int:
        """A number of two bytes."""
        two = self._content[self._at : self._at + 2]
        self._at += 2
        return int.from_bytes(two, "big") % count

    def one_of(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]

    def rest(self) -> bytes:
        return self._content[self._at :]


class Input(Generic[T]):
    """What may come of a recipe."""

    def __init__(self, make: Callable[[Recipe], T]):
        self.make = make

    def map(self, change: Callable[[T], U]) -> Input[U]:
        return Input(lambda recipe: change(self.make(recipe)))

    def __or__(self, other: Input[T]) -> Input[T]:
        return Input(lambda recipe: recipe.one_of((self, other)).make(recipe))


def made(make: Callable[[Recipe], T]) -> Input[T]:
    """What `make` makes of any recipe."""
    return Input(make)


def damage(recipe: Recipe, content: bytes) -> bytes:
    """A document with a few bytes, or the half of it, changed, gone or twice."""
    for _ in range(recipe.below(4)):
        way = recipe.below(5)
        at = recipe.below(len(content) + 1)
        size = recipe.one_of((1, 1, 2, 8, 60, 1 << 30))
        if way == 0:
            content = content[:at] + content[at + size :]
        elif way == 1:
            content = content[:at] + recipe.one_of(_TOKENS) + content[at:]
        elif way == 2:
            content = content[:at] + recipe.one_of(_TOKENS) + content[at + size :]
        elif way == 3:
            content = content[:at] + content[at : at + size] + content[at:]
        else:
            content = content[:at] + bytes([recipe.below(256)]) + content[at + 1 :]
    return content


def edit(recipe: Recipe, document: Any) -> Any:
    """A JSON document with other values, without some, with more."""
    document = deepcopy(document)
    for _ in range(1 + recipe.below(3)):
        places = list(_places(document))
        if not places:
            break
        way, (holder, key) = recipe.below(6), recipe.one_of(places)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[str(recipe.one_of(_VALUES))] = holder.pop(key)
        elif way == 2 and isinstance(holder, list):
            holder.append(deepcopy(holder[key]))
        else:
            holder[key] = deepcopy(recipe.one_of(_VALUES))
    return document


def contents(*documents: bytes) -> Input[bytes]:
    """Damaged documents, and now and then any bytes at all."""

    def make(recipe: Recipe) -> bytes:
        return damage(recipe, recipe.one_of(documents)) if recipe.below(10) else recipe.rest()

    return made(make)


def texts(*documents: str) -> Input[str]:
    """The same as text, in which a byte that is no UTF-8 is as the shell hands it on."""
    encoded = [one.encode("utf-8", "surrogateescape") for one in documents]
    return contents(*encoded).map(lambda content: content.decode("utf-8", "surrogateescape"))


def words(*documents: str) -> Input[str]:
    """What may stand on a command line: a text without NUL, as short as a word."""
    return texts(*documents).map(lambda text: text.replace("\0", "")[:4000])


def edited(*documents: Any) -> Input[Any]:
    """Edited documents of JSON, not yet written."""
    return made(lambda recipe: edit(recipe, recipe.one_of(documents)))


def json_contents(*documents: Any) -> Input[bytes]:
    """Files of JSON: edited and damaged documents."""
    written = [dumped(one) for one in documents]

    def make(recipe: Recipe) -> bytes:
        way = recipe.below(4)
        if way < 2:
            return dumped(edit(recipe, recipe.one_of(documents)))
        if way == 2:
            return damage(recipe, recipe.one_of(written)) if recipe.below(10) else recipe.rest()
        return damage(recipe, dumped(edit(recipe, recipe.one_of(documents))))

    return made(make)


def dumped(document: Any) -> bytes:
    """As JSON, also what is none: NaN, and what is nested deeper than a parser can follow."""
    text = json.dumps(document, indent=1)
    for name, levels in _DEEP.items():
        text = text.replace(f'"{name}"', "[" * levels + "]" * levels)
    return text.encode()


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) within, however deep."""
    left = [document]
    while left:
        one = left.pop()
        for key, value in list(one.items() if isinstance(one, dict) else enumerate(one)):
            yield one, key
            if isinstance(value, dict | list):
                left.append(value)
