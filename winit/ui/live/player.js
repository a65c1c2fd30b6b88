// The live player: asks the server for frames, keeps them, and draws them on canvas. No message is sent
// for anything that happens between frames. From top to bottom: decoding, film, clock, numbers, sentences,
// colours (pure functions, tested by node), then painting, then the player and its hands.

const RATE = 24; // recorded frames a second at speed 1, as in the cinema
const AHEAD = 1.5; // seconds of film that are asked for in advance
const MOST = 64; // frames of one request
const RETRY = 2500; // milliseconds after which a request counts as lost
const SHARE = 0.42; // of a core, that a player takes of the server at speed 1 or below
const GATE = 60; // milliseconds between two requests of this page: one run of the server answers one
const QUIET = 600; // milliseconds without a request after a hand moved elsewhere on the page, which has the right of way
const FILMS = 3; // films that are kept, the newest ones
const SLOW = 0.022; // seconds a picture, above which a browser paints one half of the views and then the other
const HALVES = [["loss", "score"], ["data", "chosen"]];

// ---------------------------------------------------------------- decoding

const TYPES = {
  float64: Float64Array, float32: Float32Array, uint8: Uint8Array, int64: BigInt64Array, int32: Int32Array,
};

/** Return header and arrays of a buffer: four bytes of length, a header in JSON, arrays at multiples of 8 bytes. */
export function decode(bytes) {
  const buffer = bytes.slice().buffer; // a copy begins at 0, as arrays of numbers demand
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const arrays = {};
  for (const [name, [kind, shape, start]] of Object.entries(header.arrays)) {
    const count = shape.reduce((product, side) => product * side, 1);
    arrays[name] = { shape, values: new TYPES[kind](buffer, 4 + size + start, count) };
  }
  return { header, arrays };
}

// ---------------------------------------------------------------- film

/** Return an empty film of a run. */
export function newFilm(run) {
  return { run, scene: null, fixed: {}, frames: [], total: 0, at: 0, diverged: [], cursor: 0, seen: 0, ranges: {} };
}

/** Add what a buffer holds beyond what the film has; return how many frames that were. Frames never leave a gap. */
export function append(film, { header, arrays }) {
  film.total = header.total;
  film.at = header.at;
  film.diverged = header.diverged_at;
  if (header.scene && !film.scene) {
    film.scene = header.scene;
    film.fixed = Object.fromEntries(Object.entries(arrays).filter(([name]) => !(name in FRAME)));
  }
  if (header.first > film.frames.length || !film.scene) return 0;
  const before = film.frames.length;
  const chunk = {};
  for (const name in FRAME) if (arrays[name]) chunk[name] = sliced(arrays[name]);
  for (let index = before - header.first; index < header.count; index++) film.frames.push({ chunk, index });
  if (film.frames.length > before) film.ranges = {};
  return film.frames.length - before;
}

const FRAME = {
  loss: 1, train_accuracy: 1, test_accuracy: 1, statuses: 1, deviation_log10: 1, shares: 1, update_ratio_log10: 1,
  ends: 1, counts: 1, predictions: 1, known: 1, neurons: 1,
};

function sliced({ shape, values }) {
  const [, ...rest] = shape;
  return { shape: rest, size: rest.reduce((product, side) => product * side, 1), values };
}

/** Return the numbers of one frame by name: a view, not a copy. */
export function of(film, name, frame) {
  const { chunk, index } = film.frames[frame];
  const { size, values } = chunk[name];
  return values.subarray(index * size, (index + 1) * size);
}

/** Return the shape of a frame's numbers. */
export function shapeOf(film, name) {
  return film.frames[0].chunk[name].shape;
}

export function isComplete(film) {
  return film.total > 0 && film.frames.length === film.total;
}

/** Return the recorded frame nearest to a step, the earlier one of two. */
export function nearest(steps, step) {
  let best = 0;
  for (let index = 1; index < steps.length; index++) {
    if (Math.abs(steps[index] - step) < Math.abs(steps[best] - step)) best = index;
  }
  return best;
}

/** Return the place of a step among the recorded ones, with a fraction between two of them. */
export function placeOf(steps, step) {
  const after = steps.findIndex((recorded) => recorded >= step);
  if (after < 0) return steps.length - 1;
  if (after === 0 || steps[after] === step) return after;
  return after - 1 + (step - steps[after - 1]) / (steps[after] - steps[after - 1]);
}

// ---------------------------------------------------------------- clock

/**
 * Return where the playhead is some seconds later. It never passes the last frame that is here; where more
 * are to come it slows down before that one, so that scarce frames flow instead of stuttering.
 */
export function moved(position, seconds, rate, last, complete) {
  const left = last - position;
  if (left <= 0) return last;
  const speed = complete ? rate : Math.min(rate, 4 * left + 0.2);
  // A picture's time may lie before that of the press that it follows.
  return Math.min(last, position + Math.min(Math.max(seconds, 0), 0.1) * speed);
}

/** Return the frames a second of a speed: a number of times the usual, or "max" for whatever is here. */
export function rateOf(speed, left) {
  return speed === "max" ? Math.max(RATE, 4 * left) : Number(speed) * RATE;
}

/** Return the milliseconds from one request to the next, where the server worked so many seconds for the one before. */
export function rest(speed, seconds) {
  return speed === "max" || Number(speed) > 1 ? 0 : (1000 * seconds) / SHARE;
}

/** Return the usual seconds from one picture to the next, with one more; a rest between two plays is none. */
export function paced(usual, seconds) {
  return seconds < 0.5 ? 0.9 * usual + 0.1 * seconds : usual;
}

/** Return how many frames to ask for now; 0 for none. `goal` is a frame that is waited for, or null. */
export function wanted(film, position, playing, rate, goal) {
  const made = film.frames.length;
  if (film.total && made >= film.total) return 0;
  if (made === 0) return 1;
  if (goal !== null && goal >= made) return Math.min(MOST, goal - made + 1);
  if (!playing) return 0;
  const ahead = made - 1 - position;
  const reserve = Math.max(12, AHEAD * rate);
  return ahead < reserve ? Math.min(MOST, Math.ceil(reserve)) : 0;
}

// ---------------------------------------------------------------- numbers

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** Return a power of ten with a raised exponent. */
export function power(exponent) {
  if (exponent === 0) return "1";
  return exponent === 1 ? "10" : "10" + [...String(exponent)].map((c) => RAISED[c]).join("");
}

/** Return a number with three significant digits; powers of ten beyond a thousandth or a hundred thousand. */
export function three(value) {
  if (value === 0) return "0";
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const exponent = Math.floor(Math.log10(Math.abs(value)) + 1e-12);
  const minus = (text) => text.replace("-", "−");
  const short = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (exponent > -4 && exponent < 5) return minus(short(value.toFixed(Math.max(0, 2 - exponent))));
  const [digits, rest] = value.toExponential(2).split("e");
  const mantissa = minus(short(digits));
  return mantissa === "1" ? power(Number(rest)) : `${mantissa}\u00a0×\u00a0${power(Number(rest))}`;
}

/** Return a score in words: a share as a percentage, else two digits. */
export function score(value, isShare) {
  return (isShare ? `${(100 * value).toFixed(1)}%` : value.toFixed(3)).replace("-", "−");
}

/** Return round tick values between two numbers, at most about `most` of them. */
export function ticks(low, high, most = 5) {
  const raw = (high - low) / Math.max(1, most);
  if (!(raw > 0)) return [low];
  const decade = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * decade).find((size) => size >= raw * 0.999);
  const found = [];
  for (let number = Math.ceil(low / step - 1e-9); number * step <= high + 1e-9 * step; number++) found.push(number * step);
  return found;
}

/** Return the whole exponents between two, at most about `most` of them. */
export function decades(low, high, most = 4) {
  const step = Math.max(1, Math.ceil((high - low) / most));
  const found = [];
  for (let exponent = Math.ceil(low / step) * step; exponent <= high; exponent += step) found.push(exponent);
  return found;
}

/** Return the next round number at or above a positive one, so that an axis seldom changes. */
export function roundUp(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return decade * [1, 1.25, 1.6, 2, 2.5, 3, 4, 5, 6, 8, 10].find((times) => times * decade >= value * 0.9999);
}

/** Return the value below which a share of the numbers lies; NaN of none. */
export function quantile(numbers, share) {
  const sorted = numbers.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : NaN;
}

export function median(numbers) {
  const sorted = [...numbers].filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length ? (sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2) : NaN;
}

/** Return the range [low, high] of the losses: that of the members which do not diverge, with the constant's. */
export function lossRange(film, logarithmic) {
  const { constant_loss: constant } = film.scene;
  const highest = [], lowest = [];
  const remain = film.diverged.some((at) => at < 0);
  for (let frame = 0; frame < film.frames.length; frame++) {
    let top = -Infinity, bottom = Infinity;
    of(film, "loss", frame).forEach((loss, member) => {
      if (!Number.isFinite(loss) || (remain && film.diverged[member] >= 0) || (!remain && frame > 0)) return;
      top = Math.max(top, loss);
      if (loss > 0) bottom = Math.min(bottom, loss);
    });
    highest.push(top);
    lowest.push(bottom);
  }
  const top = Math.max(constant, quantile(highest, 0.98) || 0);
  if (!logarithmic) return [0, roundUp(1.06 * top)];
  const bottom = Math.min(constant, quantile(lowest, 0) || constant);
  return [Math.floor(2 * Math.log10(Math.max(bottom, 1e-12))) / 2, Math.ceil(4 * Math.log10(top) + 0.2) / 4];
}

/** Return the range of scores: from the lowest, at most 0 and at least the floor, to 1. */
export function scoreRange(film) {
  const all = film.frames.map((_, frame) => Math.min(...[...of(film, "test_accuracy", frame)].filter(Number.isFinite)));
  const low = quantile(all, 0.02);
  return [Math.max(film.scene.score_floor, Math.min(0, Number.isFinite(low) ? low : 0)), 1];
}

