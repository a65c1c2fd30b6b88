"""Load on one machine: visitors who move knobs, train live and sweep, by the real websocket protocol.

    python -m benchmarks.load [--visitors 50] [--seconds 40] [--port 8657] [--only moves,...]

Reports, of the server with its guard and of stock Streamlit beside it: how long moves take, frames per
second of live players, memory (that of all processes, what they share counted once), processor time. The driver
takes a part of the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import struct
import tempfile
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.visitor import Server, Visitor, serving, visit

BETWEEN = 4.0  # seconds between two moves of a visitor
ASKED = 32  # frames of one request of a player
RATE, SHARE = 24, 0.42  # frames a second, and of a core: what winit/ui/live/player.js takes at speed 1
PAGES = ("", "distributions", "signal", "live", "compare")
FREE = {
    "WINIT_OPENINGS_PER_SECOND": "1000",
    "WINIT_CONNECTIONS_PER_ADDRESS": "1000",
    "WINIT_CONNECTIONS": "1000",
    "WINIT_LOG": "warning",
}


class Count:
    """What was measured."""

    def __init__(self) -> None:
        self.moves: list[float] = []
        self.by_page: defaultdict[str, list[float]] = defaultdict(list)
        self.frames: list[float] = []
        self.errors: list[str] = []

    def line(self, name: str, server: Server, seconds: float, processor: float) -> str:
        """Return the figures in one line."""
        found = [f"{name:34}"]
        if self.moves:
            middle, high, top = np.percentile(self.moves, [50, 95, 99]) * 1000
            found.append(f"moves {len(self.moves):4}  ms p50 {middle:6.0f}  p95 {high:6.0f}  p99 {top:6.0f}")
            pages = (f"{page or 'home'} {np.median(times) * 1000:.0f}" for page, times in self.by_page.items())
            found.append(f"({', '.join(pages)})" if self.by_page else "")
        if self.frames:
            found.append(f"frames/s {min(self.frames):.0f} to {max(self.frames):.0f}")
        found.append(
            f"errors {len(self.errors)}  memory {server.memory() / 1e6:.0f} MB  cores {processor / seconds:.2f}"
        )
        return "  ".join(found)


async def moves(port: int, visitors: int, seconds: float, count: Count) -> None:
    """Open a page for each visitor; once all are open, let each move the depth knob every few seconds."""
    ready = asyncio.Barrier(visitors)

    async def move(number: int) -> None:
        page = PAGES[number % len(PAGES)]
        # A comparison as large as this one waits for its Run button: the visitor looks at its knobs.
        query = f"v=1&seed={number}" + ("&steps=100000" if page == "compare" else "")
        async with visit(port, page, query, run=False) as visitor:
            async with opening:
                await visitor.run(timeout=300)
            await ready.wait()
            end = time.monotonic() + seconds
            await asyncio.sleep(BETWEEN * number / visitors)
            for depth in itertools.cycle(range(5, 16)):
                if time.monotonic() > end:
                    return
                begun = time.monotonic()
                visitor.set("depth", double_array_value=[depth])
                answer = await visitor.run()
                count.moves.append(answer.seconds)
                count.by_page[page].append(answer.seconds)
                count.errors += answer.exceptions
                await asyncio.sleep(max(0.0, begun + BETWEEN - time.monotonic()))

    opening = asyncio.Semaphore(2)
    await asyncio.gather(*[move(number) for number in range(visitors)])


async def train(port: int, number: int, end: float, count: Count) -> None:
    """Watch a training: ask for frames as the player does at speed 1, and let the server rest as long as it does."""
    received, begun = 0, time.monotonic()
    async with visit(port, "live", f"v=1&steps=20000&seed={1000 + number}") as visitor:
        have, asked = 0, time.monotonic()
        while time.monotonic() < end:
            header = _header(visitor)
            made = int(header["first"]) + int(header["count"])
            played = max(0, made - have) / RATE
            await asyncio.sleep(asked + max(0.06, played, header["seconds"] / SHARE) - time.monotonic())
            if made > have:
                received, have = received + made - have, made
            elif header.get("done"):
                break
            asked = time.monotonic()
            fragment = visitor.trigger("player", "want", {"run": header["run"], "have": have, "n": ASKED})
            count.errors += (await visitor.run(fragment=fragment)).exceptions
    count.frames.append(received / (time.monotonic() - begun))


def _header(visitor: Visitor) -> dict[str, Any]:
    """Return the header of the answer that the player holds."""
    content = visitor.widgets["player"][1]
    size = struct.unpack_from("<I", content.bytes)[0]
    found: dict[str, Any] = json.loads(content.bytes[4 : 4 + size])
    return found


async def sweep(port: int, number: int, end: float, count: Count) -> None:
    """Watch a comparison: run its fragment as often as the page says."""
    seeds = itertools.count(100 * number)
    async with visit(port, "compare", f"v=1&steps=1500&seed={next(seeds)}") as visitor:
        while time.monotonic() < end:
            if not visitor.ticking:
                visitor.query = f"v=1&steps=1500&seed={next(seeds)}"
                count.errors += (await visitor.run()).exceptions
                continue
            ((fragment, interval),) = list(visitor.ticking.items())[-1:]
            await asyncio.sleep(interval)
            count.errors += (await visitor.run(fragment=fragment, is_auto=True)).exceptions


async def burst(port: int, count: Count) -> None:
    """Send 300 messages at once, while another moves a knob."""
    async with visit(port, "", "v=1") as greedy, visit(port, "", "v=1&seed=7") as modest:
        alone = []
        for depth in (5, 6, 7):
            modest.set("depth", double_array_value=[depth])
            alone.append((await modest.run()).seconds)
        for number in range(300):
            greedy.set("depth", double_array_value=[2 + number % 40])
            await greedy.send(greedy.rerun())
        for depth in range(8, 14):
            modest.set("depth", double_array_value=[depth])
            count.moves.append((await modest.run(timeout=120)).seconds)
        print(f"  beside 300 messages: alone {np.median(alone) * 1000:.0f} ms, worst {max(count.moves) * 1000:.0f} ms")


async def come_and_go(server: Server, visitors: int) -> None:
    """Let visitors come and go, and say what is left of them."""

    async def once(number: int) -> None:
        async with visit(server.port, PAGES[number % len(PAGES)], f"v=1&depth={2 + number % 8}"):
            await asyncio.sleep(0.2)

    # Each page with each depth first, so that what is kept for all is there.
    warm = 8 * len(PAGES)
    for start in range(0, warm, 10):
        await asyncio.gather(*[once(number) for number in range(start, start + 10)])
    await asyncio.sleep(1)
    before = server.memory()
    for start in range(warm, visitors + warm, 10):
        await asyncio.gather(*[once(number) for number in range(start, start + 10)])
    top = server.memory()
    await asyncio.sleep(35)  # sessions are kept for half a minute
    for _ in range(2):  # old sessions are let go when somebody leaves, and collected after the next page
        async with visit(server.port, "", "v=1"):
            pass
    await asyncio.sleep(25)  # freed memory is handed back every 20 s
    after = server.memory()
    sizes = ", ".join(f"{size / 1e6:.0f} MB" for size in (before, top, after))
    print(f"  {visitors} visitors came and went: {sizes}: {after / before - 1:+.1%}", flush=True)


def measure(name: str, server: Server, works: Sequence[Coroutine[Any, Any, None]], count: Count) -> None:
    """Run visitors side by side and print what was measured."""
    begun, processor = time.monotonic(), server.processor_seconds()

    async def together() -> None:
        for problem in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(problem, BaseException):
                count.errors.append(repr(problem))

    asyncio.run(together())
    print(count.line(name, server, time.monotonic() - begun, server.processor_seconds() - processor), flush=True)
    for error in sorted(set(count.errors))[:3]:
        print("   ", error[:200])


def main() -> None:
    """Measure, with the guard and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--port", type=int, default=8657)
    parser.add_argument("--only", default="moves,mixed,burst,memory,stock")
    given = parser.parse_args()
    only, port = given.only.split(","), given.port
    for stock in (False, True) if "stock" in only else (False,):
        kind = "stock Streamlit" if stock else "winit.server"
        with tempfile.TemporaryDirectory() as folder:
            log, store = Path(folder) / "log", str(Path(folder) / "runs.sqlite")
            with serving(port, log, stock=stock, WINIT_STORE=store, **FREE) as server:
                for name in [name for name in ("moves", "mixed") if name in only]:
                    count, end = Count(), time.monotonic() + given.seconds
                    works = [moves(port, given.visitors, given.seconds, count)]
                    if name == "mixed":
                        works += [train(port, number, end, count) for number in range(5)]
                        works += [sweep(port, number, end, count) for number in range(2)]
                    measure(f"{kind}: {name}", server, works, count)
                if "burst" in only:
                    count = Count()
                    measure(f"{kind}: burst", server, [burst(port, count)], count)
                if "memory" in only and not stock:
                    asyncio.run(come_and_go(server, 200))


if __name__ == "__main__":
    main()
