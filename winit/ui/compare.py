"""The parts of Compare: a sweep that runs in slices, can be cancelled and gone on with, and keeps what is finished."""

from __future__ import annotations

import csv
import io
import json
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from winit import budget, comparison, datasets, permalink, store
from winit.comparison import Comparison
from winit.datasets import ACCURACY, R_SQUARED
from winit.fields import BadInput
from winit.figures import comparison as figures
from winit.figures.palette import TOKENS, coloured
from winit.figures.style import number, short_name
from winit.lenses import CompareKnobs, together
from winit.queueing import SLICE, Place, is_long_enough, turn
from winit.spec import Spec
from winit.sweep import Curves, Progress, Sweep
from winit.ui import address, answers, cached, frame

_FIRST = 0.05  # seconds of training before the first picture
_TICK = 0.35  # seconds between two pictures
_SLICES = 2  # of training before each
_UNFINISHED = 2  # sweeps that have networks in memory at a time, of all visitors
_AT_ONCE = 20.0  # a comparison cheaper than this starts by itself
_COLUMN_FORMATS = {ACCURACY: "percent", R_SQUARED: "%.3f"}

Page = frame.Page[CompareKnobs]
Key = tuple[Spec, CompareKnobs]


@dataclass
class Job:
    """A comparison of this visitor: waiting to be started, running, or ended."""

    key: Key
    price: budget.Price
    store: store.Store
    sweep: Sweep
    place: Place | None = None
    """In the queue of jobs, while it runs."""
    is_drawn: bool = False
    """Whether the first picture since the start has been drawn: it does not wait for a whole slice."""
    found: Comparison | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended; it may wait for others."""
        return self.place is not None

    @property
    def ahead(self) -> int:
        """How many comparisons of others are before this one."""
        return self.place.position if self.place is not None else 0

    def advance(self, seconds: float) -> None:
        """Train for a slice where it is this job's turn; a shorter one where others wait."""
        if self.place is not None and not self.sweep.is_finished and not self.ahead:
            with self.place.turn(self.price.seconds):
                _make_room(self.sweep)
                self.sweep.advance(seconds, is_long_enough)

    def stop(self) -> None:
        """Give the place in the queue up."""
        if self.place is not None:
            self.place.leave()
        self.place = None


_in_memory: list[weakref.ref[Sweep]] = []
"""Unfinished sweeps of all visitors, the one trained longest ago first. Changed by whoever has the turn."""


def _make_room(sweep: Sweep) -> None:
    """Let the sweeps go that others trained longest ago: cancelled, or in closed tabs, they would fill the memory."""
    others = [one for one in (held() for held in _in_memory) if one is not None and one is not sweep]
    others = [one for one in others if one.is_in_memory]
    while len(others) >= _UNFINISHED:
        others.pop(0).let_go()
    _in_memory[:] = [weakref.ref(one) for one in (*others, sweep)]


def current_job(page: Page) -> Job | None:
    """Return the comparison of what is in view, started where it is cheap; None where refused."""
    key = (page.spec, page.knobs.undrawn())
    held: Job | None = st.session_state.get("_job")
    if held is not None and held.key == key:
        if held.found is None and not held.is_running and held.sweep.is_finished:
            _end(held)  # another run of the page cut the one short that was about to
        return held
    if held is not None:
        held.stop()
        del st.session_state["_job"]
    try:
        limit, kept = budget.Limit.of_host(), store.of_host()
        sweep = Sweep(*key, store=kept)
    except BadInput as problem:
        _show_knobs(page)
        _refuse(page, problem)
        return None
    price = budget.comparison_price(*key)
    job = Job(key, price, kept, sweep, found=cached.COMPARISONS.get(key))
    if job.found is None and sweep.is_finished:  # made before, here or in a terminal: whatever it cost
        _end(job)
    elif job.found is None and not limit.allows(price):
        _show_knobs(page)
        _refuse_price(page, limit)
        return None
    elif job.found is None and price.seconds <= _AT_ONCE:
        _start(job)
    st.session_state["_job"] = job
    return job