/** Return the range of base-ten logarithms over all frames, in half decades; of initializers that diverge their start. */
export function decadeRange(film, name) {
  const lanes = film.scene.initializers.length, seeds = film.scene.seeds.length;
  let low = Infinity, high = -Infinity;
  for (let frame = 0; frame < film.frames.length; frame++) {
    const values = of(film, name, frame);
    for (let index = 0; index < values.length; index++) {
      const lane = Math.floor((index * lanes) / values.length);
      if (!Number.isFinite(values[index]) || (frame > 0 && film.diverged[lane * seeds] >= 0)) continue;
      low = Math.min(low, values[index]);
      high = Math.max(high, values[index]);
    }
  }
  return low > high ? [-1, 0] : [Math.floor(low * 2 - 0.2) / 2, Math.max(Math.ceil(high * 2 + 0.2) / 2, Math.floor(low) + 1)];
}

/** Return the numbers of times that test samples of each true class (row) are taken for each class (column). */
export function confusion(truth, answers, classes) {
  const counts = new Uint32Array(classes * classes);
  for (let sample = 0; sample < truth.length; sample++) {
    if (answers[sample] < classes) counts[truth[sample] * classes + answers[sample]]++;
  }
  return counts;
}

// ---------------------------------------------------------------- sentences

const VERBS = { learned: "learned", learning: "still learning", stalled: "stalled", diverged: "diverged" };

/** Return the members of one initializer. */
export function membersOf(scene, lane) {
  const count = scene.seeds.length;
  return Array.from({ length: count }, (_, seed) => lane * count + seed);
}

/** Return the names of the statuses of some members, each with its number, the better ones first. */
export function counted(film, frame, members) {
  const statuses = of(film, "statuses", frame);
  return film.scene.statuses
    .map((name, number) => [members.filter((member) => statuses[member] === number).length, name])
    .filter(([count]) => count > 0);
}

/** Return what a frame says: pieces of text, those that name an initializer with its number. */
export function answer(film, frame) {
  const { scene } = film;
  const step = scene.steps[frame];
  const last = scene.steps[scene.steps.length - 1];
  const losses = of(film, "loss", frame), scores = of(film, "test_accuracy", frame);
  const pieces = step === 0 ? [] : [{ text: step === last ? `After ${step} steps: ` : `Step ${step} of ${last}: ` }];
  scene.initializers.forEach((_, lane) => {
    const members = membersOf(scene, lane);
    if (lane > 0) pieces.push({ text: " " });
    pieces.push({ lane });
    if (step === 0) {
      const start = median(members.map((member) => losses[member]));
      pieces.push({
        text: Number.isFinite(start)
          ? ` starts at a loss of ${three(start)}${lane === scene.initializers.length - 1 ? "" : "."}`
          : " starts beyond the finite numbers.",
      });
      return;
    }
    const said = counted(film, frame, members).map(
      ([count, name]) => `${count} of ${members.length} ${VERBS[name] ?? `worse than ${scene.constant_answer}`}`,
    );
    const reached = median(members.map((member) => scores[member]));
    const tail = Number.isFinite(reached) ? `, test ${scene.score} ${score(reached, scene.is_share)}.` : ".";
    pieces.push({ text: ` ${said.join(", ")}${tail}` });
  });
  if (step === 0) pieces.push({ text: `; always ${scene.constant_answer} costs ${three(scene.constant_loss)}.` });
  return pieces;
}

export function plainText(film, pieces) {
  return pieces.map((piece) => piece.text ?? film.scene.lanes[piece.lane].label).join("");
}

/** Return the history of all frames that are here as comma-separated values. */
export function history(film) {
  const { scene } = film;
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = [["initializer", "seed", "step", "status", "diverged_at", "loss",
    `train_${scene.score_name}`, `test_${scene.score_name}`].join(",")];
  scene.initializers.forEach((name, lane) => {
    for (const member of membersOf(scene, lane)) {
      const seed = scene.seeds[member % scene.seeds.length];
      for (let frame = 0; frame < film.frames.length; frame++) {
        const number = (what) => of(film, what, frame)[member];
        const left = film.diverged[member];
        rows.push([quoted(name), seed, scene.steps[frame], scene.statuses[number("statuses")], left < 0 ? "" : left,
          number("loss"), number("train_accuracy"), number("test_accuracy")].join(","));
      }
    }
  });
  return rows.join("\n") + "\n";
}

// ---------------------------------------------------------------- colours

/** Return red, green and blue, 0 to 255, of a colour written as #rrggbb or rgb(...). */
export function rgb(text) {
  const hex = /^#([0-9a-f]{6})/i.exec(text.trim());
  if (hex) return [0, 2, 4].map((place) => parseInt(hex[1].slice(place, place + 2), 16));
  const parts = text.match(/[\d.]+/g);
  return parts && parts.length >= 3 ? parts.slice(0, 3).map(Number) : [127, 127, 127];
}

/** Return a table of 256 colours, (256 x 3), evenly along a list of them. */
export function ramp(colours) {
  const table = new Uint8ClampedArray(768);
  for (let place = 0; place < 256; place++) {
    const along = (place / 255) * (colours.length - 1);
    const below = Math.min(colours.length - 2, Math.floor(along));
    for (let part = 0; part < 3; part++) {
      table[3 * place + part] = colours[below][part] + (along - below) * (colours[below + 1][part] - colours[below][part]);
    }
  }
  return table;
}

/** Return the pixels of class probabilities over the plane: each class's hue in proportion over the page. */
export function regions(planes, classes, points, hues, page) {
  const count = points * points;
  const pixels = new Uint8ClampedArray(4 * count);
  for (let place = 0; place < count; place++) {
    const row = points - 1 - Math.floor(place / points); // the plane's rows begin below
    const target = 4 * (row * points + (place % points));
    let rest = 255;
    for (let part = 0; part < 3; part++) pixels[target + part] = 0;
    for (let number = classes - 1; number >= 0; number--) {
      const share = number === 0 ? rest : planes[(number - 1) * count + place];
      rest -= number === 0 ? 0 : share;
      for (let part = 0; part < 3; part++) {
        pixels[target + part] += (Math.max(0, share) / 255) * (0.32 * page[part] + 0.68 * hues[number % hues.length][part]);
      }
    }
    pixels[target + 3] = 255;
  }
  return pixels;
}

/** Return the pixels of bytes over the plane, coloured by a table. */
export function shaded(bytes, points, table) {
  const pixels = new Uint8ClampedArray(4 * points * points);
  for (let place = 0; place < points * points; place++) {
    const target = 4 * ((points - 1 - Math.floor(place / points)) * points + (place % points));
    for (let part = 0; part < 3; part++) pixels[target + part] = table[3 * bytes[place] + part];
    pixels[target + 3] = 255;
  }
  return pixels;
}

/** Return the heights of bins of a histogram on a common axis of `rows` cells from low to high, 0 to 255 each. */
export function rebinned(counts, low, high, from, to, rows) {
  const column = new Uint8Array(rows);
  const width = high - low;
  for (let row = 0; row < rows; row++) {
    const value = from + ((row + 0.5) / rows) * (to - from);
    if (!(width > 0)) {
      // All values are equal: they fill the one cell that holds them.
      const cell = Math.floor(((low - from) / (to - from)) * rows);
      column[row] = Math.min(Math.max(cell, 0), rows - 1) === row && low >= from && low <= to ? 255 : 0;
      continue;
    }
    const bin = Math.floor(((value - low) / width) * counts.length);
    column[row] = bin >= 0 && bin < counts.length ? counts[bin] : 0;
  }
  return column;
}

/** Return the numbers between those of two frames; a number that is not finite on one side is that of the nearer. */
export function between(first, second, share) {
  if (share === 0) return first;
  return Array.from(first, (value, index) => {
    const mixed = value + share * (second[index] - value);
    return Number.isFinite(mixed) ? mixed : share < 0.5 ? value : second[index];
  });
}

// ---------------------------------------------------------------- painting

const SMALL = 12, LABEL = 12.5;

/** A canvas with its size in the page's pixels, sharp on dense screens, and layers that are painted only when they change. */
class Sheet {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.layers = new Map();
    this.shown = "";
    this.width = this.height = 0;
    this.isStale = true; // asking the page for sizes makes it lay everything out
  }

  /** Take the size of the page where it changed; return whether there is anything to paint on. */
  fit() {
    if (!this.isStale && this.density === Math.min(globalThis.devicePixelRatio || 1, 3)) return this.width > 0 && this.height > 0;
    this.isStale = false;
    const density = Math.min(globalThis.devicePixelRatio || 1, 3);
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (width !== this.width || height !== this.height || density !== this.density) {
      Object.assign(this, { width, height, density, shown: "" });
      this.canvas.width = Math.round(width * density);
      this.canvas.height = Math.round(height * density);
      this.layers.clear();
    }
    this.pen.setTransform(density, 0, 0, density, 0, 0);
    return width > 0 && height > 0;
  }

  /** Return the layer of a name, cleared where its signature is another than before. */
  layer(name, signature) {
    let layer = this.layers.get(name);
    if (layer && layer.signature === signature) return layer;
    if (!layer) {
      const canvas = document.createElement("canvas");
      canvas.width = this.canvas.width;
      canvas.height = this.canvas.height;
      layer = { canvas, pen: canvas.getContext("2d") };
      this.layers.set(name, layer);
    }
    layer.pen.setTransform(1, 0, 0, 1, 0, 0);
    layer.pen.clearRect(0, 0, layer.canvas.width, layer.canvas.height);
    layer.pen.setTransform(this.density, 0, 0, this.density, 0, 0);
    return Object.assign(layer, { signature, drawn: 0 });
  }

  /** Paint a layer where it changed, and lay it on the canvas. */
  lay(name, signature, paint) {
    const layer = this.layer(name, signature);
    if (layer.drawn === 0) {
      paint(layer.pen);
      layer.drawn = 1;
    }
    this.put(layer);
  }

  put(layer) {
    this.pen.drawImage(layer.canvas, 0, 0, this.width, this.height);
  }
}

