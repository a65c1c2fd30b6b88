"""Declared fields: one declaration gives range, text form, label, help, widget, flag and address.

A dataclass that derives from `Declared` and declares its attributes with `declare` is validated
when it is made. Everything that shows or reads such a field (sidebar, address, terminal, tests)
asks the declaration, so a new knob is one new line.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, Self, cast

_INTEGER = re.compile(r"[+-]?[0-9]{1,12}", re.ASCII)
_REAL = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?", re.ASCII)
TEXT_LIMIT = 300
"""Longest text of one value, in characters."""
LIST_LIMIT = 520
"""Longest text of a list of texts, in characters: with all other fields an address stays under its limit."""

_SHOWN_LIMIT = 60


def shown(value: object) -> str:
    """Return a bad value as it may be repeated to a reader: short, one line, control characters escaped."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = "a number of thousands of digits"
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[: _SHOWN_LIMIT + 1]
    )
    return f"'{text}'" if len(text) <= _SHOWN_LIMIT else f"'{text[:_SHOWN_LIMIT]}...'"


class BadInput(ValueError):
    """A value that a field refuses: names the field, the value and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{shown(field)[1:-1]}: {shown(value)} is not allowed; give {allowed}")


class Refused(ValueError):
    """Raised by a kind: the value does not fit, and this is what would."""

    @property
    def allowed(self) -> str:
        return str(self.args[0])


def nearest(name: str, known: Sequence[str]) -> str:
    """Return ", did you mean 'x'?" for the known name nearest to `name`, or an empty string."""
    found = difflib.get_close_matches(name[:_SHOWN_LIMIT], known, n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same number: 0.05, 1, 1e-10."""
    text = repr(float(value))
    return text.removesuffix(".0")


def tex(value: float) -> str:
    """Return a number with five significant digits as LaTeX."""
    mantissa, e, exponent = f"{value:.5g}".partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if e else mantissa


class Kind(Protocol):
    """What values a field takes. `read` and `check` raise `Refused`."""

    @property
    def allowed(self) -> str:
        """What a value must be, as the end of a sentence that begins with "give"."""
        ...

    def read(self, text: str) -> Any:
        """Return the value that a text (address, terminal) stands for."""
        ...

    def check(self, value: Any) -> Any:
        """Return the value in its canonical form."""
        ...

    def write(self, value: Any) -> str:
        """Return the text that `read` turns back into the same value."""
        ...


@dataclass(frozen=True)
class Integer:
    """A whole number from `minimum` to `maximum`; None is allowed where `optional`."""

    minimum: int
    maximum: int
    optional: bool = False

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.minimum} to {self.maximum}"

    def read(self, text: str) -> int | None:
        if not _INTEGER.fullmatch(text):
            raise Refused(self.allowed)
        return self.check(int(text))

    def check(self, value: Any) -> int | None:
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise Refused(self.allowed)
        return value

    def write(self, value: int) -> str:
        return str(value)


