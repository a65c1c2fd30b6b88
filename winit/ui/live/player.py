"""The player: a component of our own that draws frames, and this side of it, which makes them when it asks.

The browser asks by a trigger, {run, have, n}: it has the first `have` frames of a run and wants up to
n more. A fragment answers with one buffer of bytes, after some slices of training at most. Nothing asked,
nothing computed: a paused, hidden or closed tab costs nothing. The session keeps the training at its
newest frame and the last answer; the frames are the browser's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st
from numpy.typing import NDArray

from winit import budget, queueing
from winit.datasets import ACCURACY, DATASETS
from winit.fields import BadInput, shown
from winit.figures.palette import TOKENS, styles
from winit.figures.style import short_name
from winit.initializers import FAMILIES, scheme
from winit.lenses import TrainKnobs, together
from winit.queueing import SLICE, turn
from winit.recording import Frame, Recording, nearest, pack
from winit.spec import Spec
from winit.training import dense_steps
from winit.ui import address, frame

KEY = "player"

_MOST = 64  # frames of one answer
_SLICES = 4  # of one answer: what a message costs the browser and the server is shared by more frames
_FOLDER = Path(__file__).parent
_LOG = logging.getLogger(__name__)


def _asset(name: str) -> str:
    """Return a file of the component without comments and indentation: it goes with every message."""
    lines = [line.strip() for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith(("//", "/**", "* ", "*/")))


_HTML, _CSS, _JS = (_asset(name) for name in ("player.html", "player.css", "player.js"))


@dataclass
class Session:
    """A visitor's recording, and the last answer to the browser."""

    key: tuple[Spec, TrainKnobs]
    recording: Recording
    cost: float | None = None
    """Expected seconds of the whole training."""
    first: int = 0
    """The frame that the last answer begins with."""
    serial: int = 0
    header: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def train(self, count: int, is_enough: Callable[[], bool] = lambda: False) -> tuple[list[Frame], float]:
        """Return the frames of a slice of training, at most `count`, and for how many seconds a core worked."""
        begin = time.monotonic()
        frames = self.recording.advance(count, SLICE, is_enough)
        return frames, (time.monotonic() - begin) * self.recording.training.threads

    def say(self, frames: Sequence[Frame], seconds: float) -> None:
        """Let the newest frames be the answer, for which a core worked so many seconds."""
        recording = self.recording
        recording.rest()
        self.first = recording.made - len(frames)
        self.serial += 1
        self.header, self.arrays = recording.packet(frames)
        self.header["seconds"] = seconds  # after it the browser lets the server rest
        if "scene" in self.header:
            self.header["scene"] |= _words(recording)


def current_recording(page: frame.Page[TrainKnobs]) -> Session | None:
    """Return this visitor's recording of the networks in view, new where they changed; None where refused."""
    # Which moment is studied does not change the run.
    key = (page.spec, page.knobs.replace(step=None))
    held: Session | None = st.session_state.get("_recording")
    if held is not None and held.key == key:
        return held
    spec, names = page.spec, together(page.spec.initializer, page.knobs.beside)
    try:
        spec.require_training()
        spec.require_start(names)
    except BadInput as problem:
        _refuse_start(page, problem)
        return None
    try:
        price = budget.training_price(spec, len(names) * page.knobs.seeds, len(dense_steps(spec.steps)))
        budget.Limit.of_host().require(price, "fewer layers, units, steps or seeds")
    except BadInput as problem:
        page.refuse(problem, [("Use 10 layers of 64 units, 300 steps", {"depth": 10, "width": 64, "steps": 300})])
        return None
    with turn(price.seconds):
        session = Session(key, Recording(spec, page.knobs), price.seconds)
        session.say(*session.train(1))
    st.session_state["_recording"] = session
    return session


def _refuse_start(page: frame.Page[TrainKnobs], problem: BadInput) -> None:
    """Say why the networks cannot be started; one that stands beside can be left out."""
    if problem.field == "initializer" and problem.value != page.spec.initializer:
        rest = tuple(name for name in page.knobs.beside if name != problem.value)
        page.refuse(problem, [("Leave it out", {"beside": rest})])
    else:
        page.refuse_start(problem)