/** Return a small canvas with the given pixels. */
function picture(pixels, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

function font(look, size = SMALL, bold = false) {
  return `${bold ? 600 : 400} ${size}px ${look.font}`;
}

function text(pen, look, words, x, y, { align = "left", size = SMALL, bold = false, colour = look.ink, base = "middle" } = {}) {
  pen.font = font(look, size, bold);
  pen.fillStyle = colour;
  pen.textAlign = align;
  pen.textBaseline = base;
  pen.fillText(words, x, y);
}

function stroke(pen, colour, width, dash = []) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.lineJoin = "round";
  pen.stroke();
  pen.setLineDash([]);
}

function segment(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
}

/** Paint horizontal grid lines with their labels, and the line below. */
function axes(pen, look, plot, heights) {
  for (const [y, label] of heights) {
    segment(pen, plot.x, Math.round(y) + 0.5, plot.x + plot.w, Math.round(y) + 0.5);
    stroke(pen, look.grid, 1);
    text(pen, look, label, plot.x - 6, y, { align: "right" });
  }
  segment(pen, plot.x, plot.y + plot.h + 0.5, plot.x + plot.w, plot.y + plot.h + 0.5);
  stroke(pen, look.stalled, 1);
}

function timeTicks(pen, look, plot, film) {
  const { steps } = film.scene;
  const last = steps[steps.length - 1];
  const even = steps.length === last + 1;
  const wanted = even ? ticks(0, last, plot.w / 70) : [0, ...decades(1, Math.log10(last), 6).flatMap((e) => [1, 2, 5].map((times) => times * 10 ** e)), last];
  let free = -Infinity;
  for (const step of wanted) {
    if (step !== Math.round(step) || step > last) continue;
    const x = plot.x + (placeOf(steps, step) / Math.max(1, film.total - 1)) * plot.w;
    if (x < free + 34) continue;
    free = x;
    segment(pen, x, plot.y + plot.h + 1, x, plot.y + plot.h + 5);
    stroke(pen, look.stalled, 1);
    const words = step < 10000 ? String(step) : `${step / 1000}k`;
    const atEdge = x > plot.x + plot.w - 14;
    text(pen, look, words, atEdge ? plot.x + plot.w + 8 : x, plot.y + plot.h + 14, { align: atEdge ? "right" : "center" });
  }
}

/** Paint a curve for every member against the step, up to where the film was seen; what lies after the moment is pale. */
function curves(sheet, film, moment, look, { name, range, logarithmic, constant, constantLabel, format }) {
  const { pen, width, height } = sheet;
  const { scene } = film;
  const plot = { x: 46, y: 8, w: width - 46 - 10, h: height - 8 - 24 };
  const [low, high] = range;
  const x = (place) => plot.x + (place / Math.max(1, film.total - 1)) * plot.w;
  const scaled = logarithmic ? (value) => (value > 0 ? Math.log10(value) : -99) : (value) => value;
  const y = (value) => plot.y + plot.h - ((scaled(value) - low) / (high - low)) * plot.h;
  const clamped = (value) => Math.min(Math.max(y(value), plot.y - 2000), plot.y + plot.h + 2000);
  const signature = [film.run, low, high, logarithmic, film.total, look.name].join();
  pen.clearRect(0, 0, width, height);
  sheet.lay("axes", signature, (under) => {
    const marks = logarithmic ? decades(low, high).map((e) => [y(10 ** e), power(e)]) : ticks(low, high, plot.h / 34).map((v) => [y(v), format(v)]);
    axes(under, look, plot, marks);
    timeTicks(under, look, plot, film);
    if (scaled(constant) <= high && scaled(constant) >= low) {
      segment(under, plot.x, y(constant), plot.x + plot.w, y(constant));
      stroke(under, look.stalled, 1.2, [2, 3]);
      const above = y(constant) - plot.y > 16;
      text(under, look, constantLabel, plot.x + plot.w, y(constant) + (above ? -8 : 9), { align: "right", colour: look.stalledInk });
    }
  });
  const trail = sheet.layer("trail", signature);
  const whole = Math.floor(film.seen);
  if (whole > trail.drawn || (trail.drawn === 0 && !trail.begun)) {
    const ink = trail.pen;
    ink.save();
    ink.beginPath();
    ink.rect(plot.x, plot.y - 2, plot.w + 2, plot.h + 4);
    ink.clip();
    const series = [];
    for (let frame = trail.drawn; frame <= whole; frame++) series.push(of(film, name, frame));
    scene.initializers.forEach((_, lane) => {
      const { colour, dash } = look.lanes[lane];
      membersOf(scene, lane).forEach((member, seed) => {
        ink.beginPath();
        let down = false;
        series.forEach((values, index) => {
          if (!Number.isFinite(values[member])) { down = false; return; }
          const place = x(trail.drawn + index);
          if (down) ink.lineTo(place, clamped(values[member]));
          else ink.moveTo(place, clamped(values[member]));
          down = true;
        });
        ink.globalAlpha = seed === 0 ? 1 : 0.5;
        ink.lineDashOffset = x(trail.drawn); // near enough to where the last piece ended
        stroke(ink, colour, seed === 0 ? 2.2 : 1.1, dash);
      });
    });
    ink.globalAlpha = 1;
    ink.restore();
    trail.drawn = Math.max(whole, 0);
    trail.begun = true;
  }
  sheet.put(trail);
  const now = x(moment.position);
  const first = of(film, name, moment.frame), second = of(film, name, moment.next);
  const values = between(first, second, moment.share);
  if (film.seen - moment.position > 0.01) {
    pen.fillStyle = look.veil;
    pen.fillRect(now, plot.y - 2, plot.x + plot.w + 3 - now, plot.h + 2);
  }
  pen.save();
  pen.beginPath();
  pen.rect(plot.x - 6, plot.y - 6, plot.w + 14, plot.h + 12);
  pen.clip();
  segment(pen, Math.round(now) + 0.5, plot.y, Math.round(now) + 0.5, plot.y + plot.h);
  stroke(pen, look.grid, 1.5);
  scene.initializers.forEach((_, lane) => {
    const { colour } = look.lanes[lane];
    for (const member of membersOf(scene, lane).reverse()) {
      const head = member % scene.seeds.length === 0;
      if (!Number.isFinite(values[member])) continue;
      if (moment.share > 0) {
        segment(pen, x(moment.frame), clamped(first[member]), now, clamped(values[member]));
        pen.globalAlpha = head ? 1 : 0.5;
        stroke(pen, colour, head ? 2.2 : 1.1);
        pen.globalAlpha = 1;
      }
      if (head || moment.position === 0) dot(pen, look, now, Math.min(Math.max(clamped(values[member]), plot.y), plot.y + plot.h), colour, head ? 4.5 : 2.5);
    }
  });
  pen.restore();
  divergence(pen, look, film, moment, plot, x);
}

function dot(pen, look, x, y, colour, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = colour;
  pen.fill();
  stroke(pen, look.page, 1.5);
}

function cross(pen, x, y, colour, size = 4.5, width = 2.5) {
  pen.beginPath();
  pen.moveTo(x - size, y - size);
  pen.lineTo(x + size, y + size);
  pen.moveTo(x - size, y + size);
  pen.lineTo(x + size, y - size);
  stroke(pen, colour, width);
}

/** Mark where members left the finite numbers, with the step of the first of each initializer. */
function divergence(pen, look, film, moment, plot, x) {
  const { scene } = film;
  let row = 0;
  scene.initializers.forEach((_, lane) => {
    const left = membersOf(scene, lane).map((member) => film.diverged[member]).filter((at) => at >= 0 && placeOf(scene.steps, at) <= Math.max(moment.position, film.seen));
    if (!left.length) return;
    const y = plot.y + 9 + 17 * row++;
    const marks = new Set(left.map((at) => Math.round(x(placeOf(scene.steps, at)))));
    for (const place of marks) cross(pen, place, y, look.diverged);
    const most = Math.max(...marks), first = Math.min(...left);
    const words = `diverged at step ${first}${left.length > 1 ? `, ${left.length} of ${scene.seeds.length}` : ""}`;
    const right = most + 10 + 7 * words.length > plot.x + plot.w;
    text(pen, look, words, right ? Math.min(...marks) - 9 : most + 10, y, { align: right ? "right" : "left" });
  });
}

/** Return places for labels at least 16 pixels apart, near where they belong. */
export function spread(places, low, high, gap = 16) {
  const order = places.map((_, index) => index).sort((a, b) => places[a] - places[b]);
  const found = new Array(places.length);
  let free = low;
  for (const index of order) free = (found[index] = Math.max(places[index], free)) + gap;
  let limit = high;
  for (const index of order.reverse()) limit = (found[index] = Math.min(found[index], limit)) - gap;
  return found;
}

