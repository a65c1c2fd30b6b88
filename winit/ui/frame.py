"""The frame that every page opens first: configuration, address, row of links, sidebar, problems."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from winit import permalink
from winit.fields import BadInput, Declared, fields_of
from winit.figures import style
from winit.lenses import Lens
from winit.spec import Spec
from winit.ui import address, knobs, share, theme, warm
from winit.ui.pages import PAGES

_ASSETS = Path(__file__).parent / "assets"
_GROUPS = {
    "network": "Network",
    "initialization": "Initialization",
    "biases": "Biases and output",
    "blocks": "Normalization, residual",
    "training": "Training",
}
_FOLDED = {
    "biases": ":material/vertical_align_center:",
    "blocks": ":material/account_tree:",
    "training": ":material/tune:",
}

_K = TypeVar("_K", bound=Declared)


@dataclass(frozen=True)
class Page(Generic[_K]):
    """An opened page: the network, the lens's own knobs, and the page's parts from top to bottom."""

    lens: Lens
    spec: Spec
    knobs: _K
    meta: str
    is_narrow: bool
    """As a phone's: names stand in a legend below a figure, not at the ends of its lines."""

    def answer(self, text: str) -> None:
        """Write the sentence that the numbers make, verdict first."""
        with st.container(key="answer"):
            st.markdown(text)

    def knob_row(self, *names: str, **options: dict[str, Any]) -> DeltaGenerator:
        """Draw the lens's own knobs in one row; `options` by field name go to the widgets."""
        row = st.container(horizontal=True, vertical_alignment="bottom", key="knobs")
        with row:
            for name in names:
                knobs.own(self.lens, name, **options.get(name, {}))
        return row

    def knob(self, name: str, **options: Any) -> None:
        """Draw one of the lens's own knobs; `options` go to the widget."""
        knobs.own(self.lens, name, **options)

    def figure(self, chart: go.Figure, alt: str, key: str, *, image: str = "png") -> None:
        """Show a figure; `alt` says what it shows to those who do not see it, `image` is the format it is saved in."""
        st.plotly_chart(chart, key=key, config=style.config(key, image), alt=alt)

    def note(self, problem: BadInput) -> None:
        """Say what is left out, and why; the rest of the page stands."""
        with st.container(border=True):
            st.markdown(f":material/info: **Left out.** {literal(str(problem))}.")

    def can_start(self) -> bool:
        """Whether the network's initializer has an answer for each of its layers; else say why not."""
        try:
            self.spec.require_start((self.spec.initializer,))
        except BadInput as problem:
            self.refuse_start(problem)
            return False
        return True

    def refuse_start(self, problem: BadInput) -> None:
        """Say why the network cannot be started or trained, and offer what would do."""
        usual: dict[str, list[tuple[str, dict[str, Any]]]] = {
            "dataset": [("Train on digits", {"dataset": "digits"}), ("Train on moons", {"dataset": "moons"})],
            "batch_size": [("Use batches of 64", {"batch_size": 64})],
            "width": [("Leave the residual branches out", {"residual": "off"})],
            "initializer": [("Use he_normal", {"initializer": "he_normal"})],
        }
        ways = usual[problem.field]
        if problem.field == "initializer" and problem.value != self.spec.initializer:
            rest = tuple(name for name in self.knobs.values()["initializers"] if name != problem.value)
            ways = [("Leave it out", {"initializers": rest})]
        self.refuse(problem, ways)

    def refuse(self, problem: BadInput, ways_out: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Say why nothing is computed; each way out is a button that changes fields of the network or the lens."""
        with st.container(border=True, key="refused"):
            st.markdown(f":material/block: **Not computed.** {literal(str(problem))}.")
            with st.container(horizontal=True):
                for number, (label, changes) in enumerate(ways_out):
                    button(
                        label, key=f"way-out-{number}", on_click=address.change, kwargs={"lens": self.lens, **changes}
                    )


def open_page(slug: str, kind: type[_K]) -> Page[_K]:
    """Open the page of a lens: configure it, read the address, draw links, sidebar and problems.

    `kind` is the type of the lens's knobs.
    """
    _ = warm  # imported for its effect: a frozen garbage collector
    page = PAGES[slug]
    title = f"{page.lens.title} · winit" if slug else "winit: which weight initialization works, and why?"
    st.set_page_config(
        page_title=title,
        page_icon=str(_ASSETS / "favicon.png"),
        layout="wide",
        menu_items={"About": "winit: which weight initialization works for your network, and why?"},
    )
    named = address.page_named()
    if named is not None and named.slug in PAGES and named != page.lens:
        st.switch_page(PAGES[named.slug].script, query_params=address.without_page())
    theme.apply()
    st.logo(str(_ASSETS / "logo.svg"), size="large")
    spec, own, problems = address.open_page(page.lens)
    _sidebar(page.lens)
    _links(page.lens, spec, own)
    _problems(problems, spec, own)
    st.title(page.lens.question, anchor=False)
    if not isinstance(own, kind):
        raise TypeError(f"the knobs of {slug} are {type(own).__name__}, not {kind.__name__}")
    return Page(page.lens, spec, own, theme.mode(), theme.is_narrow())


def button(label: str, *, key: str, on_click: Callable[..., Any] | None = None, **options: Any) -> bool:
    """Draw a button whose press counts as a widget's change."""

    def pressed(**given: Any) -> None:
        address.touched()
        if on_click:
            on_click(**given)

    return st.button(label, key=key, on_click=pressed, **options)


def fold(label: str, icon: str, key: str, draw: Callable[[], object]) -> None:
    """Draw a fold that is closed at first, and what is in it only while it is open."""
    folded = st.expander(label, icon=icon, key=key, on_change=address.touched)
    if folded.open:
        with folded:
            draw()


def download(label: str, data: Callable[[], bytes | str], name: str, mime: str, *, key: str) -> None:
    """Draw a button that makes a file when it is pressed, and runs nothing else."""
    st.download_button(label, data, name, mime, key=key, icon=":material/download:", on_click="ignore")


def literal(text: str) -> str:
    """Return text that markdown shows as it is: what a visitor typed is never taken for markup."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-!|:$~&])", r"\\\1", text)


def _links(lens: Lens, spec: Spec, own: Declared) -> None:
    """Draw the row of links on top, each with the network and what the session knows of its lens, and Share."""
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key="nav"):
        for page in PAGES.values():
            query = permalink.write(spec, address.knobs_of(page.lens))
            st.page_link(page.script, label=page.lens.title, icon=page.icon, query_params=query)
        if button("Share", key="share", icon=":material/link:", type="tertiary"):
            share.show(lens, spec, own)
        theme.watch()


def _sidebar(lens: Lens) -> None:
    """Draw the network's knobs, in groups."""
    with st.sidebar:
        for group, title in _GROUPS.items():
            names = [field.name for field in fields_of(Spec) if field.group == group]
            if group in _FOLDED:
                with st.expander(title, icon=_FOLDED[group]):
                    _each(names)
            else:
                st.markdown(f"##### {title}")
                _each(names)
        button("Reset everything", key="reset", icon=":material/restart_alt:", on_click=lambda: address.reset(lens))


def _each(names: Sequence[str]) -> None:
    for name in names:
        knobs.network(name)


def _problems(problems: Sequence[BadInput], spec: Spec, own: Declared) -> None:
    """Say which values were refused, and what is used instead."""
    if not problems:
        return
    in_use = {**spec.values(), **own.values()}
    texts = {field.name: field for part in (Spec, type(own)) for field in fields_of(part)}
    with st.container(border=True, key="problems"):
        for problem in problems:
            field = texts.get(problem.field)
            value = in_use.get(problem.field)
            used = f" In use: {field.write(value)}." if field and value is not None else ""
            st.markdown(f":material/info: {literal(str(problem))}.{literal(used)}")