def answer(session: Session, count: int) -> None:
    """Train for some slices, in turns of their own that end early where others wait, and keep what they made."""
    recording, frames, seconds = session.recording, list[Frame](), 0.0
    most = _SLICES * SLICE * recording.training.threads
    try:
        while len(frames) < count and not recording.is_finished and seconds < most:
            with turn(session.cost):
                made, spent = session.train(count - len(frames), queueing.is_long_enough)
            frames += made
            seconds += spent
    finally:  # a visitor who leaves while others have their turn may come back
        session.say(frames, seconds)


def _words(recording: Recording) -> dict[str, Any]:
    """Return what the browser needs for colours and words."""
    spec, measure = recording.spec, recording.data.measure
    looks = styles(recording.initializers, TOKENS)
    slots = [FAMILIES.index(scheme(name).record.family) for name in looks]
    lanes = [
        {
            "label": name,
            "short": short_name(name, 16),
            "glyph": look.glyph,
            "slot": slot,
            # Only where hues are equal: a curve that grows has no room for long dashes.
            "dash": [] if slots.count(slot) == 1 or look.dash == "solid" else _lengths(look.dash),
        }
        for slot, (name, look) in zip(slots, looks.items(), strict=True)
    ]
    return {
        "lanes": lanes,
        "stalled": TOKENS.stalled,
        "score": measure.label,
        "score_name": measure.name,
        "score_floor": measure.floor,
        "is_share": measure is ACCURACY,
        "constant_label": measure.constant_label,
        "constant_answer": measure.constant_answer,
        "class_names": DATASETS[spec.dataset].class_names,
        "caption": f"Loss on {recording.data.evaluation_samples} training samples. {spec.sentence}.",
    }


def _lengths(dash: str) -> list[int]:
    return [int(part.removesuffix("px")) for part in dash.split(",")]


def _is_count(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def request(value: object, most: int) -> tuple[str, int, int] | None:
    """Return run, frames that are there and frames wanted; None, with a line in the log, where malformed."""
    if isinstance(value, Mapping):
        run, have, count = (value.get(name) for name in ("run", "have", "n"))
        if isinstance(run, str) and _is_count(have, 0, most) and _is_count(count, 1, _MOST):
            return run, have, count  # type: ignore[return-value]
    _LOG.warning("ignored a malformed request of the browser: %s", shown(value))
    return None


def serve(session: Session, value: object) -> None:
    """Answer a request: train on, say the last answer again, or begin again where the browser is."""
    asked = request(value, len(session.recording.steps))
    if asked is None:
        return
    run, have, count = asked
    # A request about another network was made before the page changed: what the browser needs is on its way.
    if run != session.recording.run or (have == session.first and have < session.recording.made):
        return
    if have != session.recording.made:
        with turn(session.cost):
            session.recording = Recording(*session.key, first=have)
    answer(session, count)


def moment(value: object, session: Session) -> int | None:
    """Return the recorded step that the browser wants to study; None, with a line in the log, where malformed."""
    if isinstance(value, Mapping) and value.get("run") == session.recording.run:
        step = value.get("step")
        if _is_count(step, 0, session.recording.spec.steps) and step in session.recording.steps:
            return int(step)
    _LOG.warning("ignored a malformed moment of the browser: %s", shown(value))
    return None


def show_player(page: frame.Page[TrainKnobs], session: Session, key: str = KEY) -> None:
    """Show the player; it runs in a fragment of its own, so that its requests leave the page alone."""
    st.fragment(_play)(page, session, key)


def _play(page: frame.Page[TrainKnobs], session: Session, key: str) -> None:
    address.heed_widgets()
    asked = st.session_state.get(key) or {}
    if "want" in asked:
        serve(session, asked["want"])
    if "moment" in asked:
        step = moment(asked["moment"], session)
        if step is not None and step != page.knobs.step:
            address.change(page.lens, step=step)
            address.rerun()
    step = page.knobs.step
    header = {
        **session.header,
        "serial": session.serial,
        "moment": None if step is None else nearest(session.recording.steps, step),
    }
    # Registered in each run: a registration belongs to the runtime, and one name means one component.
    component = st.components.v2.component("winit_player", html=_HTML, css=_CSS, js=_JS)
    component(key=key, data=pack(header, session.arrays))