/** Paint lines over the hidden layers: `lines` of { values, colour, dash, mark, label } on an axis from low to high. */
function overLayers(sheet, film, look, { lines, range, marks, guide }) {
  const { pen, width, height } = sheet;
  const { depth } = film.scene;
  const plot = { x: 46, y: 8, w: width - 46 - 108, h: height - 8 - 24 };
  const [low, high] = range;
  const x = (layer) => plot.x + ((layer + 0.5) / depth) * plot.w;
  const y = (value) => plot.y + plot.h - ((value - low) / (high - low)) * plot.h;
  pen.clearRect(0, 0, width, height);
  sheet.lay("axes", [film.run, low, high, look.name].join(), (under) => {
    axes(under, look, plot, marks.map(([value, label]) => [y(value), label]));
    const step = [1, 2, 5, 10, 20, 50].find((size) => (depth / size) * 26 <= plot.w);
    for (let layer = 1; layer <= depth; layer++) {
      if (layer !== 1 && layer % step) continue;
      if (layer !== 1 && layer !== step && layer < step * 0.6) continue;
      text(under, look, String(layer), x(layer - 1), plot.y + plot.h + 14, { align: "center" });
    }
    text(under, look, "hidden layer", plot.x + plot.w + 8, plot.y + plot.h + 14, {});
    if (guide) {
      segment(under, plot.x, y(guide.value), plot.x + plot.w, y(guide.value));
      stroke(under, look.stalled, 1.2, [2, 3]);
      text(under, look, guide.label, plot.x + 4, y(guide.value) - 8, { colour: look.stalledInk });
    }
  });
  const ends = [];
  pen.save();
  pen.beginPath();
  pen.rect(plot.x - 5, plot.y - 5, plot.w + 10, plot.h + 10);
  pen.clip();
  for (const line of lines) {
    pen.beginPath();
    let down = false, end = null;
    line.values.forEach((value, layer) => {
      if (!Number.isFinite(value)) { down = false; return; }
      end = Math.min(Math.max(y(value), plot.y - 3000), plot.y + plot.h + 3000);
      if (down) pen.lineTo(x(layer), end);
      else pen.moveTo(x(layer), end);
      down = true;
    });
    pen.globalAlpha = line.alpha ?? 1;
    stroke(pen, line.colour, line.width ?? 1.8, line.dash);
    if (depth <= 60) {
      line.values.forEach((value, layer) => {
        if (!Number.isFinite(value)) return;
        pen.beginPath();
        pen.arc(x(layer), y(value), line.open ? 3 : 3.4, 0, 2 * Math.PI);
        pen.fillStyle = line.open ? look.page : line.colour;
        pen.fill();
        stroke(pen, line.colour, 1.4);
      });
    }
    pen.globalAlpha = 1;
    const lost = end === null && (line.lost ?? (line.values.some((value) => value === -Infinity) ? "0" : "not finite"));
    ends.push({ line, end: end ?? plot.y + plot.h, lost });
  }
  pen.restore();
  spread(ends.map(({ end }) => end), plot.y + 4, plot.y + plot.h - 4).forEach((place, index) => {
    const { line, lost } = ends[index];
    const words = lost ? `${line.label}: ${lost}` : line.label;
    pen.font = font(look);
    const left = Math.min(plot.x + plot.w + 8, width - 21 - pen.measureText(words).width);
    segment(pen, left, place, left + 14, place);
    pen.globalAlpha = line.alpha ?? 1;
    stroke(pen, line.colour, 2, line.dash);
    pen.globalAlpha = 1;
    text(pen, look, words, left + 19, place, { size: SMALL });
  });
  return { plot, layerAt: (place) => Math.min(depth - 1, Math.max(0, Math.floor(((place - plot.x) / plot.w) * depth))) };
}

const LINES = [
  { quantity: 0, label: "weights", dash: [7, 3], alpha: 0.55, width: 1.4 },
  { quantity: 1, label: "activations", dash: [] },
  { quantity: 2, label: "gradients", dash: [2, 3], open: true },
];

function paintSignal(sheet, film, moment, look) {
  const { depth, initializers } = film.scene;
  const now = between(of(film, "deviation_log10", moment.frame), of(film, "deviation_log10", moment.next), moment.share);
  const range = (film.ranges.signal ??= decadeRange(film, "deviation_log10"));
  const lines = initializers.flatMap((_, lane) =>
    LINES.filter(({ quantity }) => initializers.length < 3 || quantity > 0).map(({ quantity, ...line }) => ({
      ...line,
      values: now.slice((lane * 3 + quantity) * depth, (lane * 3 + quantity + 1) * depth),
      colour: look.lanes[lane].colour,
    })),
  );
  const marks = decades(range[0], range[1]).map((exponent) => [exponent, power(exponent)]);
  return overLayers(sheet, film, look, { lines, range, marks });
}

function paintUpdates(sheet, film, moment, look) {
  const { depth, initializers } = film.scene;
  const now = between(of(film, "update_ratio_log10", moment.frame), of(film, "update_ratio_log10", moment.next), moment.share);
  const found = (film.ranges.updates ??= decadeRange(film, "update_ratio_log10"));
  const range = [Math.min(found[0], -4), Math.max(found[1], -2)];
  const lines = initializers.map((_, lane) => ({
    values: now.slice(lane * depth, (lane + 1) * depth),
    ...look.lanes[lane],
    label: look.lanes[lane].short,
    lost: moment.frame === 0 ? "none yet" : null,
  }));
  const marks = decades(range[0], range[1]).map((exponent) => [exponent, power(exponent)]);
  return overLayers(sheet, film, look, { lines, range, marks, guide: { value: -3, label: "a thousandth, a usual pace" } });
}

function paintShares(sheet, film, moment, look) {
  const { depth, initializers } = film.scene;
  const now = between(of(film, "shares", moment.frame), of(film, "shares", moment.next), moment.share);
  const lines = initializers.flatMap((_, lane) => [
    { ...look.lanes[lane], label: "saturated", dash: [2, 3], open: true, values: [...now.slice((2 * lane + 1) * depth, (2 * lane + 2) * depth)].map((v) => v / 255) },
    { ...look.lanes[lane], label: "dead", dash: [], values: [...now.slice(2 * lane * depth, (2 * lane + 1) * depth)].map((v) => v / 255) },
  ]);
  return overLayers(sheet, film, look, { lines, range: [-0.02, 1.02], marks: [0, 0.25, 0.5, 0.75, 1].map((v) => [v, `${100 * v}%`]) });
}

/** Paint histograms of one layer through time: one column a frame, the darker the more values. */
function paintHistory(quantity) {
  return (sheet, film, moment, look, chosen) => {
    const { pen, width, height } = sheet;
    const { histogram_layers: layers, bins, initializers } = film.scene;
    const place = Math.min(chosen.layer, layers.length - 1);
    const rows = 64, lanes = initializers.length;
    const plot = { x: 46, y: 8, w: width - 46 - 10, h: height - 8 - 24 };
    const x = (at) => plot.x + (at / Math.max(1, film.total - 1)) * plot.w;
    pen.clearRect(0, 0, width, height);
    const each = plot.h / lanes;
    initializers.forEach((_, lane) => {
      const at = (lane * 3 + quantity) * layers.length + place;
      const ends = (frame) => of(film, "ends", frame).subarray(2 * at, 2 * at + 2);
      const range = (film.ranges[`history ${quantity} ${place} ${lane}`] ??= historyRange(film, ends));
      const [low, high] = range;
      const top = plot.y + lane * each;
      const signature = [film.run, quantity, place, low, high, look.name, film.total].join();
      const layer = (sheet.histories ??= new Map()).get(lane);
      let strip = layer;
      if (!strip || strip.signature !== signature) {
        const canvas = document.createElement("canvas");
        canvas.width = film.total;
        canvas.height = rows;
        strip = { canvas, signature, drawn: 0 };
        sheet.histories.set(lane, strip);
      }
      const until = Math.floor(film.seen) + 1;
      const table = look.tables[lane];
      const ink = strip.canvas.getContext("2d");
      for (; strip.drawn < until; strip.drawn++) {
        const counts = of(film, "counts", strip.drawn).subarray(at * bins, (at + 1) * bins);
        const [from, to] = ends(strip.drawn);
        const column = rebinned(counts, from, to, low, high, rows);
        const pixels = new Uint8ClampedArray(4 * rows);
        for (let row = 0; row < rows; row++) {
          const value = Math.round(Math.sqrt(column[rows - 1 - row] / 255) * 255);
          for (let part = 0; part < 3; part++) pixels[4 * row + part] = table[3 * value + part];
          pixels[4 * row + 3] = value ? 255 : 0;
        }
        ink.putImageData(new ImageData(pixels, 1, rows), strip.drawn, 0);
      }
      pen.imageSmoothingEnabled = false;
      pen.drawImage(strip.canvas, plot.x, top, (plot.w * film.total) / Math.max(1, film.total - 1), each - 3);
      pen.imageSmoothingEnabled = true;
      for (const value of ticks(low, high, Math.max(1.5, each / 44))) {
        const y = top + (each - 3) * (1 - (value - low) / (high - low));
        text(pen, look, three(Number(value.toPrecision(3))), plot.x - 6, Math.min(Math.max(y, top + 5), top + each - 8), { align: "right" });
      }
    });
    const now = x(moment.position);
    pen.fillStyle = look.veil;
    if (film.seen - moment.position > 0.01) pen.fillRect(now, plot.y, plot.x + plot.w + 8 - now, plot.h);
    segment(pen, now, plot.y, now, plot.y + plot.h);
    stroke(pen, look.ink, 1);
    sheet.lay("axes", [film.run, look.name, film.total].join(), (under) => {
      axes(under, look, plot, []);
      timeTicks(under, look, plot, film);
    });
  };
}

/** Return a range that holds the histograms of nearly all frames. */
function historyRange(film, ends) {
  const lows = [], highs = [];
  for (let frame = 0; frame < film.frames.length; frame++) {
    const [low, high] = ends(frame);
    lows.push(low);
    highs.push(high);
  }
  const low = quantile(lows, 0.08), high = quantile(highs, 0.92);
  if (!(high > low)) return Number.isFinite(low) ? [low - (Math.abs(low) || 1), low + (Math.abs(low) || 1)] : [-1, 1];
  const reach = roundUp(Math.max(Math.abs(low), Math.abs(high)));
  return [low < 0 ? -reach : 0, high > 0 ? reach : 0];
}

function paintConfusion(sheet, film, moment, look) {
  const { pen, width, height } = sheet;
  pen.clearRect(0, 0, width, height);
  tables(pen, film, moment, look, { x: 0, y: 0, w: width, h: height });
}