@dataclass(frozen=True)
class Real:
    """A finite number from `minimum` to `maximum`, above `minimum` where `exclusive`."""

    minimum: float
    maximum: float
    exclusive: bool = False

    @property
    def allowed(self) -> str:
        low, high = number_text(self.minimum), number_text(self.maximum)
        return f"a number above {low}, at most {high}" if self.exclusive else f"a number from {low} to {high}"

    def read(self, text: str) -> float:
        if not _REAL.fullmatch(text):
            raise Refused(self.allowed)
        return self.check(float(text))

    def check(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(self.allowed)
        # Compared before the conversion, which overflows for integers of hundreds of digits.
        if not self.minimum <= value <= self.maximum or (self.exclusive and value == self.minimum):
            raise Refused(self.allowed)
        return float(value) + 0.0  # turns -0.0 into 0.0

    def write(self, value: float) -> str:
        return number_text(value)


@dataclass(frozen=True)
class Choice:
    """One of a few known names."""

    options: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.options)

    def read(self, text: str) -> str:
        return self.check(text)

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.options:
            hint = nearest(value, self.options) if isinstance(value, str) else ""
            raise Refused(self.allowed + hint)
        return value

    def write(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class Form:
    """A text form `name(parameter=value)` of a catalogue, kept as canonical text.

    `normalize` turns any accepted spelling into the canonical one and raises `Refused` for all others;
    `parts` takes a canonical text apart: name, declared parameters and their values.
    """

    options: tuple[str, ...]
    normalize: Callable[[str], str]
    parts: Callable[[str], tuple[str, tuple[Field, ...], Mapping[str, Any]]] = lambda text: (text, (), {})

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.options)

    def read(self, text: str) -> str:
        return self.check(text)

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Refused(self.allowed)
        return self.normalize(value)

    def write(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class Text:
    """Free text that `validate` accepts; it raises `Refused` for all other."""

    words: str
    """What the text must be, as the end of a sentence that begins with "give"."""
    validate: Callable[[str], object]

    @property
    def allowed(self) -> str:
        return self.words

    def read(self, text: str) -> str:
        return self.check(text)

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or '"' in value or ";" in value:
            raise Refused(self.allowed)
        self.validate(value)
        return value

    def write(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class Several:
    """A list without repetition of at most `maximum` values of one kind; written joined by `;`, within `limit`."""

    kind: Kind
    maximum: int
    limit: int = LIST_LIMIT

    @property
    def allowed(self) -> str:
        return f"at most {self.maximum} different values, joined by ;, each {self.kind.allowed}"

    def read(self, text: str) -> tuple[Any, ...]:
        parts = text.split(";") if text else []
        if len(parts) > self.maximum:
            raise Refused(self.allowed)
        return self.check([self.kind.read(part.strip()) for part in parts])

    def check(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > self.maximum:
            raise Refused(self.allowed)
        values = tuple(self.kind.check(item) for item in value)
        if len(set(values)) < len(values):
            raise Refused(self.allowed)
        if len(self.write(values)) > self.limit:
            raise Refused(f"at most {self.limit} characters together, {self.allowed}")
        return values

    def write(self, value: tuple[Any, ...]) -> str:
        return ";".join(self.kind.write(item) for item in value)


@dataclass(frozen=True)
class Field:
    """A named value with its kind, its default and the words that introduce it."""

    name: str
    default: Any
    kind: Kind
    label: str
    help: str
    group: str = ""

    @property
    def optional(self) -> bool:
        return isinstance(self.kind, Integer) and self.kind.optional

    def read(self, text: str) -> Any:
        """Return the value of a text, or raise `BadInput`."""
        limit = self.kind.limit if isinstance(self.kind, Several) else TEXT_LIMIT
        if len(text) > limit:
            raise BadInput(self.name, text, f"at most {limit} characters: {self.kind.allowed}")
        return self._held(text, self.kind.read, text)

    def check(self, value: Any) -> Any:
        """Return the canonical form of a value, or raise `BadInput`."""
        return self._held(value, self.kind.check, value)

    def write(self, value: Any) -> str:
        """Return the text of a value."""
        return self.kind.write(value)

    def _held(self, value: object, function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return function(argument)
        except Refused as refusal:
            raise BadInput(self.name, value, refusal.allowed) from None


def declare(default: Any, kind: Kind, *, label: str, help: str, group: str = "") -> Any:
    """Declare a field of a `Declared` dataclass."""
    return dataclasses.field(default=default, metadata={"kind": kind, "label": label, "help": help, "group": group})


@cache
def _fields_of(owner: Hashable) -> tuple[Field, ...]:
    return tuple(Field(f.name, f.default, **f.metadata) for f in dataclasses.fields(cast(Any, owner)))


def fields_of(owner: type[Declared]) -> tuple[Field, ...]:
    """Return the declared fields of a `Declared` class, in order."""
    return _fields_of(cast(Hashable, owner))


@dataclass(frozen=True)
class Declared:
    """Base of frozen dataclasses whose fields are made by `declare`; construction checks every value.

    Raises `BadInput` for the first field, in order, whose value is refused.
    """

    def __post_init__(self) -> None:
        for field in fields_of(type(self)):
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))

    def values(self) -> dict[str, Any]:
        """Return the fields as a plain mapping, in order."""
        return {field.name: getattr(self, field.name) for field in fields_of(type(self))}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def settle(cls, values: Mapping[str, Any]) -> tuple[Self, list[BadInput]]:
        """Return an instance in which each refused or missing value is the default, and the refusals."""
        kept: dict[str, Any] = {}
        problems: list[BadInput] = []
        for field in fields_of(cls):
            if field.name in values:
                try:
                    kept[field.name] = field.check(values[field.name])
                except BadInput as problem:
                    problems.append(problem)
        return cls(**kept), problems
