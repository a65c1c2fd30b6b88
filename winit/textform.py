"""Text forms: `name` or `name(parameter=value, ...)`, read by a small bounded parser.

The parser never evaluates anything: it knows names, numbers, quoted text, commas and parentheses, at
most 300 characters of them. What a name means and which parameters it has is the catalogue's business.

>>> parse("random_normal(stddev=0.01)")
('random_normal', {'stddev': '0.01'})
>>> parse('custom(distribution=laplace, standard_deviation="sqrt(2/fan_in)")')
('custom', {'distribution': 'laplace', 'standard_deviation': 'sqrt(2/fan_in)'})
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from winit.fields import TEXT_LIMIT, BadInput, Field, Form, Refused, nearest, shown

LIMIT = TEXT_LIMIT
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TOKEN = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
_FORM = re.compile(rf"\s*({_NAME})\s*(?:\((.*)\))?\s*", re.ASCII | re.DOTALL)
_ARGUMENT = re.compile(rf'\s*({_NAME})\s*=\s*(?:({_TOKEN.pattern})|"([^"]*)")\s*(,|$)', re.ASCII)
_SHAPE = f"a name, or name(parameter=value, ...), of at most {LIMIT} characters"


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Split a text form into its name and the texts of its parameters.

    A value with other characters than letters, digits and _.+- stands in double quotes.

    Raises `Refused` when the text has another shape, is longer than 300 characters or names a
    parameter twice.
    """
    if len(text) > LIMIT:
        raise Refused(_SHAPE)
    if text.count("(") != text.count(")") or text.count('"') % 2:
        raise Refused(f"{_SHAPE}, each parenthesis and quote closed")
    form = _FORM.fullmatch(text)
    if form is None:
        raise Refused(_SHAPE)
    name, inside = form.groups()
    arguments: dict[str, str] = {}
    rest = (inside or "").rstrip()
    while rest:
        argument = _ARGUMENT.match(rest)
        if argument is None:
            raise Refused(f'{_SHAPE}, each value a number, a name or text in "quotes"')
        key, token, quoted, comma = argument.groups()
        rest = rest[argument.end() :]
        if key in arguments or (comma and not rest):
            raise Refused(f"{_SHAPE}, each parameter once")
        arguments[key] = token if quoted is None else quoted
    return name, arguments


def bind(name: str, arguments: Mapping[str, str], parameters: Sequence[Field]) -> dict[str, Any]:
    """Return the values of all parameters, defaults filled in.

    Raises `Refused`, naming the parameter, for an unknown one or a value out of its range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {parameter.name: parameter.default for parameter in parameters}
    for key, text in arguments.items():
        if key not in known:
            takes = "the parameters " + ", ".join(known) if known else "no parameters"
            raise Refused(f"{name} with {takes}{nearest(key, tuple(known))}")
        try:
            values[key] = known[key].read(text)
        except BadInput as problem:
            raise Refused(f"for {key} {problem.allowed}, not {shown(text)}") from None
    return values


def write(name: str, values: Mapping[str, Any], parameters: Sequence[Field]) -> str:
    """Return the canonical text: parameters in declared order, those at their default left out."""
    return spell(name, {p.name: p.write(values[p.name]) for p in parameters if values[p.name] != p.default})


def spell(name: str, texts: Mapping[str, str]) -> str:
    """Return the text form of a name and the texts of its parameters, quoted where they are no single word."""
    stated = [f"{key}={text}" if _TOKEN.fullmatch(text) else f'{key}="{text}"' for key, text in texts.items()]
    return f"{name}({', '.join(stated)})" if stated else name


class Record(Protocol):
    """What a catalogue lists: something with a name and declared parameters."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> tuple[Field, ...]: ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Alias:
    """Another library's name for what the catalogue holds: understood, and replaced by `rewrite(**values)`."""

    name: str
    rewrite: Callable[..., str]
    parameters: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Bound(Generic[R]):
    """A record with its parameters set."""

    record: R
    values: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The canonical text form."""
        return write(self.record.name, self.values, self.record.parameters)


class Catalogue(Mapping[str, R]):
    """Records by name, in the order in which they are shown, and the reading of their text forms."""

    def __init__(self, records: Sequence[R], aliases: Sequence[Alias] = ()) -> None:
        """Raise `ValueError` for a name used twice."""
        self._records = {record.name: record for record in records}
        self.aliases: Mapping[str, Alias] = MappingProxyType({alias.name: alias for alias in aliases})
        names = [*self._records, *self.aliases]
        if len(set(names)) < len(records) + len(aliases):
            raise ValueError("a name of the catalogue is used twice")

    def __getitem__(self, name: str) -> R:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, text: str) -> Bound[R]:
        """Return the record that a text form names, with its parameters.

        Raises `Refused` for text of another shape, unknown names and parameters, and values out of range.
        """
        name, arguments = parse(text)
        if name in self.aliases:
            alias = self.aliases[name]
            return self.read(alias.rewrite(**bind(name, arguments, alias.parameters)))
        if name not in self._records:
            raise Refused("one of " + ", ".join(self) + nearest(name, (*self, *self.aliases)))
        record = self._records[name]
        return Bound(record, MappingProxyType(bind(name, arguments, record.parameters)))

    def form(self, check: Callable[[str], object] | None = None) -> Form:
        """Return the kind of a field that holds one of the records; `check` may refuse a text for more reasons."""

        def normalize(text: str) -> str:
            if check is not None:
                check(text)
            canonical = self.read(text).text
            if len(canonical) > LIMIT:  # spaces and digits come in: it could not be read again
                raise Refused(f"{_SHAPE}, every digit written out")
            return canonical

        def parts(text: str) -> tuple[str, tuple[Field, ...], Mapping[str, Any]]:
            bound = self.read(text)
            return bound.record.name, bound.record.parameters, bound.values

        return Form(tuple(self), normalize, parts)