/** Paint a table of true and predicted classes for each initializer, side by side. */
function tables(pen, film, moment, look, box) {
  const { initializers, classes, class_names: names } = film.scene;
  const truth = film.fixed.test_y.values;
  const each = box.w / initializers.length;
  initializers.forEach((_, lane) => {
    const answers = of(film, "predictions", moment.frame).subarray(lane * truth.length, (lane + 1) * truth.length);
    const counts = confusion(truth, answers, classes);
    const label = 30, below = 30;
    const cell = Math.min((each - label - 8) / classes, (box.h - below - 6) / classes);
    const wide = Math.min((each - label - 8) / classes, cell * 1.9);
    const left = box.x + lane * each + label + (each - label - 8 - wide * classes) / 2, top = box.y + 4;
    for (let row = 0; row < classes; row++) {
      let total = 0;
      for (let column = 0; column < classes; column++) total += counts[row * classes + column];
      text(pen, look, names.length ? names[row].slice(0, 4) : String(row), left - 6, top + (row + 0.5) * cell, { align: "right" });
      text(pen, look, names.length ? names[row].slice(0, 9) : String(row), left + (row + 0.5) * wide, top + classes * cell + 9, { align: "center" });
      for (let column = 0; column < classes; column++) {
        const count = counts[row * classes + column];
        const share = total ? count / total : 0;
        const shade = Math.round(150 * Math.sqrt(share));
        const [r, g, b] = row === column ? look.tables[lane].subarray(3 * shade, 3 * shade + 3) : look.wrong.map((part, index) => look.pageRgb[index] + Math.sqrt(share) * (part - look.pageRgb[index]));
        pen.fillStyle = `rgb(${r},${g},${b})`;
        pen.fillRect(left + column * wide + 0.75, top + row * cell + 0.75, wide - 1.5, cell - 1.5);
        if (count && cell > 11) {
          text(pen, look, String(count), left + (column + 0.5) * wide, top + (row + 0.5) * cell + 0.5, { align: "center", size: Math.min(15, cell * 0.62), bold: row === column });
        }
      }
    }
    text(pen, look, "predicted class, by true class", left, top + classes * cell + 23, { size: 11, colour: look.stalledInk });
  });
}

/** Paint what every neuron makes of the plane: equal neurons are equal pictures. */
function paintNeurons(sheet, film, moment, look) {
  const { pen, width, height } = sheet;
  const { neuron_layers: layers, widths, initializers } = film.scene;
  const [, , units, points] = shapeOf(film, "neurons");
  const bytes = of(film, "neurons", moment.frame);
  const side = Math.sqrt(points);
  pen.clearRect(0, 0, width, height);
  const rows = layers.length * initializers.length;
  const cell = Math.min((width - 62) / units, (height - 4) / rows);
  const tile = Math.max(4, cell - 3);
  initializers.forEach((_, lane) => {
    layers.forEach((layer, number) => {
      const row = lane * layers.length + number;
      const top = 2 + row * Math.min((height - 4) / rows, tile + 12);
      text(pen, look, `layer ${layer + 1}`, 52, top + tile / 2, { align: "right", colour: look.lanes.length > 1 ? look.lanes[lane].colour : look.ink });
      for (let unit = 0; unit < widths[layer]; unit++) {
        const start = ((lane * layers.length + number) * units + unit) * points;
        const map = picture(shaded(bytes.subarray(start, start + points), side, look.diverging), side, side);
        pen.drawImage(map, 60 + unit * cell, top, tile, tile);
      }
    });
  });
}

// What the networks answer, in the form that suits the data

function boxes(film, width, height, top = 0) {
  const count = film.scene.initializers.length;
  const upright = height >= width * 0.9 || count === 1;
  return film.scene.initializers.map((_, lane) =>
    upright
      ? { x: 0, y: top + (lane * (height - top)) / count, w: width, h: (height - top) / count - (count > 1 ? 6 : 0) }
      : { x: (lane * width) / count, y: top, w: width / count - 6, h: height - top },
  );
}

/** Name the initializer of a box where there are several; return what is left of the box. */
function titled(pen, film, look, lane, box) {
  if (film.scene.initializers.length === 1) return box;
  text(pen, look, look.lanes[lane].glyph, box.x + 2, box.y + 9, { colour: look.lanes[lane].colour });
  text(pen, look, look.lanes[lane].short, box.x + 16, box.y + 9, { bold: true });
  return { ...box, y: box.y + 20, h: box.h - 20 };
}

function squared(box) {
  const side = Math.min(box.w, box.h);
  return { x: box.x + (box.w - side) / 2, y: box.y, w: side, h: side };
}

function unknown(pen, look, box) {
  text(pen, look, "no finite prediction", box.x + box.w / 2, box.y + box.h / 2, { align: "center" });
}

/** Paint the plane as it is between two frames: the second fades in over the first. */
function paintPlane(sheet, film, moment, look, paintPixels) {
  const { pen, width, height } = sheet;
  const { points } = film.scene;
  pen.clearRect(0, 0, width, height);
  const pictures = (sheet.pictures ??= new Map());
  const pictureOf = (lane, frame) => {
    const key = [film.run, lane, frame, look.name].join();
    if (!pictures.has(key)) {
      if (pictures.size > 12) pictures.clear();
      const all = of(film, "predictions", frame);
      const size = all.length / film.scene.initializers.length;
      pictures.set(key, picture(paintPixels(all.subarray(lane * size, (lane + 1) * size)), points, points));
    }
    return pictures.get(key);
  };
  const places = boxes(film, width, height).map((box, lane) => squared(titled(pen, film, look, lane, box)));
  pen.imageSmoothingQuality = "high";
  places.forEach((box, lane) => {
    if (!of(film, "known", moment.frame)[lane]) return unknown(pen, look, box);
    pen.drawImage(pictureOf(lane, moment.frame), box.x, box.y, box.w, box.h);
    if (moment.share > 0 && of(film, "known", moment.next)[lane]) {
      pen.globalAlpha = moment.share;
      pen.drawImage(pictureOf(lane, moment.next), box.x, box.y, box.w, box.h);
      pen.globalAlpha = 1;
    }
  });
  return places;
}

function scatterOver(sheet, film, look, places, paintPoint) {
  const [x0, y0, x1, y1] = film.fixed.axis.values;
  sheet.lay("points", [film.run, look.name].join(), (pen) => {
    for (const box of places) {
      for (const [part, radius, alpha] of [["train", 1.6, 0.35], ["test", 3, 1]]) {
        const xs = film.fixed[`${part}_x`].values, ys = film.fixed[`${part}_y`].values;
        pen.globalAlpha = alpha;
        for (let index = 0; index < ys.length; index++) {
          const x = box.x + ((xs[2 * index] - x0) / (x1 - x0)) * box.w;
          const y = box.y + box.h - ((xs[2 * index + 1] - y0) / (y1 - y0)) * box.h;
          paintPoint(pen, x, y, ys[index], radius, part);
        }
      }
      pen.globalAlpha = 1;
    }
  });
}

const SHAPES = [
  (pen, x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI),
  (pen, x, y, r) => pen.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
  (pen, x, y, r) => { pen.moveTo(x, y - 1.3 * r); pen.lineTo(x + 1.3 * r, y); pen.lineTo(x, y + 1.3 * r); pen.lineTo(x - 1.3 * r, y); pen.closePath(); },
];

function paintRegions(sheet, film, moment, look) {
  const { classes, points } = film.scene;
  const places = paintPlane(sheet, film, moment, look, (planes) =>
    classes === 2 ? shaded(planes, points, look.decisions) : regions(planes, classes, points, look.hues, look.pageRgb));
  scatterOver(sheet, film, look, places, (pen, x, y, truth, radius, part) => {
    pen.beginPath();
    SHAPES[truth % 3](pen, x, y, radius);
    pen.fillStyle = part === "train" ? look.ink : look.hueNames[truth % 3];
    pen.fill();
    if (part === "test") stroke(pen, look.page, 1);
  });
}

function paintHeatMap(sheet, film, moment, look) {
  const { points, targets } = film.scene;
  const places = paintPlane(sheet, film, moment, look, (bytes) => shaded(bytes, points, look.diverging));
  scatterOver(sheet, film, look, places, (pen, x, y, target, radius, part) => {
    if (part === "train") return;
    const value = Math.round(127.5 + (127.5 * target) / targets);
    pen.beginPath();
    pen.arc(x, y, radius + 0.5, 0, 2 * Math.PI);
    pen.fillStyle = `rgb(${look.diverging.slice(3 * value, 3 * value + 3).join()})`;
    pen.fill();
    stroke(pen, look.ink, 1);
  });
}

/** Paint test digits with what the network reads; wrong ones in another hue, with the reading beside the truth. */
function paintBoard(sheet, film, moment, look) {
  const { pen, width, height } = sheet;
  const truth = film.fixed.test_y.values, pixels = film.fixed.pixels.values;
  const count = pixels.length / 64;
  pen.clearRect(0, 0, width, height);
  const cells = boxes(film, width, height).map((box, lane) => titled(pen, film, look, lane, box));
  const glyphs = (look.digits ??= new Map());
  const digit = (number, right) => {
    const key = `${film.run} ${number} ${right}`;
    if (!glyphs.has(key)) {
      const table = right ? look.sequential : look.wrongTable;
      const bytes = new Uint8Array(64);
      for (let row = 0; row < 8; row++) for (let column = 0; column < 8; column++) bytes[(7 - row) * 8 + column] = Math.min(255, pixels[number * 64 + row * 8 + column] * 15.9);
      glyphs.set(key, picture(shaded(bytes, 8, table), 8, 8));
    }
    return glyphs.get(key);
  };
  cells.forEach((box, lane) => {
    const answers = of(film, "predictions", moment.frame).subarray(lane * truth.length, (lane + 1) * truth.length);
    const columns = Math.max(4, Math.min(16, Math.round(Math.sqrt((count * box.w) / (box.h * 0.78)))));
    const cell = Math.min(box.w / columns, 64);
    const tall = cell + 12;
    const rows = Math.min(Math.ceil(count / columns), Math.floor(box.h / tall));
    const size = cell - 8;
    pen.imageSmoothingEnabled = false;
    for (let number = 0; number < Math.min(count, rows * columns); number++) {
      const x = box.x + (number % columns) * (box.w / columns) + (box.w / columns - size) / 2, y = box.y + Math.floor(number / columns) * tall;
      const read = answers[number], right = read === truth[number];
      pen.drawImage(digit(number, right), x, y, size, size);
      const words = read === 255 ? "?" : right || cell < 38 ? String(read) : `${read} ≠ ${truth[number]}`;
      text(pen, look, words, x + size / 2, y + size + 8, { align: "center", size: 11.5, bold: !right, colour: right ? look.ink : look.wrongInk });
    }
    pen.imageSmoothingEnabled = true;
  });
}

function targetRange(film) {
  const numbers = [...film.fixed.test_y.values, ...(film.fixed.train_y?.values ?? [])];
  const low = Math.min(...numbers), high = Math.max(...numbers);
  const margin = 0.12 * (high - low || 1);
  return [low - margin, high + margin];
}