def _refuse(page: Page, problem: BadInput) -> None:
    if problem.field == "seeds":
        ways: list[tuple[str, dict[str, Any]]] = [
            ("Take 10 seeds", {"seeds": 10}),
            ("Keep the network's own rate", {"learning_rates": ()}),
        ]
        page.refuse(problem, ways)
    else:
        page.refuse_start(problem)


def _refuse_price(page: Page, limit: budget.Limit) -> None:
    """Say what the comparison would cost, offer what this host allows, and the command that makes it elsewhere."""
    small: dict[str, Any] = {"depth": 10, "width": 64, "steps": 300, "dataset": "digits"}
    few: dict[str, Any] = {"seeds": min(5, page.knobs.seeds), "learning_rates": ()}
    default: dict[str, Any] = {"initializers": CompareKnobs().initializers}
    offers = (
        ("Compare 5 seeds at one learning rate", few),
        ("Use 10 layers of 64 units, 300 steps, digits", small),
        ("Use such a network, 5 seeds, one learning rate", small | few),
        ("Go back to a small comparison", small | few | default),
    )
    ways = []
    for label, changes in offers:
        knobs = {name: value for name, value in changes.items() if name in page.knobs.values()}
        network = {name: value for name, value in changes.items() if name not in knobs}
        if limit.allows(budget.comparison_price(page.spec.replace(**network), page.knobs.replace(**knobs))):
            ways.append((label, changes))
    try:
        budget.require_comparison(page.spec, page.knobs, limit)
    except BadInput as problem:
        page.refuse(problem, ways[:2])
    st.markdown("In a terminal it has no limit. Its runs go to the same store, and this page then opens them at once:")
    st.code(budget.terminal_command(page.spec, page.knobs), language="bash", wrap_lines=True)


def _start(job: Job) -> None:
    job.place, job.is_drawn, job.found = Place(), False, None
    job.advance(_FIRST)


def _end(job: Job) -> None:
    """Conclude with what there is, finished or not."""
    job.stop()
    with turn(job.price.seconds):
        job.found = job.sweep.conclude()
    if job.found.is_complete:
        cached.COMPARISONS.put(job.key, job.found)


def _show_knobs(page: Page) -> None:
    measure = datasets.DATASETS[page.spec.dataset].measure
    score = "" if page.is_narrow else f" {measure.label}"
    words = {
        "loss": "loss",
        "loss_log": "loss, log",
        "train_accuracy": f"train{score}",
        "test_accuracy": f"test{score}",
    }
    page.knob_row(
        "initializers",
        "learning_rates",
        "seeds",
        "curve",
        initializers={"width": 288},
        learning_rates={
            "width": 112,
            "placeholder": f"{page.spec.learning_rate:g}",
            "format_func": lambda text: "7, 0.001 to 1" if text == "0.001..1:7" else text,
        },
        seeds={"width": 82},
        curve={"format_func": words.__getitem__},
    )


def show(page: Page, job: Job) -> None:
    """Show the comparison, as it runs or as it ended."""
    if job.found is not None:
        page.answer(answers.comparison(job.found))
        _show_knobs(page)
        _show_found(page, job, job.found)
    elif job.is_running:
        page.answer(
            f"Training {len(job.sweep.members):,} networks: the same data, and the same batches for the same seed. "
            "Seed after seed, so that every initializer is seen early."
        )
        _show_knobs(page)
        st.fragment(_show_running, run_every=_TICK)(page, job)
    else:
        page.answer(f"{len(job.sweep.members):,} runs, {job.price.sentence}: press Run.")
        _show_knobs(page)
        _show_waiting(page, job)


