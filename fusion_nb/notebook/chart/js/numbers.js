// Curves of a run, as they grow. Python sends rows of numbers; this file keeps them by column, and
// draws them on canvases, at most once in a frame. It needs no other file and no network.

const BLOCK = 64;
const PARTIES = 8;
// Colours that are told apart at a glance; curves in the others are dashed where many are compared.
const SOLID = 5;
const MARGIN = { left: 46, right: 12, top: 8, bottom: 24 };
const DASHES = { central: [7, 3, 2, 3], alone: [2, 3], personal: [6, 3] };
const SIGNS = { ">=": "≥", "<=": "≤" };
const TIP_ROWS = 16;
// Labels of changes stand in rows, where they would lie over each other in one.
const CHANGE_ROWS = 3;
const RUN_DASH = [3, 2];
const RUN_DASHES = [[], [7, 3], [2, 3], [7, 3, 2, 3]];

// ---------------------------------------------------------------------------------------- numbers

/** Numbers that grow at the end, with the extremes of each block of them. */
class Column {
  constructor(values = []) {
    this.length = 0;
    this.last = -1; // where the last number that is one stands
    this.values = new Float32Array(256);
    this.low = new Float32Array(8);
    this.high = new Float32Array(8);
    for (const value of values) this.push(value);
  }

  push(value) {
    const i = this.length++, block = i >> 6;
    if (i >= this.values.length) this.values = grown(this.values);
    if (block >= this.low.length) {
      this.low = grown(this.low);
      this.high = grown(this.high);
    }
    if (!(i & (BLOCK - 1))) {
      this.low[block] = Infinity;
      this.high[block] = -Infinity;
    }
    this.values[i] = value;
    if (!Number.isFinite(value)) return;
    this.last = i;
    if (value < this.low[block]) this.low[block] = value;
    if (value > this.high[block]) this.high[block] = value;
  }

  /** Put a number at an index, in place of another one or after the last. */
  set(i, value) {
    while (this.length < i) this.push(NaN);
    if (i === this.length) {
      this.push(value);
      return;
    }
    this.values[i] = value;
    if (Number.isFinite(value) && i > this.last) this.last = i;
    const block = i >> 6, end = Math.min(this.length, (block + 1) * BLOCK);
    this.low[block] = Infinity;
    this.high[block] = -Infinity;
    for (let k = block * BLOCK; k < end; k++) {
      const other = this.values[k];
      if (!Number.isFinite(other)) continue;
      if (other < this.low[block]) this.low[block] = other;
      if (other > this.high[block]) this.high[block] = other;
    }
  }

  /** The index of the last number of at most x, or -1. */
  before(x) {
    const i = this.find(x);
    if (i >= this.length || this.values[i] > x) return i - 1;
    let last = i; // equal places: the last of them
    while (last + 1 < this.length && this.values[last + 1] === x) last++;
    return last;
  }

  /** The least and the largest number from index a to before b; of nothing, [Infinity, -Infinity]. */
  extremes(a, b) {
    let low = Infinity, high = -Infinity;
    for (let i = a; i < b;) {
      if (!(i & (BLOCK - 1)) && i + BLOCK <= b) {
        const block = i >> 6;
        if (this.low[block] < low) low = this.low[block];
        if (this.high[block] > high) high = this.high[block];
        i += BLOCK;
      } else {
        const value = this.values[i++];
        if (value < low && value > -Infinity) low = value;
        if (value > high && value < Infinity) high = value;
      }
    }
    return [low, high];
  }

  /** The index of the first number of at least x; the numbers must not fall. */
  find(x) {
    let a = 0, b = this.length;
    while (a < b) {
      const middle = (a + b) >> 1;
      if (this.values[middle] < x) a = middle + 1;
      else b = middle;
    }
    return a;
  }
}

function grown(array) {
  const more = new Float32Array(array.length * 2);
  more.set(array);
  return more;
}

function floats(bytes) {
  if (!bytes) return new Float32Array();
  const view = ArrayBuffer.isView(bytes) ? bytes : new Uint8Array(bytes);
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

/** A step of 1, 2 or 5 times a power of ten that divides a span into at most so many parts. */
function niceStep(span, parts) {
  const rough = span / parts, power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
}

/** A number with that many decimals; a half goes to the even digit, as in the tables of Python. */
function fixed(value, decimals) {
  const scaled = value * 10 ** decimals, below = Math.floor(scaled);
  return scaled - below === .5 ? ((below % 2 ? below + 1 : below) / 10 ** decimals).toFixed(decimals) : value.toFixed(decimals);
}

/** A measured number; where an axis has smaller steps, with the digits that they tell apart. */
function text(value, step = Infinity) {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value), decimals = 1 - Math.floor(Math.log10(step) + 1e-9);
  if (size >= 1e5 || (size > 0 && size < 5e-4)) {
    return value.toExponential(clamp(Math.floor(Math.log10(size)) + decimals, 2, 6)).replace("e+", "e");
  }
  return fixed(value, clamp(decimals, size >= 100 ? 1 : 3, 7));
}

/** A number on an axis, with as many digits as tell it from its neighbours, a step away. */
function tickText(value, step) {
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(step) + 1e-9), size = Math.abs(value);
  const plain = value.toFixed(Math.max(0, -power));
  if (size < 1e5 && step >= 1e-4) return plain;
  const digits = clamp(Math.floor(Math.log10(size) + 1e-9) - power, 0, 15);
  const short = value.toExponential(digits).replace("e+", "e").replace(/\.0e/, "e");
  return short.length < plain.length ? short : plain;
}

const countText = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 3 });
/** A place on the horizontal axis: a round, or a cost, which may be far below one. */
const placeText = (value) => (Math.abs(value) < 1 ? String(Number(value.toPrecision(3))) : countText(value));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const shortened = (name) => (name.length > 31 ? `${name.slice(0, 15)}…${name.slice(-15)}` : name);