function paintCurves(sheet, film, moment, look) {
  const { pen, width, height } = sheet;
  const plot = { x: 40, y: 8, w: width - 50, h: height - 8 - 24 };
  const [low, high] = (film.ranges.targets ??= targetRange(film));
  const [first, last] = film.fixed.axis.values;
  const x = (value) => plot.x + ((value - first) / (last - first)) * plot.w;
  const y = (value) => plot.y + plot.h - ((value - low) / (high - low)) * plot.h;
  pen.clearRect(0, 0, width, height);
  sheet.lay("axes", [film.run, look.name].join(), (under) => {
    axes(under, look, plot, ticks(low, high, plot.h / 44).map((value) => [y(value), three(value)]));
    for (const [part, colour, alpha] of [["train", look.stalled, 0.55], ["test", look.ink, 0.8]]) {
      under.globalAlpha = alpha;
      under.fillStyle = colour;
      film.fixed[`${part}_x`].values.forEach((value, index) => {
        under.beginPath();
        under.arc(x(value), y(film.fixed[`${part}_y`].values[index]), 2, 0, 2 * Math.PI);
        under.fill();
      });
    }
    under.globalAlpha = 1;
  });
  const lines = between(of(film, "predictions", moment.frame), of(film, "predictions", moment.next), moment.share);
  pen.save();
  pen.beginPath();
  pen.rect(plot.x, plot.y, plot.w, plot.h);
  pen.clip();
  const count = lines.length / film.scene.initializers.length;
  film.scene.initializers.forEach((_, lane) => {
    pen.beginPath();
    for (let index = 0; index < count; index++) {
      const height = Math.min(Math.max(y(lines[lane * count + index]), -2000), 4000);
      const place = plot.x + (index / (count - 1)) * plot.w;
      if (index) pen.lineTo(place, height);
      else pen.moveTo(place, height);
    }
    stroke(pen, look.lanes[lane].colour, 2.6, look.lanes[lane].dash);
  });
  pen.restore();
}

function paintScatter(sheet, film, moment, look) {
  const { pen, width, height } = sheet;
  const [low, high] = (film.ranges.targets ??= targetRange(film));
  const truth = film.fixed.test_y.values;
  const now = between(of(film, "predictions", moment.frame), of(film, "predictions", moment.next), moment.share);
  pen.clearRect(0, 0, width, height);
  boxes(film, width, height).forEach((outer, lane) => {
    const box = titled(pen, film, look, lane, outer);
    const plot = { x: box.x + 40, y: box.y + 6, w: box.w - 50, h: box.h - 32 };
    const x = (value) => plot.x + ((value - low) / (high - low)) * plot.w;
    const y = (value) => plot.y + plot.h - ((Math.min(Math.max(value, low), high) - low) / (high - low)) * plot.h;
    axes(pen, look, plot, ticks(low, high, plot.h / 44).map((value) => [y(value), three(value)]));
    text(pen, look, "true target", plot.x + plot.w, plot.y + plot.h + 14, { align: "right" });
    segment(pen, x(low), y(low), x(high), y(high));
    stroke(pen, look.stalled, 1.2, [2, 3]);
    truth.forEach((target, index) => {
      const value = now[lane * truth.length + index];
      if (Number.isFinite(value)) dot(pen, look, x(target), y(value), look.lanes[lane].colour, 4);
    });
  });
}

// ---------------------------------------------------------------- player

const DATA_VIEWS = {
  regions: { title: "Decisions, with test points", paint: paintRegions, smooth: true },
  heat_map: { title: "Prediction, with test points by target", paint: paintHeatMap, smooth: true },
  board: { title: "Test digits, and what the network reads", paint: paintBoard },
  confusion: { title: "True and predicted classes of the test part", paint: paintConfusion },
  curves: { title: "Prediction over the input, and the points", paint: paintCurves, smooth: true },
  scatter: { title: "Predicted against true target, test part", paint: paintScatter, smooth: true },
};

/** Views of which one is chosen: by name, with the label of the pill and the title above. */
const CHOSEN = {
  signal: { label: "By layer", title: "Standard deviation by hidden layer", paint: paintSignal, smooth: true },
  activations: { label: "Activations", title: "Activations through time", paint: paintHistory(1), smooth: true, byLayer: true },
  gradients: { label: "Gradients", title: "Gradients through time", paint: paintHistory(2), smooth: true, byLayer: true },
  weights: { label: "Weights", title: "Weights through time", paint: paintHistory(0), smooth: true, byLayer: true },
  updates: { label: "Updates", title: "Size of the last update over that of the weights", paint: paintUpdates, smooth: true },
  shares: { label: "Dead units", title: "Dead units, and saturated ones", paint: paintShares, smooth: true },
  confusion: { label: "Confusion", title: "True and predicted classes of the test part", paint: paintConfusion, fits: (scene) => scene.view === "board" },
  neurons: { label: "Neurons", title: "What each neuron makes of the plane", paint: paintNeurons, fits: (scene) => scene.neuron_layers.length > 0 },
};

// Shared by all players of the page, and kept while its scripts come and go.
const HOUSE = (globalThis[Symbol.for("winit.player")] ??= {
  films: new Map(), asked: -1e9, hand: -1e9, roots: new Set(),
  wishes: { plays: null, speed: "1", logarithmic: false, view: "signal", layer: null },
});

const PLAYERS = new WeakMap();

/** Return the film of a run, a new one where there is none; the oldest ones are let go. */
function filmOf(run) {
  const film = HOUSE.films.get(run) ?? newFilm(run);
  HOUSE.films.delete(run);
  HOUSE.films.set(run, film);
  for (const old of HOUSE.films.keys()) {
    if (HOUSE.films.size <= FILMS) break;
    HOUSE.films.delete(old);
  }
  return film;
}

function watchHands() {
  const elsewhere = (event) => {
    if (!event.composedPath().some((node) => HOUSE.roots.has(node))) HOUSE.hand = performance.now();
  };
  for (const kind of ["pointerdown", "keydown"]) document.addEventListener(kind, elsewhere, { capture: true, passive: true });
}

/** Return the colours of the theme as it is now; `name` is another whenever one of them is. */
function lookOf(host, scene) {
  const style = getComputedStyle(host);
  const value = (name) => style.getPropertyValue(name).trim();
  const list = (name) => value(name).split(/,(?![^(]*\))/).map((colour) => colour.trim());
  const page = value("--st-background-color"), ink = value("--st-text-color");
  const categorical = list("--st-chart-categorical-colors"), diverging = list("--st-chart-diverging-colors");
  const sequential = list("--st-chart-sequential-colors");
  const pageRgb = rgb(page);
  const stalled = scene.stalled;
  const wrong = rgb(diverging[8]);
  const lanes = scene.lanes.map(({ slot, dash, ...lane }) => ({ ...lane, dash, colour: categorical[slot] }));
  return {
    page, ink, pageRgb, lanes, stalled, wrong,
    font: value("--st-font") || "sans-serif",
    grid: `${stalled}38`,
    stalledInk: value("--st-gray-text-color"),
    veil: `rgba(${pageRgb.join()},0.72)`,
    diverged: categorical[9],
    hueNames: [diverging[1], diverging[8], ink],
    hues: [diverging[1], diverging[8], ink].map(rgb),
    diverging: ramp(diverging.map(rgb)),
    decisions: ramp(diverging.slice(1, 9).map((colour) => rgb(colour).map((part, index) => 0.7 * part + 0.3 * pageRgb[index]))),
    sequential: ramp([pageRgb, ...sequential.slice(1).map(rgb)]),
    tables: lanes.map(({ colour }) => ramp([pageRgb, rgb(colour)])),
    wrongTable: ramp([pageRgb, wrong, rgb(diverging[9])]),
    wrongInk: diverging[9],
    name: [page, ink, ...categorical].join(),
  };
}