def _show_waiting(page: Page, job: Job) -> None:
    """Show the price and the way to start, beside what is in the store already."""
    # The empty figure has the browser load what draws figures: the first curve comes sooner after the press.
    _beside(page, lambda: _show_growing(page, job.sweep), lambda: _show_price(job))


def _show_price(job: Job) -> None:
    progress = job.sweep.progress
    with st.container(border=True, key="price"):
        st.markdown(f"**{progress.total:,} runs** cost {job.price.sentence}.")
        if progress.restored:
            st.caption(f"{progress.restored:,} of them are in the store already.")
        frame.button("Run", key="run", icon=":material/play_arrow:", type="primary", on_click=lambda: _start(job))
    _show_problem(job)


def _beside(page: Page, show_figure: Callable[[], None], show_state: Callable[[], None]) -> None:
    """Show a figure and beside it the state of the sweep; above it on a phone, where both stand in one column."""
    if page.is_narrow:
        show_state()
        show_figure()
        return
    wide, narrow = st.columns((3, 2))
    with wide:
        show_figure()
    with narrow:
        show_state()


def _show_running(page: Page, job: Job) -> None:
    """Train and show how far it is; curves grow while it runs."""
    sweep = job.sweep
    for _ in range(_SLICES if job.is_drawn else 0):
        job.advance(SLICE)
    if job.is_running and sweep.is_finished:
        _end(job)
    if not job.is_running:
        address.rerun()
    progress, job.is_drawn = sweep.progress, True
    _beside(page, lambda: _show_growing(page, sweep), lambda: _show_progress(job, progress))


def _show_growing(page: Page, sweep: Sweep) -> None:
    growing = sweep.curves()
    alt = f"Curves of {len(growing.members)} runs, growing"
    page.figure(_curves(page, growing), alt, "growing")


def _curves(page: Page, found: Curves, groups: Sequence[Sequence[int]] | None = None) -> go.Figure:
    data = datasets.load(page.spec.dataset)
    return figures.curves(
        found,
        page.knobs,
        _initializers(page),
        data.constant_loss,
        TOKENS,
        data.measure,
        groups=groups,
        is_narrow=page.is_narrow,
        meta=page.meta,
    )


def _initializers(page: Page) -> tuple[str, ...]:
    return together(page.spec.initializer, page.knobs.initializers)


def _show_progress(job: Job, progress: Progress) -> None:
    """Show how far it is, with counts, throughput, time left and the way to stop it."""
    with st.container(border=True, key="progress"):
        st.progress(progress.share, f"**{progress.runs:,} of {progress.total:,} runs**")
        ahead = job.ahead
        lines = [f"**{ahead} ahead of you**: one comparison trains at a time"] if ahead else []
        if progress.restored:
            lines.append(f"{progress.restored:,} from the store")
        if progress.steps_per_second and progress.seconds_left is not None:
            lines.append(f"{progress.steps_per_second:,.0f} steps of single networks per second")
            lines.append(f"about {budget.duration(progress.seconds_left)} left")
        st.caption("  \n".join(lines) or "beginning")
        # A fragment's button: its own run does not open the frame, the page's run that follows does. Called back
        # before that run, so that no further slice is trained.
        st.button("Cancel", key="cancel", icon=":material/close:", on_click=_end, args=(job,))
        st.caption("Finished runs are kept, whatever happens to this page.")
    _show_problem(job)


def _show_problem(job: Job) -> None:
    """Say what is wrong with the store, if anything is."""
    if job.store.problem:
        st.caption(f":material/info: {frame.literal(job.store.problem)}")


def _origin(job: Job, found: Comparison) -> str:
    """Say how many runs there are, and how many of them were there before."""
    runs, progress = len(found.history.members), job.sweep.progress
    if progress.restored:
        return f"from the store: {min(progress.restored, runs):,} of {found.planned:,} runs"
    return f"{runs:,} of {found.planned:,} runs"


