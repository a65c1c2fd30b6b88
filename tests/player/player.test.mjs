// The pure parts of the player: decoding, film, clock, numbers, sentences, colours. Run by tests/test_player.py,
// which says where the script and the buffers made by Python are.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const source = readFileSync(process.env.WINIT_PLAYER);
const player = await import(`data:text/javascript;base64,${source.toString("base64")}`);
const expected = JSON.parse(readFileSync(process.env.WINIT_EXPECTED));
const packets = expected.packets.map((path) => new Uint8Array(readFileSync(path)));

/** Numbers as JSON has them: null for what is not finite. */
const plain = (numbers) => [...numbers].map((value) => (Number.isFinite(value) ? value : null));

function filmOf(numbers = packets.keys()) {
  const film = player.newFilm("run");
  for (const number of numbers) player.append(film, player.decode(packets[number]));
  return film;
}

test("a buffer of Python is read number for number", () => {
  const film = filmOf();
  assert.equal(film.frames.length, expected.loss.length);
  film.frames.forEach((_, frame) => {
    assert.deepEqual(plain(player.of(film, "loss", frame)), expected.loss[frame]);
    assert.deepEqual([...player.of(film, "counts", frame)], expected.counts[frame]);
    assert.deepEqual(plain(player.of(film, "deviation_log10", frame)), expected.deviation[frame]);
  });
  assert.deepEqual(player.shapeOf(film, "deviation_log10"), [2, 3, 3]);
  assert.deepEqual([...film.fixed.test_y.values], expected.test_y);
});

test("a buffer at an odd place in memory is read too", () => {
  const odd = new Uint8Array(packets[0].length + 3);
  odd.set(packets[0], 3);
  assert.deepEqual(player.decode(odd.subarray(3)).header, player.decode(packets[0]).header);
});

test("frames come once and without a gap, whatever arrives", () => {
  const film = player.newFilm("run");
  const packet = (number) => player.decode(packets[number]);
  assert.equal(player.append(film, packet(1)), 0); // before there is a scene
  assert.equal(player.append(film, packet(0)), 1);
  assert.equal(player.append(film, packet(2)), 0); // a gap
  assert.ok(player.append(film, packet(1)) > 0);
  assert.equal(player.append(film, packet(1)), 0); // again
  assert.ok(player.append(film, packet(2)) > 0);
  assert.equal(player.append(film, packet(0)), 0);
  assert.ok(player.isComplete(film));
  assert.deepEqual(plain(player.of(film, "loss", film.frames.length - 1)), expected.loss.at(-1));
  assert.ok(!player.isComplete(player.newFilm("run")));
});

test("the nearest recorded step, and places between steps", () => {
  assert.deepEqual([0, 3, 4, 99].map((step) => player.nearest([0, 2, 5, 10], step)), [0, 1, 2, 3]);
  assert.deepEqual([0, 2, 3.5, 10, 11].map((step) => player.placeOf([0, 2, 5, 10], step)), [0, 1, 1.5, 3, 3]);
});

test("the usual time of a picture follows what pictures take, and no rest", () => {
  let usual = 0;
  for (let picture = 0; picture < 60; picture++) usual = player.paced(usual, 0.04);
  assert.ok(Math.abs(usual - 0.04) < 1e-3);
  assert.equal(player.paced(usual, 30), usual);
});

test("the clock never passes the last frame, and reaches it", () => {
  assert.equal(player.moved(3, 1 / 60, 24, 10, true), 3 + 24 / 60);
  assert.equal(player.moved(9.9, 1 / 60, 24, 10, true), 10);
  assert.equal(player.moved(12, 1 / 60, 24, 10, true), 10);
  assert.ok(player.moved(3, 3600, 24, 100, true) <= 3 + 2.4); // a tab that slept does not leap
  assert.equal(player.moved(0, -0.01, 24, 100, true), 0); // nor does a press just after a picture
  let position = 0;
  for (let turn = 0; turn < 600; turn++) {
    const next = player.moved(position, 1 / 60, 24, 5, false);
    assert.ok(next >= position && next <= 5);
    position = next;
  }
  assert.equal(position, 5); // slowed, but there
  const early = player.moved(0, 1 / 60, 24, 5, false), late = player.moved(4.9, 1 / 60, 24, 5, false) - 4.9;
  assert.ok(late < early);
});