class Player {
  constructor(root, host) {
    Object.assign(this, { root, host, film: null, position: 0, playing: false, goal: null, moment: null, look: null });
    Object.assign(this, { serial: null, inFlight: false, askedAt: 0, worked: 0, drawn: 0, last: 0, isLooping: false, pace: 0, pointer: null, saidAt: 0, writtenAt: 0 });
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.parts = Object.fromEntries([...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    this.sheets = Object.fromEntries(["loss", "score", "data", "chosen"].map((name) => [name, new Sheet(this.parts[name])]));
    HOUSE.roots.add(root);
    this.listen();
    this.observer = new ResizeObserver(() => {
      for (const sheet of Object.values(this.sheets)) sheet.isStale = true;
      this.refresh();
    });
    for (const sheet of Object.values(this.sheets)) this.observer.observe(sheet.canvas);
    this.sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        Object.values(this.sheets).find((sheet) => sheet.canvas === target).isHidden = !isIntersecting;
      }
      this.refresh();
    });
    for (const sheet of Object.values(this.sheets)) this.sight.observe(sheet.canvas);
  }

  leave() {
    this.observer.disconnect();
    this.sight.disconnect();
    HOUSE.roots.delete(this.root);
    if (this.film) this.film.cursor = this.position;
  }

  // What comes from the server

  receive({ data, setTriggerValue }) {
    this.send = setTriggerValue;
    if (!data) return;
    const packet = decode(data);
    const { header } = packet;
    if (header.serial !== this.serial) this.inFlight = false;
    this.serial = header.serial;
    this.worked = header.seconds;
    const isOther = !this.film || this.film.run !== header.run;
    if (isOther) this.open(header.run);
    append(this.film, packet);
    if (!this.film.scene) this.film.total = 0;
    if (isOther || header.moment !== this.moment) {
      this.moment = header.moment;
      if (header.moment !== null) this.go(header.moment);
    }
    if (this.film.scene) {
      const look = lookOf(this.host, this.film.scene);
      if (isOther || look.name !== this.look?.name) {
        this.look = look;
        this.arrange();
      }
    }
    this.refresh();
  }

  /** Show another run: from its start, or where it was left. */
  open(run) {
    if (this.film) this.film.cursor = this.position;
    this.film = filmOf(run);
    this.position = this.film.cursor;
    this.goal = null;
    this.inFlight = false;
    this.arranged = false;
    if (HOUSE.wishes.plays === null) HOUSE.wishes.plays = !this.calm.matches;
    this.playing = HOUSE.wishes.plays && !(isComplete(this.film) && this.position >= this.film.total - 1);
  }

  /** Ask for frames where they run low: one request at a time, and none while a hand moves elsewhere on the page. */
  ask(now) {
    const { film } = this;
    const rate = rateOf(HOUSE.wishes.speed, this.left());
    const count = wanted(film, this.position, this.playing, rate, this.goal);
    if (!count || (this.inFlight && now - this.askedAt < RETRY)) return;
    if (now - HOUSE.asked < GATE || now - HOUSE.hand < QUIET) return;
    if (this.goal === null && now - this.askedAt < rest(HOUSE.wishes.speed, this.worked)) return;
    HOUSE.asked = this.askedAt = now;
    this.inFlight = true;
    this.send("want", { run: film.run, have: film.frames.length, n: count });
  }

  left() {
    return Math.max(0, this.film.frames.length - 1 - this.position);
  }

  // The clock

  refresh() {
    if (this.isLooping) return;
    this.isLooping = true;
    requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.isLooping = false;
    if (!this.root.isConnected || !this.film) return;
    const seconds = (now - this.last) / 1000;
    this.last = now;
    this.pace = paced(this.pace, seconds);
    const made = this.film.frames.length;
    if (made > 0 && this.film.scene) {
      if (this.goal !== null) {
        this.position = Math.min(this.goal, made - 1);
        if (made > this.goal) this.goal = null;
      } else if (this.playing) {
        const complete = isComplete(this.film);
        this.position = moved(this.position, seconds, rateOf(HOUSE.wishes.speed, this.left()), made - 1, complete);
        if (complete && this.position >= this.film.total - 1) this.playing = false;
      }
      this.film.seen = Math.max(this.film.seen, this.position);
      if (!this.arranged) this.arrange();
      this.paint(now);
    }
    this.ask(now);
    if (this.playing || this.goal !== null || !made) this.refresh();
  }

  momentNow() {
    const last = this.film.frames.length - 1;
    const position = Math.min(this.position, last);
    const frame = Math.floor(position);
    const share = this.calm.matches ? 0 : position - frame;
    return { position: frame + share, frame, next: Math.min(frame + 1, last), share };
  }

  // Hands

  play() {
    if (isComplete(this.film) && this.position >= this.film.total - 1) this.position = 0;
    this.goal = null;
    this.playing = HOUSE.wishes.plays = true;
    this.last = performance.now();
    this.refresh();
  }

  pause() {
    this.playing = HOUSE.wishes.plays = false;
    this.goal = null;
    this.position = Math.floor(this.position);
    this.show();
  }

  /** Go to a frame and stay there; where it is not here yet, train up to it. */
  go(frame) {
    this.playing = HOUSE.wishes.plays = false;
    const last = (this.film.total || frame + 1) - 1;
    const target = Math.min(Math.max(0, frame), last);
    this.goal = target < this.film.frames.length ? null : target;
    this.position = Math.min(target, Math.max(0, this.film.frames.length - 1));
    this.show();
  }

  /** Paint at once, not with the next picture of the browser: what a hand moves follows it. */
  show() {
    if (this.film.scene && this.film.frames.length && this.arranged) {
      this.film.seen = Math.max(this.film.seen, this.position);
      this.paint(performance.now());
    }
    this.refresh();
  }

  /** Drag to a frame: among those that are here, so that nothing is sent. */
  scrub(frame) {
    this.go(Math.min(Math.max(0, Math.round(frame)), this.film.frames.length - 1));
  }

  listen() {
    const { root, parts } = this;
    const press = (name, work) => parts[name].addEventListener("click", work);
    press("play", () => (this.playing ? this.pause() : this.play()));
    press("back", () => this.go(Math.ceil(this.position) - 1));
    press("forward", () => this.go(Math.floor(this.position) + 1));
    press("reset", () => this.go(0));
    press("study", () => this.tell("study"));
    press("link", () => this.tell("link"));
    press("csv", () => save(new Blob([history(this.film)], { type: "text/csv" }), "winit-train.csv"));
    press("png", () => this.photograph());
    press("full", () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen?.()));
    press("log", () => {
      HOUSE.wishes.logarithmic = !HOUSE.wishes.logarithmic;
      this.arrange();
    });
    parts.speed.addEventListener("change", () => { HOUSE.wishes.speed = parts.speed.value; });
    parts.layer.addEventListener("change", () => { HOUSE.wishes.layer = Number(parts.layer.value); this.refresh(); });
    parts.step.addEventListener("change", () => this.jump(Number(parts.step.value)));
    parts.time.addEventListener("input", () => this.scrub(Number(parts.time.value)));
    parts.pills.addEventListener("click", (event) => {
      const pill = event.target.closest("button");
      if (pill) { HOUSE.wishes.view = pill.value; this.arrange(); }
    });
    root.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["loss", "score", "chosen"]) this.point(name);
    this.point("data");
  }

  /** Go to the recorded step nearest to one that was typed, and say which it is. */
  jump(step) {
    if (!this.film.scene || !Number.isFinite(step)) return;
    const frame = nearest(this.film.scene.steps, step);
    this.go(frame);
    const found = this.film.scene.steps[frame];
    if (found !== step) this.say(`Step ${step} is not recorded: ${found} is the nearest.`);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.film) return;
    const tag = event.target.tagName;
    if (tag === "SELECT" || (tag === "INPUT" && event.target.type !== "range")) { event.stopPropagation(); return; }
    const keys = {
      " ": () => (this.playing ? this.pause() : this.play()),
      ArrowRight: () => this.go(Math.floor(this.position) + 1),
      ArrowLeft: () => this.go(Math.ceil(this.position) - 1),
      Home: () => this.go(0),
      End: () => this.scrub(this.film.frames.length - 1),
    };
    const work = keys[event.key];
    event.stopPropagation();
    if (!work || (event.key === " " && tag === "BUTTON")) return; // a button's own key
    event.preventDefault();
    work();
  }

  /** Let a pointer seek on what is drawn against time, and show exact numbers under it. */
  point(name) {
    const canvas = this.parts[name];
    const isTime = () => name === "loss" || name === "score" || (name === "chosen" && CHOSEN[this.view()].byLayer);
    const seek = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - 46) / (box.width - 56);
      this.scrub(share * (this.film.total - 1));
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!isTime() || !this.film?.frames.length) return;
      canvas.setPointerCapture(event.pointerId);
      seek(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.film?.frames.length) return;
      if (event.buttons && isTime()) seek(event);
      const box = canvas.getBoundingClientRect();
      this.pointer = { name, x: event.clientX - box.left, y: event.clientY - box.top };
      this.refresh();
    });
    for (const kind of ["pointerleave", "pointercancel"]) {
      canvas.addEventListener(kind, () => { this.pointer = null; this.parts.tip.hidden = true; });
    }
  }

  /** Tell the page which step is in view: to study it, or to put it into the address. */
  tell(act) {
    if (!this.film?.frames.length) return;
    this.pause();
    const frame = Math.floor(this.position);
    this.moment = frame;
    this.send("moment", { run: this.film.run, step: this.film.scene.steps[frame], act });
    if (act === "link") this.copy(`step=${this.film.scene.steps[frame]}`, performance.now());
    else this.say("The figures of this step are being made below.");
  }

  /** Copy the address as soon as it names the step. */
  copy(wanted, since) {
    if (new URLSearchParams(location.search).get("step") === wanted.slice(5)) {
      const done = (words) => this.say(words);
      const plain = "The address names this step.";
      if (!navigator.clipboard) done(plain);
      else navigator.clipboard.writeText(location.href).then(() => done("The link to this moment is copied."), () => done(plain));
    } else if (performance.now() - since < 8000) setTimeout(() => this.copy(wanted, since), 100);
  }

  /** Say something once, instead of the status. */
  say(words) {
    this.parts.status.textContent = this.parts.note.textContent = words;
    this.saidAt = performance.now();
    clearTimeout(this.forget);
    this.forget = setTimeout(() => { this.parts.note.textContent = ""; }, 5000);
  }

  // Drawing

  view() {
    const { view } = HOUSE.wishes;
    return CHOSEN[view].fits && !CHOSEN[view].fits(this.film.scene) ? "signal" : view;
  }

  /** Bring what seldom changes up to date: titles, pills, ranges of the hands. */
  arrange() {
    const { film, parts } = this;
    const { scene } = film;
    if (!scene || !this.look) return;
    this.arranged = true;
    const name = this.view();
    parts.pills.replaceChildren(
      ...Object.entries(CHOSEN)
        .filter(([, { fits }]) => !fits || fits(scene))
        .map(([value, { label }]) => {
          const pill = document.createElement("button");
          Object.assign(pill, { type: "button", value, textContent: label });
          pill.setAttribute("aria-pressed", String(value === name));
          return pill;
        }),
    );
    const several = scene.seeds.length > 1;
    parts.lossTitle.textContent = "Training loss";
    parts.scoreTitle.textContent = `Test ${scene.score}`;
    parts.dataTitle.textContent = DATA_VIEWS[scene.view].title + (scene.mean && several ? `, mean of ${scene.seeds.length} runs` : "");
    parts.chosenTitle.textContent = CHOSEN[name].title;
    parts.layerChoice.hidden = !CHOSEN[name].byLayer;
    const layers = scene.histogram_layers;
    if (HOUSE.wishes.layer === null || HOUSE.wishes.layer >= layers.length) HOUSE.wishes.layer = layers.length >> 1;
    parts.layer.replaceChildren(...layers.map((layer, place) => {
      const option = document.createElement("option");
      return Object.assign(option, { value: place, textContent: layer + 1, selected: place === HOUSE.wishes.layer });
    }));
    parts.log.setAttribute("aria-pressed", String(HOUSE.wishes.logarithmic));
    parts.speed.value = HOUSE.wishes.speed;
    parts.time.max = film.total - 1;
    parts.step.max = scene.steps[scene.steps.length - 1];
    parts.of.textContent = `of ${scene.steps[scene.steps.length - 1].toLocaleString("en")}`;
    const runs = several ? `${scene.seeds.length} runs each, seeds ${scene.seeds[0]} and on; the first is drawn heavier` : `1 run, seed ${scene.seeds[0]}`;
    parts.caption.textContent = `${runs}, and its layers are shown. ${scene.caption}`;
    for (const sheet of Object.values(this.sheets)) { sheet.shown = ""; sheet.layers.clear(); }
    this.written = this.marked = "";
    this.refresh();
  }

  paint(now) {
    const { film, look } = this;
    const { scene } = film;
    const moment = this.momentNow();
    const name = this.view();
    const painted = {
      loss: [true, (sheet) => this.curve(sheet, moment, true)],
      score: [true, (sheet) => this.curve(sheet, moment, false)],
      data: [DATA_VIEWS[scene.view].smooth, (sheet) => DATA_VIEWS[scene.view].paint(sheet, film, moment, look)],
      chosen: [CHOSEN[name].smooth, (sheet) => CHOSEN[name].paint(sheet, film, moment, look, HOUSE.wishes)],
    };
    const place = `${film.run} ${moment.position}`;
    const isAnother = place !== this.place;
    // Where nothing moves, nothing is left behind.
    const resting = this.playing && isAnother && this.pace > SLOW ? HALVES[this.drawn % 2] : [];
    for (const [part, [smooth, work]] of Object.entries(painted)) {
      const sheet = this.sheets[part];
      if (sheet.isHidden || resting.includes(part) || !sheet.fit()) continue;
      const made = part === "data" ? 0 : film.frames.length;
      const key = [film.run, smooth ? moment.position : moment.frame, made, look.name, name, HOUSE.wishes.layer].join();
      if (sheet.shown === key) continue;
      work(sheet);
      sheet.shown = key;
    }
    if (isAnother) this.drawn++; // pictures of another moment
    this.place = place;
    this.mark(moment);
    this.write(moment, now);
    this.hover(moment);
  }

  curve(sheet, moment, isLoss) {
    const { film, look } = this;
    const { logarithmic } = HOUSE.wishes;
    const { scene } = film;
    const range = isLoss ? (film.ranges[`loss ${logarithmic}`] ??= lossRange(film, logarithmic)) : (film.ranges.score ??= scoreRange(film));
    curves(sheet, film, moment, look, isLoss
      ? { name: "loss", range, logarithmic, constant: scene.constant_loss, constantLabel: "best constant", format: three }
      : { name: "test_accuracy", range, logarithmic: false, constant: scene.constant_score, constantLabel: scene.constant_label, format: (v) => (scene.is_share ? `${Math.round(100 * v)}%` : three(v)) });
  }

  /** Write the attributes that tests and assistive technology read. */
  mark({ frame }) {
    const { film, root, parts } = this;
    const { scene } = film;
    const data = root.dataset;
    data.drawn = this.drawn;
    const isTyped = this.root.activeElement === parts.step || this.root.getRootNode().activeElement === parts.step;
    const key = [film.run, film.frames.length, film.total, frame, this.position === 0, this.playing, isTyped].join();
    if (key === this.marked) return; // what is written is laid out and painted again, even where it is the same
    this.marked = key;
    data.step = scene.steps[frame];
    data.frame = frame;
    data.made = film.frames.length;
    data.loss = of(film, "loss", frame)[0];
    data.status = scene.statuses[of(film, "statuses", frame)[0]];
    data.playing = this.playing;
    if (parts.time.value !== String(frame)) parts.time.value = frame;
    parts.time.setAttribute("aria-valuetext", `step ${scene.steps[frame]}`);
    const last = Math.max(1, film.total - 1);
    parts.time.style.setProperty("--here", `${(100 * frame) / last}%`);
    parts.time.style.setProperty("--made", `${(100 * (film.frames.length - 1)) / last}%`);
    const label = this.playing ? "Pause" : "Play";
    if (parts.play.getAttribute("aria-label") !== label) parts.play.setAttribute("aria-label", label);
    parts.back.disabled = frame === 0 && this.position === 0;
    parts.forward.disabled = frame === film.total - 1;
    if (!isTyped) parts.step.value = scene.steps[frame];
  }

  /** Write the sentence of the frame a few times a second, and the status for those who hear it every two seconds. */
  write({ frame }, now) {
    const { film, parts } = this;
    const waits = this.goal !== null;
    const key = waits ? `${this.goal} ${film.at}` : `${film.run} ${frame}`;
    if (this.written === key || (this.playing && now - this.writtenAt < 220)) return;
    this.written = key;
    this.writtenAt = now;
    const pieces = waits
      ? [{ text: `Training up to step ${film.scene.steps[this.goal]}: at step ${film.at}.` }]
      : answer(film, frame);
    parts.answer.replaceChildren(...pieces.flatMap((piece) => this.piece(piece)));
    if (now - this.saidAt > 2000) {
      this.saidAt = now;
      parts.status.textContent = plainText(film, pieces);
    } else {
      clearTimeout(this.later);
      this.later = setTimeout(() => { this.saidAt = performance.now(); parts.status.textContent = parts.answer.textContent; }, 2000);
    }
  }

  piece({ text: words, lane }) {
    if (lane === undefined) return [document.createTextNode(words)];
    const glyph = document.createElement("span"), name = document.createElement("b");
    glyph.textContent = `${this.look.lanes[lane].glyph} `;
    glyph.style.color = this.look.lanes[lane].colour;
    glyph.setAttribute("aria-hidden", "true");
    name.textContent = this.look.lanes[lane].label;
    return [glyph, name];
  }

  /** Show the exact numbers under the pointer. */
  hover(moment) {
    const { tip } = this.parts;
    const words = this.pointer && this.under(this.pointer, moment);
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words.join("\n");
    const canvas = this.parts[this.pointer.name].getBoundingClientRect(), box = this.root.getBoundingClientRect();
    const x = canvas.left - box.left + this.pointer.x, y = canvas.top - box.top + this.pointer.y;
    const isRight = x + tip.offsetWidth + 24 > box.width;
    tip.style.transform = `translate(${isRight ? x - tip.offsetWidth - 12 : x + 14}px, ${Math.max(0, y - tip.offsetHeight - 8)}px)`;
  }

  under({ name, x }, moment) {
    const { film } = this;
    const { scene } = film;
    const { width } = this.sheets[name];
    if (name === "loss" || name === "score") {
      const frame = Math.round(((x - 46) / (width - 56)) * (film.total - 1));
      if (frame < 0 || frame > Math.floor(film.seen)) return null;
      const what = name === "loss" ? "loss" : "test_accuracy";
      const show = name === "loss" ? three : (value) => score(value, scene.is_share);
      return [`step ${scene.steps[frame]}`, ...scene.lanes.map(({ short }, lane) => {
        const numbers = membersOf(scene, lane).map((member) => of(film, what, frame)[member]).filter(Number.isFinite);
        if (!numbers.length) return `${short}: diverged`;
        const rest = numbers.length > 1 ? `, ${show(Math.min(...numbers))} to ${show(Math.max(...numbers))}` : "";
        return `${short}: ${show(median(numbers))}${rest}`;
      })];
    }
    const chosen = this.view();
    if (name !== "chosen" || !["signal", "updates", "shares"].includes(chosen)) return null;
    const layer = Math.floor(((x - 46) / (width - 154)) * scene.depth);
    if (layer < 0 || layer >= scene.depth) return null;
    const power10 = (value) => (Number.isFinite(value) ? three(10 ** value) : Number.isNaN(value) ? "not measured" : "0");
    return [`layer ${layer + 1}, step ${scene.steps[moment.frame]}`, ...scene.lanes.flatMap(({ short }, lane) => {
      const prefix = scene.lanes.length > 1 ? `${short}: ` : "";
      if (chosen === "signal") {
        return LINES.map(({ quantity, label }) => `${prefix}${label} ${power10(of(film, "deviation_log10", moment.frame)[(lane * 3 + quantity) * scene.depth + layer])}`);
      }
      if (chosen === "updates") return [`${prefix}${power10(of(film, "update_ratio_log10", moment.frame)[lane * scene.depth + layer])} of the weights`];
      const share = (row) => `${Math.round((100 * of(film, "shares", moment.frame)[(2 * lane + row) * scene.depth + layer]) / 255)}%`;
      return [`${prefix}dead ${share(0)}, saturated ${share(1)}`];
    })];
  }

  /** Save what is in view as one picture. */
  photograph() {
    if (!this.look) return;
    const box = this.root.getBoundingClientRect();
    const scale = 2;
    const figures = [...this.root.querySelectorAll("figure")];
    const bottom = Math.max(...figures.map((figure) => figure.getBoundingClientRect().bottom)) - box.top;
    const canvas = document.createElement("canvas");
    canvas.width = box.width * scale;
    canvas.height = (bottom + 12) * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.fillStyle = this.look.page;
    pen.fillRect(0, 0, box.width, bottom + 12);
    text(pen, this.look, plainText(this.film, answer(this.film, this.momentNow().frame)), 4, 24, { size: 16 });
    for (const figure of figures) {
      const title = figure.querySelector("[data-part$=Title]"), sheet = figure.querySelector("canvas");
      const place = title.getBoundingClientRect(), plot = sheet.getBoundingClientRect();
      text(pen, this.look, title.textContent, place.left - box.left, place.top - box.top + place.height / 2, { size: 13 });
      pen.drawImage(sheet, plot.left - box.left, plot.top - box.top, plot.width, plot.height);
    }
    canvas.toBlob((blob) => save(blob, `winit-train-step-${this.root.dataset.step}.png`));
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Called with the same root for new data and for a new theme. */
export default function mount(component) {
  const { parentElement } = component;
  const root = parentElement.querySelector(".player");
  let player = PLAYERS.get(root);
  if (!player) {
    if (!HOUSE.isWatching) {
      HOUSE.isWatching = true;
      watchHands();
    }
    player = new Player(root, parentElement.host ?? parentElement);
    PLAYERS.set(root, player);
  }
  player.receive(component);
  // Also called when a newer call has overtaken this one: then the root still stands.
  return () => {
    if (!root.isConnected) player.leave();
  };
}
