"""The parts of Home."""

from __future__ import annotations

import streamlit as st

from winit import budget, permalink
from winit.figures import home as figures
from winit.figures.palette import TOKENS, coloured
from winit.figures.style import short_name
from winit.lenses import NoKnobs, together
from winit.signal import Signal
from winit.spec import Spec
from winit.ui import address, answers, cached, frame
from winit.ui.pages import PAGES

_CONTRASTS = (
    "random_normal(stddev=0.01)",
    "glorot_normal",
    "he_normal",
    "variance_scaling(scale=3)",
    "torch_default",
)
_FUNNELS = 4
_SAMPLES = 64
_MOST_SEEDS = 4
_SECONDS = 0.2  # for one funnel: the number of seeds follows

_INVITATIONS = {
    "distributions": "See the weights themselves: a histogram under the exact density, the formula with your numbers, "
    "and the line for Keras, PyTorch and JAX.",
    "signal": "See how large activations and gradients are in each layer, measured beside mean-field theory, and where "
    "your network lies between order and chaos.",
    "live": "Watch a small network learn, or fail to: loss, accuracy, its decisions, and the signal in every layer.",
    "compare": "Train several initializers from several seeds at once, and see which lead is more than luck.",
}


def _measure(page: frame.Page[NoKnobs]) -> list[Signal]:
    """Return the forward signal of the user's network and of contrasts to it."""
    matters = ("depth", "width", "activation", "bias", "normalization", "residual", "dataset", "batch_size", "seed")
    base = Spec(**{name: getattr(page.spec, name) for name in matters})
    names = together(page.spec.initializer, _CONTRASTS)[:_FUNNELS]
    one = budget.signal_price(base, 1, _SAMPLES, backward=False).seconds
    seeds = max(1, min(_MOST_SEEDS, int(_SECONDS / one)))
    return cached.forward_signals([base.replace(initializer=name) for name in names], seeds, _SAMPLES)


def show_signal(page: frame.Page[NoKnobs]) -> None:
    """Answer the question with the signal by layer, measured in the user's network."""
    if not page.can_start():
        return
    measured = _measure(page)
    page.answer(answers.home(measured))
    with st.grid(_FUNNELS, min_column_width=150):
        for number, one in enumerate(measured):
            with st.container(gap="xxsmall"):
                name = one.spec.initializer
                st.markdown(f"{coloured(name, short_name(name))}  \n:small[{answers.funnel(one)}]")
                page.figure(
                    figures.funnel(one, TOKENS, meta=page.meta),
                    f"Pre-activations by hidden layer from {name}: {answers.funnel(one)}",
                    f"funnel-{number}",
                )
    runs = "1 seed" if len(measured[0].seeds) == 1 else f"{len(measured[0].seeds)} seeds"
    st.caption(
        f"Pre-activations z by hidden layer, 1 to {page.spec.depth}: the darker, the more values; the palest "
        f"edge holds 98 in 100. {runs}, {measured[0].samples} inputs of {page.spec.dataset} each."
        f" Your network: {frame.literal(page.spec.sentence)}."
    )


def show_lenses(page: frame.Page[NoKnobs]) -> None:
    """Invite to the lenses, each with the user's network."""
    with st.grid(len(_INVITATIONS), min_column_width=190):
        for slug, text in _INVITATIONS.items():
            target = PAGES[slug]
            with st.container(border=True, height="stretch"):
                st.markdown(f"##### {target.lens.question}")
                st.markdown(text)
                st.space("stretch")
                query = permalink.write(page.spec, address.knobs_of(target.lens))
                st.page_link(target.script, label=f"Open {target.lens.title}", icon=target.icon, query_params=query)
