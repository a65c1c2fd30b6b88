"""The address: a network and a lens's knobs as query parameters, and back.

`v` is the version of the defaults: parameters at their default are left out, so an old link must
open with the defaults it was written under. Whoever changes a default raises `VERSION` and says in
`_OLD_DEFAULTS` what it was. Nothing here raises for bad input: a refused value
becomes the default, and the refusal is returned beside it.

>>> write(Spec(depth=30), LENSES["live"].knobs())
{'v': '1', 'depth': '30'}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from winit.fields import BadInput, Declared, fields_of, nearest
from winit.lenses import LENSES, Lens
from winit.spec import Spec

_D = TypeVar("_D", bound=Declared)

VERSION = "1"
LIMIT = 1500
"""Longest query that is read or written, in characters of decoded text."""

# Defaults that differ from today's: {"1": {Spec: {"depth": 10}}, "2": {}} once version 2 has another depth.
_OLD_DEFAULTS: Mapping[str, Mapping[type[Declared], Mapping[str, Any]]] = MappingProxyType({"1": {}})
_FOREIGN = ("embed", "embed_options", "page")
_FORMER = {"train": "live", "home": ""}
"""Other names of pages that are understood: slugs of the past, and what people guess."""
_OWNERS: tuple[type[Declared], ...] = (Spec, *(lens.knobs for lens in LENSES.values()))
_NAMES = frozenset(field.name for owner in _OWNERS for field in fields_of(owner))


@dataclass(frozen=True)
class Opened:
    """What an address stands for."""

    spec: Spec
    knobs: Declared
    problems: tuple[BadInput, ...]


def require_version(version: str) -> None:
    """Raise `BadInput` for a version that there has not been."""
    if version not in _OLD_DEFAULTS:
        raise BadInput("v", version, "one of " + ", ".join(_OLD_DEFAULTS))


def made(owner: type[_D], values: Mapping[str, Any], version: str) -> _D:
    """Return the declared values, with the defaults of a version in place of those that are not given."""
    return owner(**{**_OLD_DEFAULTS[version].get(owner, {}), **values})


def is_stated(query: Mapping[str, Sequence[str]]) -> bool:
    """Whether an address says anything about a network, rather than leaving it as it is."""
    return any(name not in _FOREIGN for name in query)


def page_named(query: Mapping[str, Sequence[str]]) -> Lens | None:
    """Return the lens that a query names, as `page=signal`: in a host's frame paths may not pass, the query does.

    None where it names none. Raises `BadInput` for a page that there is not.
    """
    names = query.get("page", ())
    if not names:
        return None
    slug = _FORMER.get(names[0], names[0])
    if len(names) > 1 or slug not in LENSES:
        raise BadInput("page", ";".join(names), "one of " + ", ".join(slug or "home" for slug in LENSES))
    return LENSES[slug]


def parse(lens: Lens, query: Mapping[str, Sequence[str]]) -> Opened:
    """Return the network and the knobs of an address, defaults in place of what is missing or refused.

    `query` maps each parameter to all values given for it.
    """
    problems: list[BadInput] = []
    try:
        page_named(query)
    except BadInput as problem:
        problems.append(problem)
    given = {name: list(values) for name, values in query.items() if name not in _FOREIGN}
    length = sum(len(name) + sum(len(value) + 2 for value in values) for name, values in given.items())
    if length > LIMIT:
        problems.append(BadInput("address", f"{length} characters", f"at most {LIMIT} characters"))
        return Opened(Spec(), lens.knobs(), tuple(problems))

    version = ";".join(given.pop("v", [VERSION]))
    try:
        require_version(version)
    except BadInput as problem:
        problems.append(problem)
        version = VERSION
    values: dict[type[Declared], dict[str, Any]] = {Spec: {}, lens.knobs: {}}

    readable = {field.name: (owner, field) for owner in values for field in fields_of(owner)}
    for name, texts in given.items():
        try:
            if name not in readable:
                if name not in _NAMES:
                    raise BadInput(
                        name[:60], ";".join(texts), f"only fields that winit knows{nearest(name, tuple(_NAMES))}"
                    )
            elif len(texts) != 1:
                raise BadInput(name, ";".join(texts), "each parameter once")
            else:
                owner, field = readable[name]
                values[owner][name] = field.read(texts[0])
        except BadInput as problem:
            problems.append(problem)
    knobs = made(lens.knobs, values[lens.knobs], version)
    return Opened(made(Spec, values[Spec], version), knobs, tuple(problems))


def write(spec: Spec, knobs: Declared, *, full: bool = False) -> dict[str, str]:
    """Return the query parameters of an address; `full` also writes fields at their default."""
    query = {"v": VERSION}
    for part in (spec, knobs):
        for field in fields_of(type(part)):
            value = getattr(part, field.name)
            if value is not None and (full or value != field.default):
                query[field.name] = field.write(value)
    return query
