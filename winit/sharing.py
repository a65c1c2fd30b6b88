"""Sharing: the link that reopens a page exactly, its QR code and frame, and a network as a file.

>>> link("https://example.org/live", Spec(depth=30), LENSES["live"].knobs())
'https://example.org/live?v=1&depth=30'
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import segno

from winit import permalink
from winit.fields import BadInput, Declared, fields_of
from winit.lenses import LENSES, Lens
from winit.spec import Spec

_D = TypeVar("_D", bound=Declared)

FILE_LIMIT = 20_000
"""Longest saved network that is read, in characters."""


def link(page: str, spec: Spec, knobs: Declared) -> str:
    """Return the address of a page, its URL without a query given, with a network and a lens's knobs."""
    # Programs that turn text into links drop a closing parenthesis, so it is written as %29.
    return f"{page}?{urlencode(permalink.write(spec, knobs), quote_via=quote, safe='(;,=')}"


def embedding(url: str) -> str:
    """Return HTML that shows a link's page inside another page, without the app's header."""
    return f'<iframe src="{html.escape(url + "&embed=true")}" width="100%" height="720" style="border: 0"></iframe>'


def qr_code(url: str) -> str:
    """Return a link's QR code as SVG, black on white with a margin, to be scaled at will."""
    image = io.BytesIO()
    segno.make(url, error="l", micro=False).save(
        image, kind="svg", border=4, dark="#000", light="#fff", xmldecl=False, omitsize=True
    )
    return image.getvalue().decode("utf-8")


def saved(lens: Lens, spec: Spec, knobs: Declared) -> str:
    """Return a network and the knobs of a lens as JSON, every field stated: a link of any length."""
    content = {"winit": permalink.VERSION, "page": lens.slug, "network": spec.values(), "knobs": knobs.values()}
    return json.dumps(content, indent=1)


def opened(text: str) -> tuple[Lens, Spec, Declared]:
    """Return what `saved` wrote: the lens, the network and the lens's knobs.

    What is not stated is at the default of the file's version.

    Raises `BadInput` for text that is not such a file, naming the field at fault.
    """
    if len(text) > FILE_LIMIT:
        raise BadInput("file", f"{len(text)} characters", f"at most {FILE_LIMIT} characters")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput("file", text[:60], "JSON, as Save writes it") from None
    if not isinstance(content, Mapping) or not isinstance(version := content.get("winit"), str):
        raise BadInput("file", text[:60], f'a network that winit saved, with "winit": "{permalink.VERSION}"')
    permalink.require_version(version)
    slug = content.get("page", "")
    if slug not in tuple(LENSES):
        raise BadInput("page", str(slug)[:60], "one of " + ", ".join(LENSES))
    lens = LENSES[slug]
    spec, knobs = content.get("network", {}), content.get("knobs", {})
    return lens, _made(Spec, spec, version), _made(lens.knobs, knobs, version)


def _made(owner: type[_D], values: object, version: str) -> _D:
    """Return the declared values, checked; lists as JSON has them."""
    if not isinstance(values, Mapping):
        raise BadInput("file", str(values)[:60], "fields by name")
    known = {field.name: field for field in fields_of(owner)}
    for name in values:
        if name not in known:
            raise BadInput(str(name)[:60], str(values[name])[:60], "one of " + ", ".join(known))
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return permalink.made(owner, given, version)