test("speeds", () => {
  assert.equal(player.rateOf("1", 9), 24);
  assert.equal(player.rateOf("16", 9), 384);
  assert.ok(player.rateOf("max", 100) > player.rateOf("max", 10));
});

test("at speed 1 the server rests, above it does not", () => {
  assert.ok(0.3 / (player.rest("1", 0.3) / 1000) < 0.5); // less than half a core
  assert.equal(player.rest("0.25", 0.3), player.rest("1", 0.3));
  assert.equal(player.rest("2", 0.3), 0);
  assert.equal(player.rest("max", 0.3), 0);
  assert.equal(player.rest("1", 0), 0);
});

test("frames are asked for where they run low, and only then", () => {
  const film = (made, total) => ({ total, frames: { length: made } });
  assert.equal(player.wanted(film(0, 0), 0, false, 24, null), 1);
  assert.equal(player.wanted(film(10, 100), 0, false, 24, null), 0); // paused
  assert.equal(player.wanted(film(100, 100), 99, true, 24, null), 0); // complete
  assert.equal(player.wanted(film(90, 100), 0, true, 24, null), 0); // enough ahead
  const count = player.wanted(film(10, 100), 5, true, 24, null);
  assert.ok(count > 0 && count <= 64);
  assert.ok(player.wanted(film(90, 600), 0, true, 384, null) > 0); // faster eats more
  assert.equal(player.wanted(film(10, 100), 9, false, 24, 12), 3); // a goal
  assert.equal(player.wanted(film(10, 600), 9, false, 24, 500), 64);
  assert.equal(player.wanted(film(20, 100), 9, false, 24, 12), 0);
});

test("numbers are written as in Python", () => {
  for (const [value, words] of expected.numbers) assert.equal(player.three(value), words);
  assert.equal(player.three(NaN), "not a number");
  assert.equal(player.three(-Infinity), "−∞");
  assert.equal(player.score(0.8333, true), "83.3%");
  assert.equal(player.score(-0.5, false), "−0.500");
});