def _show_found(page: Page, job: Job, found: Comparison) -> None:
    if not found.is_complete:
        text = "Go on with what is left"
        frame.button(text, key="resume", icon=":material/play_arrow:", on_click=lambda: _start(job))
    history = found.history
    if not found.ranking:
        page.figure(_curves(page, Curves.of(history)), "Curves of the runs that are there", "curves")
        _show_view(page)
        return
    wide, narrow = st.columns((3, 2))
    with wide:
        chart = _curves(page, Curves.of(history), [rank.runs for rank in found.ranking])
        page.figure(chart, "Curves by initializer, median over seeds", "curves")
        _show_view(page)
    with narrow:
        chart = figures.ranking(found, TOKENS, meta=page.meta)
        page.figure(chart, f"Test {found.measure.label} by initializer", "ranking")
    st.caption(_caption(job, found))
    _show_problem(job)
    losses = comparison.rate_losses(found)
    if any(len(one.learning_rates) > 1 for one in losses):
        chart = figures.rates(losses, found, TOKENS, is_narrow=page.is_narrow, meta=page.meta)
        page.figure(chart, "Final training loss against the learning rate, by initializer", "rates")
        st.caption("Ringed: a rate that was chosen, by one half of the seeds for the other. × most runs diverged.")
    _show_luck(page, found)
    _show_table(found)
    _show_downloads(page, found)


def _show_view(page: Page) -> None:
    """Draw what decides which curves are seen: it travels in the address."""
    names = _initializers(page)
    texts = {str(number): name for number, name in enumerate(names, start=1)}
    with st.container(horizontal=True, vertical_alignment="center", key="view"):
        page.knob(
            "runs",
            label_visibility="collapsed",
            format_func={"band": "middle half", "each": "each run"}.__getitem__,
        )
        page.knob(
            "only",
            label_visibility="collapsed",
            wrap=True,
            options=list(texts),
            format_func=lambda text: _pill(texts.get(text)),
        )


def _pill(name: str | None) -> str:
    return coloured(name, short_name(name, 22)) if name else "no longer there"


def _caption(job: Job, found: Comparison) -> str:
    history, ranks = found.history, found.ranking
    rates = len({member.learning_rate for member in history.members})
    recorded = datasets.load(history.spec.dataset).evaluation_samples
    text = (
        f"{len(ranks)} initializers × {max(len(rank.runs) for rank in ranks)} seeds"
        f"{f' × {rates} learning rates' if rates > 1 else ''} on {history.spec.dataset}; {_origin(job, found)}. "
        f"Curves: loss on {recorded} training samples. "
    )
    if rates > 1:
        text += (
            "Each initializer at its own best learning rate: chosen on one half of the seeds, scored on the other, "
            "both ways, so that choosing does not flatter. "
        )
    if ranks[0].score.low is None:
        text += f"No interval below {comparison.INTERVAL_SEEDS} seeds. "
    return text + "A diverged run scores as one that learned nothing."


def _show_luck(page: Page, found: Comparison) -> None:
    """Show who beats whom and how the runs ended, and say which pairs are not told apart."""
    wide, narrow = st.columns((3, 2))
    with wide:
        if found.pairs:
            chart = figures.pairs(found, TOKENS, meta=page.meta)
            page.figure(chart, "Probability that a run of one initializer beats one of another", "pairs")
            st.caption(answers.pairs(found))
    with narrow:
        chart = figures.statuses(found, TOKENS, meta=page.meta)
        page.figure(chart, "How the runs of each initializer ended", "statuses")


