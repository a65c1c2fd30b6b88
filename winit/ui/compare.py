"""The parts of Compare: a job that runs in slices, can be cancelled, and keeps what is finished."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import streamlit as st

from winit import budget, comparison, datasets, store
from winit.comparison import Comparison
from winit.datasets import ACCURACY, DATASETS, R_SQUARED
from winit.fields import BadInput
from winit.figures import comparison as figures
from winit.figures.palette import TOKENS
from winit.lenses import CompareKnobs, together
from winit.network import Member
from winit.queueing import turn
from winit.spec import Spec
from winit.sweep import Curves, Sweep
from winit.training import Snapshot
from winit.ui import address, answers, cached, frame

_SLICE = 0.3  # seconds of training between two pictures
_TICK = 0.35
_AT_ONCE = 20.0  # a comparison cheaper than this starts by itself
_COLUMN_FORMATS = {ACCURACY: "percent", R_SQUARED: "%.3f"}

Key = tuple[Spec, CompareKnobs]


@dataclass
class Job:
    """A comparison of this visitor: waiting to be started, running, or ended."""

    key: Key
    price: budget.Price
    store: store.Store
    sweep: Sweep | None = None
    found: Comparison | None = None


def current_job(page: frame.Page[CompareKnobs]) -> Job | None:
    """Return the comparison of what is in view, started where it is cheap; None where refused."""
    # What is drawn of a comparison does not change it.
    key = (page.spec, page.knobs.replace(curve="loss"))
    held: Job | None = st.session_state.get("_job")
    if held is not None and held.key == key:
        return held
    try:
        page.spec.require_training()
        page.spec.require_start(together(page.spec.initializer, page.knobs.initializers))
        comparison.members(page.spec, page.knobs)
        price = budget.comparison_price(page.spec, page.knobs)
        budget.require_comparison(page.spec, page.knobs, budget.Limit.of_host())
        kept = store.of_host()
    except BadInput as problem:
        _show_knobs(page)
        if problem.field in ("initializer", "batch_size", "width"):
            page.refuse_start(problem)
            return None
        small = {"depth": 10, "width": 64, "steps": 300, "dataset": "digits"}
        page.refuse(problem, [("Use 10 layers of 64 units, 300 steps, digits", small)])
        return None
    job = st.session_state["_job"] = Job(key, price, kept, found=cached.COMPARISONS.get(key))
    if job.found is None and price.seconds <= _AT_ONCE:
        _start(job)
    return job


def _start(job: Job) -> None:
    spec, knobs = job.key
    with turn():
        job.sweep = Sweep(spec, knobs, store=job.store)
        job.sweep.advance(0.0)
    job.found = None


def _end(job: Job) -> None:
    """Conclude with what there is, finished or not."""
    assert job.sweep is not None
    with turn():
        job.found = job.sweep.conclude()
    if job.found.is_complete:
        cached.COMPARISONS.put(job.key, job.found)


def _show_knobs(page: frame.Page[CompareKnobs]) -> None:
    measure = DATASETS[page.spec.dataset].measure
    page.knob_row(
        "initializers",
        "learning_rates",
        "seeds",
        "curve",
        initializers={"width": 300},
        learning_rates={"width": 140, "placeholder": f"{page.spec.learning_rate:g}"},
        seeds={"width": 110},
        curve={"format_func": lambda curve: curve.replace("_", " ").replace("accuracy", measure.label)},
    )


def show(page: frame.Page[CompareKnobs], job: Job) -> None:
    """Show the comparison, as it runs or as it ended."""
    if job.found is not None:
        page.answer(answers.comparison(job.found))
        _show_knobs(page)
        _show_found(page, job, job.found)
    elif job.sweep is None:
        page.answer(f"{_runs(job)} runs, {job.price.sentence}: press Run.")
        _show_knobs(page)
        frame.button("Run", key="run", icon=":material/play_arrow:", type="primary", on_click=lambda: _start(job))
    else:
        page.answer(f"Training {_runs(job)} networks together: the same data, the same batches for the same seed.")
        _show_knobs(page)
        st.fragment(_show_running, run_every=_TICK)(page, job)


def _runs(job: Job) -> int:
    return len(comparison.members(*job.key))


def _show_running(page: frame.Page[CompareKnobs], job: Job) -> None:
    """Train a slice and show how far it is; curves grow while it runs."""
    sweep = job.sweep
    assert sweep is not None
    with turn():
        progress = sweep.advance(_SLICE)
    if sweep.is_finished:
        _end(job)
        address.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(progress.share, progress.sentence)
        # A fragment's button: its own run does not open the frame, the page's run that follows does.
        if st.button("Cancel", key="cancel", icon=":material/close:"):
            _end(job)
            address.rerun()
    snapshots, members = _farthest(sweep.curves())
    data = datasets.load(sweep.spec.dataset)
    chart = figures.curves(
        snapshots,
        members,
        page.knobs.curve,
        data.constant_loss,
        sweep.spec.steps,
        TOKENS,
        data.measure,
        meta=page.meta,
    )
    page.figure(chart, f"Curves of {len(members)} runs to step {snapshots[-1].step}", "growing")


def _farthest(curves: Curves) -> tuple[list[Snapshot], list[Member]]:
    """Return the recorded steps of the runs that are farthest, and which those are."""
    far = max(curves.recorded)
    runs = [run for run, recorded in enumerate(curves.recorded) if recorded == far]
    left = tuple(curves.diverged_at[run] for run in runs)
    loss, train, test = (values[runs] for values in (curves.loss, curves.train_accuracy, curves.test_accuracy))
    snapshots = [
        Snapshot(step, loss[:, at], train[:, at], test[:, at], left, None) for at, step in enumerate(curves.steps[:far])
    ]
    return snapshots, [curves.members[run] for run in runs]


def _show_found(page: frame.Page[CompareKnobs], job: Job, found: Comparison) -> None:
    history = found.history
    if not found.ranking:
        frame.button("Run again", key="rerun", icon=":material/replay:", on_click=lambda: _start(job))
        return
    wide, narrow = st.columns((3, 2))
    with wide:
        chart = figures.curves(
            history.as_snapshots(),
            history.members,
            page.knobs.curve,
            history.constant_loss,
            history.spec.steps,
            TOKENS,
            found.measure,
            runs=[rank.runs for rank in found.ranking],
            meta=page.meta,
        )
        page.figure(chart, "Curves by initializer, median and middle half over seeds", "curves")
    with narrow:
        chart = figures.ranking(found, TOKENS, meta=page.meta)
        page.figure(chart, f"Test {found.measure.label} by initializer", "ranking")
    choice = ""
    if any(len(rank.learning_rates) > 1 for rank in found.ranking):
        choice = " Learning rates: chosen on one half of the seeds, scored on the other, both ways."
    recorded = datasets.load(history.spec.dataset).evaluation_samples
    st.caption(
        f"{len(found.ranking)} initializers × {len(found.ranking[0].runs)} seeds on {history.spec.dataset}. Loss on "
        f"{recorded} training samples; table: on all of them. Curves are medians, bands the middle half of the "
        f"seeds.{choice}"
    )
    _show_table(found)
    with st.container(horizontal=True):
        st.download_button(
            "Download every run as CSV",
            lambda: _csv(found),
            "winit-compare.csv",
            "text/csv",
            key="csv",
            icon=":material/download:",
            on_click="ignore",
        )
        frame.button("Run again", key="rerun", icon=":material/replay:", on_click=lambda: _start(job))


def _show_table(found: Comparison) -> None:
    """Show loss, score and status of each initializer."""
    history, measure = found.history, found.measure
    reached, trained = f"test {measure.label}", f"training {measure.label}"
    rows = []
    for rank in found.ranking:
        runs = list(rank.runs)
        rows.append(
            {
                "initializer": rank.initializer,
                "status": ", ".join(f"{count} {name}" for name, count in rank.counts.items() if count),
                reached: rank.score.median,
                "interquartile mean": rank.score.iqm,
                "95 % interval": "needs 5 seeds"
                if rank.score.low is None or rank.score.high is None
                else f"{measure.fine(rank.score.low)} to {measure.fine(rank.score.high)}",
                "final loss": comparison.median_finite(history.final_loss[runs]),
                trained: comparison.median_finite(history.final_train_accuracy[runs]),
                "learning rate": " / ".join(f"{rate:g}" for rate in rank.learning_rates),
            }
        )
    column = st.column_config.NumberColumn(format=_COLUMN_FORMATS[measure])
    st.dataframe(
        rows,
        hide_index=True,
        key="table",
        alt=f"Final loss, {measure.label} and status of each initializer",
        column_config={
            "initializer": st.column_config.TextColumn(pinned=True),
            reached: column,
            "interquartile mean": column,
            trained: column,
            "final loss": st.column_config.NumberColumn(format="%.4g"),
        },
    )


def _csv(found: Comparison) -> str:
    """Return every run's recorded steps as comma-separated values."""
    history = found.history
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        [
            "initializer",
            "seed",
            "learning_rate",
            "status",
            "diverged_at",
            "step",
            "loss",
            f"train_{found.measure.name}",
            f"test_{found.measure.name}",
        ]
    )
    for number, member in enumerate(history.members):
        about = (member.initializer, member.seed, member.learning_rate, history.statuses[number])
        left = history.diverged_at[number]
        for column, step in enumerate(history.steps):
            values = (array[number, column] for array in (history.loss, history.train_accuracy, history.test_accuracy))
            writer.writerow([*about, "" if left is None else left, step, *values])
    return file.getvalue()
