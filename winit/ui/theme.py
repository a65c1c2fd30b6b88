"""Light and dark: what the theme's own settings cannot say.

Figures carry colour tokens that the browser replaces on the first paint in either mode. After a live
switch they would keep the old data colours, since no rerun comes: a tiny component watches the mode
and asks for one. The same component mends the link to Home, and
tells a host that shows the app in a frame what its address is.
"""

from __future__ import annotations

import streamlit as st

from winit.ui import address

_STYLE = """<style>
/* The answer is read, not scanned: larger, and no wider than a comfortable line. */
.st-key-answer p { font-size: 1.19rem; line-height: 1.5; max-width: 52rem; }
/* No dark primary carries both white text on it and itself on the page. */
[data-testid=stSliderThumbValue], [data-testid=stButtonGroup] [data-selected=true] p {
  color: light-dark(#14181D, #E4E7EA) !important;
}
/* On a desktop the row of links stands in the header's empty strip, and figures get the width they want. */
@media (min-width: 800px) {
  [data-testid=stMainBlockContainer] { padding-left: 2.5rem; padding-right: 2.5rem; max-width: 1360px; }
  .st-key-nav { margin-top: -3.6rem; margin-bottom: 0.4rem; margin-left: -0.5rem; position: relative; z-index: 999991; }
}
</style>"""

_WATCH = """
const watched = new WeakSet();
export default function ({ parentElement, setStateValue, data }) {
  // Called again with the same root for every run, and "cleaned up" while it still stands when a later
  // run overtakes it: so each root is watched once, until it leaves the page.
  if (watched.has(parentElement)) return;
  watched.add(parentElement);
  const app = document.querySelector(".stApp");
  const mode = () => getComputedStyle(app).colorScheme;
  let seen = mode();
  let told = "";
  const look = () => {
    if (!parentElement.isConnected) { observer.disconnect(); watched.delete(parentElement); return; }
    if (mode() !== seen) { seen = mode(); setStateValue("mode", seen); }
    // Streamlit writes the link to the main page as "?query", which another page resolves to itself.
    for (const a of document.querySelectorAll('.st-key-nav a[href^="?"]')) {
      a.setAttribute("href", "./" + a.getAttribute("href"));
    }
    // This host shows the app in a frame and asks for its query; the path does not reach its address.
    if (window.parent !== window && location.href !== told) {
      told = location.href;
      const page = new URLSearchParams({ page: location.pathname.split("/").pop() || "home" });
      const queryString = page + "&" + location.search.slice(1);
      window.parent.postMessage({ queryString, hash: "" }, "https://huggingface.co");
    }
  };
  const observer = new MutationObserver(look);
  const attributeFilter = ["class", "style", "href"];
  observer.observe(app, { attributes: true, attributeFilter, childList: true, subtree: true });
  look();
  // Python cannot see how wide the page is, and names at line ends would eat a phone's plot.
  let narrow = data.narrow;
  const measure = () => {
    if (!parentElement.isConnected) { window.removeEventListener("resize", measure); return; }
    const now = window.innerWidth < 640;
    if (now !== narrow) { narrow = now; setStateValue("narrow", now); }
  };
  window.addEventListener("resize", measure);
  measure();
}
"""


def apply() -> None:
    """Add the style rules to the page."""
    st.html(_STYLE)


def watch() -> None:
    """Rerun the page when the visitor switches between light and dark, or the page becomes narrow or wide."""
    # Registered in each run: a registration belongs to the runtime, and one name means one component.
    component = st.components.v2.component("winit_mode", js=_WATCH)
    data = {"narrow": is_narrow()}
    component(key="mode", data=data, on_mode_change=address.touched, on_narrow_change=_resized, height=1)


def _resized() -> None:
    st.session_state["_narrow"] = bool(st.session_state["mode"]["narrow"])
    address.touched()


def is_narrow() -> bool:
    """Return whether the page is as narrow as a phone's, as far as the browser has said."""
    return bool(st.session_state.get("_narrow", False))


def mode() -> str:
    """Return light or dark, to be carried by figures: another value makes the browser draw them anew."""
    return str(st.context.theme.type or "light")