test("ticks are round and inside", () => {
  for (const [low, high] of [[0, 1], [0, 2.3], [-3, 17], [0, 1e-5], [5, 100000]]) {
    const found = player.ticks(low, high, 5);
    assert.ok(found.length >= 3 && found.length <= 7, String(found));
    assert.ok(found.every((value) => value >= low - 1e-9 * high && value <= high * (1 + 1e-9)));
  }
  assert.deepEqual(player.ticks(0, 1, 4).map((value) => +value.toFixed(6)), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(player.decades(-3.2, 2.1, 10), [-3, -2, -1, 0, 1, 2]);
  assert.ok(player.decades(-80, 0, 4).length <= 5);
  for (const value of [1e-7, 0.99, 1, 2.3, 700]) {
    assert.ok(player.roundUp(value) >= value * 0.9999 && player.roundUp(value) <= 1.35 * value);
  }
});

test("medians and quantiles leave out what is not finite", () => {
  assert.equal(player.median([3, NaN, 1, 2]), 2);
  assert.equal(player.median([4, 1]), 2.5);
  assert.ok(Number.isNaN(player.median([NaN])));
  assert.equal(player.quantile([5, 1, Infinity, 3], 0), 1);
});

test("labels stay apart and inside", () => {
  const found = player.spread([50, 52, 51, 0, 99], 0, 100);
  const sorted = [...found].sort((a, b) => a - b);
  for (let index = 1; index < sorted.length; index++) assert.ok(sorted[index] - sorted[index - 1] >= 15.9);
  assert.ok(sorted[0] >= 0 && sorted.at(-1) <= 100);
  assert.ok(found[0] < found[2] && found[2] < found[1]);
});

test("the axes hold what is drawn", () => {
  const film = filmOf();
  const [low, high] = player.lossRange(film, false);
  const remain = film.frames.flatMap((_, frame) => [...player.of(film, "loss", frame)].filter((__, member) => film.diverged[member] < 0));
  assert.equal(low, 0);
  assert.ok(high >= player.quantile(remain, 0.98) && high >= film.scene.constant_loss);
  const [bottom, top] = player.lossRange(film, true);
  assert.ok(bottom <= Math.log10(Math.min(...remain)) && top >= Math.log10(film.scene.constant_loss));
  const [least, most] = player.decadeRange(film, "deviation_log10");
  const first = [...player.of(film, "deviation_log10", 0)].filter(Number.isFinite);
  assert.ok(least <= Math.min(...first) && most >= Math.max(...first.slice(0, 9)));
});

test("the sentence counts what became of the runs", () => {
  const film = filmOf();
  const last = film.frames.length - 1;
  film.scene.lanes = [{ label: "he_normal" }, { label: "random_normal(stddev=2)" }];
  Object.assign(film.scene, { score: "accuracy", is_share: true, constant_answer: "guessing" });
  const said = player.plainText(film, player.answer(film, last));
  assert.ok(said.startsWith(`After ${expected.steps.at(-1)} steps: he_normal `), said);
  assert.ok(said.includes("2 of 2 diverged"), said);
  assert.ok(player.plainText(film, player.answer(film, 1)).startsWith("Step 1 of "));
  const start = player.plainText(film, player.answer(film, 0));
  assert.ok(start.includes("starts at a loss of") && start.includes("always guessing costs"), start);
  assert.deepEqual(player.counted(film, last, [2, 3]), [[2, "diverged"]]);
});

test("the history is the run, number for number", () => {
  const film = filmOf();
  film.scene.score_name = "accuracy";
  const [head, ...rows] = player.history(film).trim().split("\n").map((row) => row.split(","));
  assert.deepEqual(head, ["initializer", "seed", "step", "status", "diverged_at", "loss", "train_accuracy", "test_accuracy"]);
  assert.equal(rows.length, 4 * film.frames.length);
  const numbers = rows.filter((row) => row[0] === "he_normal" && row[1] === "1").map((row) => Number(row[5]));
  assert.deepEqual(numbers, expected.loss.map((losses) => losses[1]));
});

test("colours are read and mixed", () => {
  assert.deepEqual(player.rgb("#0B5F5C"), [11, 95, 92]);
  assert.deepEqual(player.rgb("rgb(1, 2, 3)"), [1, 2, 3]);
  const table = player.ramp([[0, 0, 0], [255, 255, 255]]);
  assert.deepEqual([...table.slice(0, 3), ...table.slice(-3)], [0, 0, 0, 255, 255, 255]);
  assert.ok(Math.abs(table[3 * 128] - 128) <= 1);
});

test("the plane is painted the right way up", () => {
  // Two by two points, rows from below; only the upper right one belongs to class 1.
  const pixels = player.regions(new Uint8Array([0, 0, 0, 255]), 2, 2, [[0, 0, 0], [255, 0, 0]], [0, 0, 0]);
  const red = [0, 1, 2, 3].map((place) => pixels[4 * place] > 100);
  assert.deepEqual(red, [false, true, false, false]);
  const shades = player.shaded(new Uint8Array([0, 0, 0, 255]), 2, player.ramp([[0, 0, 0], [255, 0, 0]]));
  assert.deepEqual([0, 1, 2, 3].map((place) => shades[4 * place] > 100), [false, true, false, false]);
});

test("a histogram keeps its place on a wider axis", () => {
  const column = player.rebinned([0, 255, 0], 0, 3, -3, 3, 6);
  assert.deepEqual([...column], [0, 0, 0, 0, 255, 0]);
  assert.deepEqual([...player.rebinned([9, 9], 1, 1, 0, 4, 4)], [0, 255, 0, 0]);
});

test("the table of true and predicted classes counts every sample once", () => {
  assert.deepEqual([...player.confusion([0, 0, 1, 1], [0, 1, 1, 255], 2)], [1, 1, 0, 1]);
});

test("between two frames numbers move evenly; what is not finite is that of the nearer one", () => {
  assert.deepEqual(player.between([0, 1, NaN], [2, 3, 5], 0.5), [1, 2, 5]);
  assert.deepEqual(player.between([0, 1, NaN], [2, 3, 5], 0), [0, 1, NaN]);
  assert.deepEqual(player.between([-Infinity], [0], 0.25), [-Infinity]);
});