def _show_table(found: Comparison) -> None:
    """Show every measure of each initializer."""
    measure = found.measure
    reached = f"test {measure.label}"
    rows = [
        {
            "initializer": rank.initializer,
            "status": ", ".join(f"{count} {name}" for name, count in rank.counts.items() if count),
            reached: rank.score.median,
            "interquartile mean": rank.score.iqm,
            "95 % interval": "needs 5 seeds"
            if rank.score.low is None or rank.score.high is None
            else f"{measure.fine(rank.score.low)} to {measure.fine(rank.score.high)}",
            "final loss": number(rank.final_loss),
            "mean loss": number(rank.loss_area),
            "steps to target": f"{rank.steps_to_target:,.0f}" if math.isfinite(rank.steps_to_target) else "never",
            "reached": f"{rank.reached} of {len(rank.runs)}",
            "diverged at": ", ".join(f"{step:,}" for step in rank.divergences[:5]) or "–",
            "learning rate": " / ".join(f"{rate:g}" for rate in rank.learning_rates),
        }
        for rank in found.ranking
    ]
    column = st.column_config.NumberColumn(format=_COLUMN_FORMATS[measure])
    right = {
        name: st.column_config.TextColumn(alignment="right", help=text)
        for name, text in {
            "95 % interval": "Of the interquartile mean: percentile bootstrap over seeds.",
            "final loss": "Median over seeds, on the whole training part. ∞: most runs diverged.",
            "mean loss": "Area under the training loss over the steps, in the median.",
            "steps to target": f"Median of the first recorded step with a loss of at most {number(found.target_loss)}.",
            "reached": "Runs that reach the target loss.",
            "diverged at": "Steps at which runs left the finite numbers.",
        }.items()
    }
    st.dataframe(
        rows,
        hide_index=True,
        key="table",
        alt=f"Score, interval, losses and statuses of each initializer by {measure.label}",
        column_config={
            "initializer": st.column_config.TextColumn(pinned=True),
            reached: st.column_config.NumberColumn(format=_COLUMN_FORMATS[measure], help="Median over seeds."),
            "interquartile mean": column,
            **right,
        },
    )


def _show_downloads(page: Page, found: Comparison) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        page.knob("target", width=130)
        frame.download("Every run as CSV", lambda: as_csv(found), "winit-compare.csv", "text/csv", key="csv")
        mime = "application/json"
        frame.download(
            "Every run as JSON", lambda: as_json(page.spec, page.knobs, found), "winit-compare.json", mime, key="json"
        )


def as_csv(found: Comparison) -> str:
    """Return every run's recorded steps as comma-separated values."""
    history = found.history
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    about = ("initializer", "seed", "learning_rate", "status", "diverged_at")
    writer.writerow((*about, "step", "loss", f"train_{found.measure.name}", f"test_{found.measure.name}"))
    for run, member in enumerate(history.members):
        left = history.diverged_at[run]
        values = (member.initializer, member.seed, member.learning_rate, history.statuses[run])
        for column, step in enumerate(history.steps):
            curves = (array[run, column] for array in (history.loss, history.train_accuracy, history.test_accuracy))
            writer.writerow((*values, "" if left is None else left, step, *curves))
    return file.getvalue()


def as_json(spec: Spec, knobs: CompareKnobs, found: Comparison) -> str:
    """Return every run with its final numbers as JSON; what is not finite is null."""
    history, score = found.history, found.measure.name
    runs = [
        {
            "initializer": member.initializer,
            "seed": member.seed,
            "learning_rate": member.learning_rate,
            "status": history.statuses[run],
            "diverged_at": history.diverged_at[run],
            "loss": _finite(history.loss[run].tolist()),
            f"train_{score}": _finite(history.train_accuracy[run].tolist()),
            f"test_{score}": _finite(history.test_accuracy[run].tolist()),
            "final": {
                "loss": _finite([float(history.final_loss[run])])[0],
                f"train_{score}": _finite([float(history.final_train_accuracy[run])])[0],
                f"test_{score}": _finite([float(history.final_test_accuracy[run])])[0],
            },
        }
        for run, member in enumerate(history.members)
    ]
    about = permalink.write(spec, knobs, full=True)
    return json.dumps({"spec": about, "steps": history.steps, "members": runs}, allow_nan=False)


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
