// Curves of a run, as they grow. Python sends rows of numbers; this file keeps them by column, and
// draws them on canvases, at most once in a frame. It needs no other file and no network.

const BLOCK = 64;
const PARTIES = 8;
const MARGIN = { left: 46, right: 12, top: 8, bottom: 24 };
const DASHES = { central: [7, 3, 2, 3], alone: [2, 3], personal: [6, 3] };
const SIGNS = { ">=": "≥", "<=": "≤" };
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

function text(value) {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 5e-4)) return value.toExponential(2).replace("e+", "e");
  return size >= 100 ? value.toFixed(1) : value.toFixed(3);
}

function tickText(value, step) {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1e5 || step < 1e-4) return value.toExponential(1).replace("e+", "e").replace(".0e", "e");
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
}

const countText = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 3 });
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const shortened = (name) => (name.length > 26 ? `${name.slice(0, 13)}…${name.slice(-12)}` : name);

// ------------------------------------------------------------------------------------------ store

const stores = new Map();

function storeOf(model) {
  const key = model.get("key");
  if (!stores.has(key)) stores.set(key, new Store(model));
  return stores.get(key);
}

/** The rows of a run, and what is known of it. All views of a widget share one. */
class Store {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.head = null;
    const read = () => this.read();
    const hear = (message, buffers) => this.hear(message, buffers);
    model.on("change:head", read);
    model.on("change:rows", read);
    model.on("msg:custom", hear);
    this.close = () => {
      model.off("change:head", read);
      model.off("change:rows", read);
      model.off("msg:custom", hear);
      stores.delete(model.get("key"));
    };
    this.read();
    model.send({ type: "hello", epoch: this.head.epoch, have: this.count });
  }

  /** The state holds everything up to some round; messages bring what comes after. */
  read() {
    const head = this.model.get("head");
    if (!this.head || head.epoch > this.head.epoch) this.begin(head);
    else if (head.epoch === this.head.epoch) Object.assign(this.head, head);
    if (head.epoch === this.head.epoch) this.take(floats(this.model.get("rows")), 0);
    this.changed();
  }

  hear(message, buffers) {
    if (message.type !== "rows" || message.epoch < this.head.epoch) return;
    if (message.epoch > this.head.epoch || message.first > this.count) {
      this.model.send({ type: "whole" });
      return;
    }
    Object.assign(this.head, message.head);
    this.take(floats(buffers[0]), message.first);
    this.changed();
  }

  begin(head) {
    this.head = { ...head };
    this.columns = head.columns.map(() => new Column());
    this.runs = (head.runs ?? []).map((run) => ({
      ...run,
      rounds: new Column(floats(run.rounds)),
      sent: new Column(floats(run.sent)),
      values: run.values.map((values) => new Column(floats(values))),
    }));
    this.series = this.describe();
  }

  take(numbers, first) {
    const width = this.columns.length;
    if (!width) return;
    for (let row = this.count - first; (row + 1) * width <= numbers.length; row++) {
      for (let i = 0; i < width; i++) this.columns[i].push(numbers[row * width + i]);
    }
  }

  get count() {
    return this.columns.length ? this.columns[0].length : 0;
  }

  get rounds() {
    return this.columns[0] ?? new Column();
  }

  /** The curves: each has a name, a role, and for each panel its numbers. */
  describe() {
    const found = new Map();
    this.head.columns.forEach(({ role, panel, name, part }, i) => {
      if (role === "round" || role === "sent") return;
      const id = role === "party" ? `party ${name}` : role;
      if (!found.has(id)) found.set(id, { id, role, name, panels: [] });
      const series = found.get(id);
      series.panels[panel] ??= {};
      series.panels[panel][part ?? "y"] = this.columns[i];
      series.panels[panel].x = this.columns[0];
    });
    [...found.values()].filter(({ role }) => role === "party").forEach((series, i) => {
      series.index = i % PARTIES;
    });
    this.runs.forEach((run, i) => {
      const panels = run.values.map((y) => ({ x: run.rounds, sent: run.sent, y }));
      found.set(`run ${run.name}`, { id: `run ${run.name}`, role: "run", name: run.name, index: i, panels });
    });
    return [...found.values()];
  }

  changed() {
    for (const view of this.views) view.update();
  }
}

// ------------------------------------------------------------------------------------------- view

class View {
  constructor(store, el) {
    Object.assign(this, { store, zoom: null, cursor: null, lit: null, near: null, bySent: false, epoch: -1 });
    this.hidden = new Set();
    this.stops = [];
    this.root = element("div", "fnb-chart", { role: "group" });
    this.legend = element("div", "fnb-legend", { role: "toolbar", "aria-label": "curves: show or hide" });
    this.unzoom = this.tool("whole range", "show all rounds again (Esc)", () => this.zoomTo(null));
    this.sent = this.tool("by MB sent", "megabytes sent, in place of rounds, along the axis", () => this.switchAxis());
    this.listing = this.tool("table", "the numbers as a table", () => this.unfold());
    this.sent.setAttribute("aria-pressed", "false");
    this.listing.setAttribute("aria-expanded", "false");
    const tools = element("div", "fnb-tools");
    tools.append(this.unzoom, this.sent, this.listing);
    const bar = element("div", "fnb-bar");
    bar.append(this.legend, tools);
    this.grid = element("div", "fnb-panels");
    this.tip = element("div", "fnb-tip", { "aria-hidden": "true" });
    this.tip.hidden = true;
    this.table = element("div", "fnb-table", { tabindex: "0", role: "region", "aria-label": "the numbers as a table" });
    this.table.hidden = true;
    this.root.append(bar, this.grid, this.table, this.tip);
    el.append(this.root);
    this.listen();
    store.views.add(this);
    this.update();
  }

  tool(label, title, action) {
    const button = element("button", "fnb-tool", { type: "button", title });
    button.append(label);
    button.onclick = action;
    return button;
  }

  /** Follow the keyboard, the pointer, the size and the theme of the page. */
  listen() {
    // JupyterLab reads keys as commands for cells, unless an attribute of what has the focus says no.
    on(this.stops, window, "keydown", (event) => {
      if (!this.root.contains(event.target)) return;
      this.root.toggleAttribute("data-lm-suppress-shortcuts", !(event.ctrlKey || event.metaKey || event.altKey));
    }, true);
    on(this.stops, this.legend, "click", (event) => {
      const chip = event.target.closest(".fnb-chip");
      if (chip) this.toggle(chip.dataset.id, event.shiftKey || event.detail === 2);
    });
    on(this.stops, this.legend, "keydown", (event) => this.step(event));
    for (const [start, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
      on(this.stops, this.legend, start, (event) => this.light(event.target.closest(".fnb-chip")?.dataset.id ?? null));
      on(this.stops, this.legend, end, () => this.light(null));
    }
    this.stops.push(observe(new ResizeObserver(() => this.redraw()), this.grid));
    this.isSeen = true;
    this.stops.push(observe(new IntersectionObserver((entries) => {
      this.isSeen = entries.at(-1).isIntersecting;
      if (this.isSeen) this.redraw();
      else if (this.hasSettled && !this.root.isConnected) this.close();
    }), this.root));
    const theme = new MutationObserver(() => this.dress());
    const attributes = { attributes: true, attributeFilter: ["class", "style", "theme", "data-theme", "data-jp-theme-name", "data-jp-theme-light", "data-vscode-theme-kind"] };
    theme.observe(document.documentElement, attributes);
    theme.observe(document.body, attributes);
    this.stops.push(() => theme.disconnect());
    on(this.stops, matchMedia("(prefers-color-scheme: dark)"), "change", () => this.dress());
  }

  /** Remember the outputs of JupyterLab's or Notebook's cell, and which of them this is. */
  remember() {
    const output = this.root.closest(".jp-OutputArea-child");
    if (!output || this.isLeft) return;
    this.area = output.parentElement;
    this.place = [...this.area.children].indexOf(output);
  }

  /** Stay where the widget was, over the picture that takes its place at the end of a run.
   *
   * The picture is what the notebook saves: this lasts as long as the page.
   */
  stay() {
    const { area, place } = this;
    this.isLeft = true;
    const take = () => {
      const picture = area.children[place]?.querySelector("figure > img");
      if (!picture) return false;
      this.hasSettled = true;
      picture.before(this.root);
      picture.hidden = true;
      this.stops.push(() => { picture.hidden = false; });
      this.redraw();
      return true;
    };
    if (!area?.isConnected) return this.close();
    if (take()) return undefined;
    const waiting = new MutationObserver(() => { if (take()) end(); });
    const end = () => { waiting.disconnect(); clearTimeout(timer); };
    const timer = setTimeout(() => { end(); this.close(); }, 5000);
    waiting.observe(area, { childList: true, subtree: true });
    return undefined;
  }

  close() {
    this.store.views.delete(this);
    this.stops.forEach((stop) => stop());
    cancelAnimationFrame(this.frame);
    this.frame = null;
    this.root.remove();
  }

  /** Something new has come. */
  update() {
    const { head } = this.store;
    if (head.epoch !== this.epoch) {
      this.epoch = head.epoch;
      this.zoom = this.cursor = null;
      this.hidden = new Set(this.store.series.filter(({ role }) => role === "run" && !head.compares).map(({ id }) => id));
      this.root.setAttribute("aria-label", head.title);
      this.grid.replaceChildren();
      this.panels = head.metrics.map((metric, i) => new Panel(this, metric, i));
      this.sent.hidden = !head.compares;
      this.dress();
    }
    this.redraw();
  }

  redraw() {
    this.isStale = true;
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (!this.isSeen || !this.root.isConnected) return;
      if (!this.colours.fused) this.dress(); // the style came after the widget
      this.remember();
      if (this.isStale) {
        this.isStale = false;
        this.shown = this.store.series.filter((series) => series.panels.some((panel) => (panel?.y ?? panel?.middle)?.last >= 0));
        this.listCurves();
        this.unzoom.hidden = !this.zoom;
        this.panels.forEach((panel) => panel.draw());
        this.tabulate();
      }
      this.panels.forEach((panel) => panel.drawOver());
      this.explain();
    });
  }

  /** Take the colours from the page. */
  dress() {
    const style = getComputedStyle(this.root);
    this.root.classList.toggle("fnb-dark", isLight(style.color));
    const colour = (name) => style.getPropertyValue(name).trim();
    this.ink = style.color;
    this.ground = getComputedStyle(this.tip).backgroundColor;
    this.font = style.fontFamily;
    this.colours = { fused: colour("--fnb-fused") };
    this.partyColours = Array.from({ length: PARTIES }, (_, i) => colour(`--fnb-party-${i}`));
    this.signature = "";
    this.redraw();
  }

  colour({ role, index }) {
    if (role === "fused") return this.colours.fused;
    if (role === "party") return this.partyColours[index];
    if (role === "run") return [this.colours.fused, ...this.partyColours][(index + (this.store.head.compares ? 0 : 2)) % (PARTIES + 1)];
    if (role === "worst") return this.partyColours[0];
    return this.ink;
  }

  dash({ role, index }) {
    return role === "run" ? RUN_DASHES[this.store.head.compares ? Math.floor(index / (PARTIES + 1)) % 4 : 1] : DASHES[role] ?? [];
  }

  isShown(series) {
    return !this.hidden.has(series.id);
  }

  // ---------------------------------------------------------------------------------- the legend

  listCurves() {
    const signature = this.shown.map(({ id }) => id + this.hidden.has(id)).join("\n");
    if (signature === this.signature) return;
    this.signature = signature;
    const focused = this.legend.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const current = focused ?? this.legend.querySelector("[tabindex='0']")?.dataset.id;
    this.legend.replaceChildren(...this.shown.map((series) => this.chip(series)));
    const chips = [...this.legend.children];
    const chip = chips.find(({ dataset }) => dataset.id === current) ?? chips[0];
    if (chip) chip.tabIndex = 0;
    if (focused) chip?.focus();
  }

  chip(series) {
    const chip = element("button", "fnb-chip", {
      type: "button", "data-id": series.id, tabindex: "-1",
      "aria-pressed": String(this.isShown(series)),
      title: `${series.name}: click to show or hide, with Shift or twice to show only this`,
    });
    const swatch = `<svg width="20" height="8" aria-hidden="true"><line x1="0" x2="20" y1="4" y2="4"/></svg>`;
    chip.insertAdjacentHTML("afterbegin", swatch);
    const line = chip.querySelector("line");
    line.setAttribute("stroke", this.colour(series));
    line.setAttribute("stroke-width", series.role === "fused" ? 3 : series.role === "band" ? 8 : 2);
    if (series.role === "band") line.setAttribute("stroke-opacity", .3);
    line.setAttribute("stroke-dasharray", this.dash(series).join(" "));
    chip.append(shortened(series.name));
    return chip;
  }

  toggle(id, alone) {
    if (alone) {
      const others = this.shown.filter((series) => series.id !== id);
      const isAlone = others.every(({ id: other }) => this.hidden.has(other)) && !this.hidden.has(id) && others.length;
      this.hidden = new Set(isAlone ? [] : others.map((series) => series.id));
    } else if (!this.hidden.delete(id)) this.hidden.add(id);
    this.redraw();
  }

  /** Arrow keys go from one chip to the next. */
  step(event) {
    const chips = [...this.legend.children], at = chips.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: chips.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    chips[at].tabIndex = -1;
    const chip = chips[(to + chips.length) % chips.length];
    chip.tabIndex = 0;
    chip.focus();
  }

  light(id) {
    if (id === this.lit) return;
    this.lit = id;
    this.redraw();
  }

  // ------------------------------------------------------------------------------- range and axis

  /** The first and last place on the horizontal axis that is shown. */
  range() {
    if (this.zoom) return this.zoom;
    const { head, rounds, count } = this.store;
    let first = count ? rounds.values[0] : 1, last = 1;
    if (!head.compares) {
      let room = 20;
      while (room < (rounds.values[count - 1] ?? 0)) room *= 2;
      last = Math.max(2, rounds.values[count - 1] ?? 0, Math.min(head.planned, room));
    }
    for (const series of this.shown ?? []) {
      if (series.role !== "run" || !this.isShown(series)) continue;
      for (const panel of series.panels) {
        const x = this.bySent ? panel.sent : panel.x;
        last = Math.max(last, x.values[x.length - 1] ?? 0);
        if (this.bySent) first = 0;
      }
    }
    return [first, last > first ? last : first + 1];
  }

  xOf(panel) {
    return this.bySent ? panel.sent : panel.x;
  }

  zoomTo(range) {
    this.zoom = range;
    this.redraw();
  }

  switchAxis() {
    this.bySent = !this.bySent;
    this.panels.forEach((panel) => panel.name());
    this.sent.setAttribute("aria-pressed", String(this.bySent));
    this.cursor = null;
    this.zoomTo(null);
  }

  get axisName() {
    return this.bySent ? "MB sent" : "round";
  }

  // -------------------------------------------------------------------------- the values at a place

  /** Put the cursor at a place of the axis: the nearest one at which something was measured. */
  point(x, panel) {
    let best = null;
    for (const series of this.shown ?? []) {
      if (!this.isShown(series)) continue;
      const xs = this.xOf(series.panels.find(Boolean));
      const i = xs.find(x);
      for (const near of [i - 1, i]) {
        const value = xs.values[near];
        if (near < 0 || near >= xs.length) continue;
        if (best === null || Math.abs(value - x) < Math.abs(best - x)) best = value;
      }
    }
    this.cursor = best === null ? null : { x: best, panel };
    this.schedule();
  }

  /** Forget the cursor. */
  leave() {
    this.cursor = this.near = null;
    this.schedule();
  }

  /** The number of a curve at a place; runs of other lengths have none beyond their end. */
  at(panel, part, x) {
    const xs = this.xOf(panel), i = xs.find(x);
    const found = this.bySent && xs.values[i] !== x ? i - 1 : i;
    return found < xs.length && (this.bySent || xs.values[found] === x) ? panel[part]?.values[found] : undefined;
  }

  /** What is known at a place: for each curve its name, colour, and a text for each panel. */
  known(x) {
    const rows = [];
    for (const series of this.shown ?? []) {
      if (!this.isShown(series)) continue;
      const { name } = series;
      const texts = this.store.head.metrics.map((_, i) => {
        const panel = series.panels[i];
        if (!panel) return "–";
        if (series.role === "band") {
          const low = this.at(panel, "low", x), high = this.at(panel, "high", x);
          return Number.isFinite(low) ? `${text(low)} to ${text(high)}` : "–";
        }
        const value = this.at(panel, "y", x);
        if (series.role !== "worst") return text(value);
        const who = this.store.head.parties[this.at(panel, "who", x)];
        return who === undefined ? "–" : `${text(value)} (${shortened(who)})`;
      });
      rows.push({ id: series.id, name, colour: this.colour(series), isBand: series.role === "band", texts });
    }
    return rows;
  }

  /** What else is to be said of a round: a change, or that weights travelled. */
  said(x) {
    if (this.bySent || this.store.head.compares) return "";
    const parts = (this.store.head.changes ?? []).filter(([round]) => round === x).map(([, what]) => `from here on: ${what}`);
    if (this.isSparing()) parts.push(this.wasSent(x) ? "weights travelled" : "no weights travelled");
    return parts.join("; ");
  }

  isSparing() {
    const sent = this.store.columns[1];
    return sent !== undefined && sent.extremes(0, sent.length)[0] < 2;
  }

  wasSent(x) {
    return this.store.columns[1].values[this.store.rounds.find(x)] >= 1;
  }

  /** Show the values beside the pointer, or the focus. */
  explain() {
    const { cursor } = this;
    this.tip.hidden = !cursor;
    if (!cursor) return;
    const { metrics } = this.store.head;
    const table = element("table");
    const header = table.createTHead().insertRow();
    for (const name of [`${this.axisName} ${countText(cursor.x)}`, ...metrics.map((metric) => metric.name)]) {
      header.append(Object.assign(element("th"), { textContent: name }));
    }
    const body = table.createTBody();
    for (const { id, name, colour, isBand, texts } of this.known(cursor.x)) {
      const row = body.insertRow();
      if (id === this.near) row.className = "fnb-near";
      const swatch = element("i");
      swatch.style.background = colour;
      swatch.style.opacity = isBand ? .35 : 1;
      row.insertCell().append(swatch, shortened(name));
      texts.forEach((each) => { row.insertCell().textContent = each; });
    }
    this.tip.replaceChildren(table);
    const said = this.said(cursor.x);
    if (said) this.tip.append(Object.assign(element("div", "fnb-said"), { textContent: said }));
    cursor.panel.place(this.tip);
  }

  // ------------------------------------------------------------------------------------ the table

  unfold() {
    this.table.hidden = !this.table.hidden;
    this.listing.setAttribute("aria-expanded", String(!this.table.hidden));
    this.tabulatedAt = -Infinity;
    this.redraw();
  }

  /** Show at most so many rounds as a table, now and then while they come. */
  tabulate() {
    if (this.table.hidden || performance.now() - this.tabulatedAt < 1000) return;
    this.tabulatedAt = performance.now();
    const xs = this.placesOfTable(100);
    const table = element("table");
    table.createCaption().textContent = `${this.store.head.title}: ${xs.length} of ${this.numPlaces()} rounds, the latest first`;
    const header = table.createTHead().insertRow();
    const cell = (content, scope) => Object.assign(element("th"), { textContent: content, scope });
    const series = (this.shown ?? []).filter((each) => this.isShown(each));
    header.append(cell(this.axisName, "col"));
    for (const { name } of series) {
      for (const metric of this.store.head.metrics) header.append(cell(`${name}, ${metric.name}`, "col"));
    }
    const body = table.createTBody();
    for (const x of xs) {
      const row = body.insertRow();
      row.append(cell(countText(x), "row"));
      for (const { texts } of this.known(x)) texts.forEach((each) => { row.insertCell().textContent = each; });
    }
    this.table.replaceChildren(table);
  }

  longest() {
    const columns = (this.shown ?? []).filter((each) => this.isShown(each)).map((series) => this.xOf(series.panels.find(Boolean)));
    return columns.reduce((a, b) => (b.length > a.length ? b : a), this.store.rounds);
  }

  numPlaces() {
    return this.longest().length;
  }

  placesOfTable(most) {
    const column = this.longest();
    const step = Math.ceil(column.length / most) || 1;
    const places = [];
    for (let i = column.length - 1; i >= 0; i -= step) places.push(column.values[i]);
    return places;
  }
}

// ------------------------------------------------------------------------------------------ panel

/** The curves of one metric. */
class Panel {
  constructor(view, metric, index) {
    Object.assign(this, { view, metric, index, isLog: false, drag: null, step: .2 });
    this.value = element("span", "fnb-value", { "aria-hidden": "true" });
    this.log = element("button", "fnb-tool", {
      type: "button", "aria-pressed": "false", "aria-label": `logarithmic axis of ${metric.name}`, title: "logarithmic axis",
    });
    this.log.append("log");
    this.plot = element("div", "fnb-plot", { tabindex: "0", role: "slider" });
    this.name();
    this.base = element("canvas", "", { "aria-hidden": "true" });
    this.over = element("canvas", "", { "aria-hidden": "true" });
    this.plot.append(this.base, this.over);
    const head = element("div", "fnb-head");
    head.append(Object.assign(element("span", "fnb-title"), { textContent: metric.name }), this.value, this.log);
    const box = element("div", "fnb-panel");
    box.append(head, this.plot);
    view.grid.append(box);
    this.listen();
  }

  name() {
    this.plot.setAttribute("aria-label", `${this.metric.name} by ${this.view.axisName}; arrow keys go along it`);
  }

  listen() {
    this.log.onclick = () => {
      this.isLog = !this.isLog;
      this.log.setAttribute("aria-pressed", String(this.isLog));
      this.view.redraw();
    };
    this.plot.onpointerdown = (event) => {
      if (event.button) return;
      this.drag = { from: event.offsetX, to: event.offsetX };
      this.plot.setPointerCapture(event.pointerId);
    };
    this.plot.onpointermove = (event) => {
      if (this.drag) this.drag.to = event.offsetX;
      this.view.pointerY = event.offsetY;
      this.view.point(this.placeAt(event.offsetX), this);
    };
    this.plot.onpointerup = () => this.endDrag();
    this.plot.onpointercancel = () => { this.drag = null; };
    this.plot.onpointerleave = () => this.view.leave();
    this.plot.ondblclick = () => this.view.zoomTo(null);
    this.plot.onfocus = () => {
      if (this.plot.matches(":focus-visible")) this.view.point(this.view.range()[1], this);
    };
    this.plot.onblur = () => this.view.leave();
    this.plot.onkeydown = (event) => this.key(event);
  }

  endDrag() {
    const { drag } = this;
    this.drag = null;
    if (drag && Math.abs(drag.to - drag.from) > 8) {
      const [a, b] = [drag.from, drag.to].map((x) => this.placeAt(x)).sort((x, y) => x - y);
      this.view.zoomTo(this.view.bySent ? [a, b] : [Math.floor(a), Math.max(Math.ceil(b), Math.floor(a) + 1)]);
    }
    this.view.schedule();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view } = this, [first, last] = view.range(), span = last - first;
    const x = view.cursor?.x ?? last;
    const step = view.bySent ? span / 100 : 1, page = Math.max(step, Math.round(span / 10));
    const to = {
      ArrowLeft: x - step, ArrowDown: x - step, ArrowRight: x + step, ArrowUp: x + step,
      PageDown: x - page, PageUp: x + page, Home: first, End: last,
    }[event.key];
    if (to !== undefined) view.point(clamp(to, first, last), this);
    else if (event.key === "+" || event.key === "=") this.zoomAround(x, span / 2);
    else if (event.key === "-") this.zoomAround(x, span * 2);
    else if (event.key === "Escape" || event.key === "0") view.zoomTo(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  zoomAround(x, span) {
    const { view } = this, zoom = view.zoom;
    view.zoom = null;
    const [first, last] = view.range();
    view.zoom = zoom;
    const least = view.bySent ? (last - first) / 1000 : 4;
    if (span >= last - first) view.zoomTo(null);
    else {
      const width = Math.max(span, least), from = clamp(x - width / 2, first, last - width);
      view.zoomTo([from, from + width]);
    }
  }

  // ------------------------------------------------------------------------------ places on canvas

  get box() {
    const width = this.width - MARGIN.left - MARGIN.right, height = this.height - MARGIN.top - MARGIN.bottom;
    return { x: MARGIN.left, y: MARGIN.top, width: Math.max(width, 1), height: Math.max(height, 1) };
  }

  placeAt(pixel) {
    const { box } = this, [first, last] = this.view.range();
    return clamp(first + ((pixel - box.x) / box.width) * (last - first), first, last);
  }

  scales() {
    const { box } = this, [first, last] = this.view.range(), [low, high] = this.limits;
    const map = this.isLog ? Math.log10 : (value) => value;
    const a = map(low), b = map(high);
    return {
      x: (value) => box.x + ((value - first) / (last - first)) * box.width,
      y: (value) => box.y + box.height - ((map(value) - a) / (b - a)) * box.height,
    };
  }

  /** The first and the last index of a column of places that can be seen, and one more on each side. */
  seen(xs) {
    const [first, last] = this.view.range();
    return [Math.max(0, xs.find(first) - 1), Math.min(xs.length, xs.find(last) + 2)];
  }

  curves() {
    return (this.view.shown ?? []).filter((series) => this.view.isShown(series) && series.panels[this.index]);
  }

  /** The limits of the vertical axis: round numbers around all curves that are shown. */
  findLimits() {
    let low = Infinity, high = -Infinity;
    for (const series of this.curves()) {
      const panel = series.panels[this.index], xs = this.view.xOf(panel), [a, b] = this.seen(xs);
      for (const part of ["y", "low", "high"]) {
        if (!panel[part]) continue;
        const found = this.isLog ? positive(panel[part], a, b) : panel[part].extremes(a, b);
        low = Math.min(low, found[0]);
        high = Math.max(high, found[1]);
      }
    }
    if (low > high) {
      this.step = .2;
      return this.isLog ? [.01, 1] : [0, 1];
    }
    if (this.isLog) return [niceBelow(low), niceAbove(high)];
    for (const [, , value] of this.goals()) {
      if (Math.max(high, value) - Math.min(low, value) <= 2.5 * (high - low)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    if (high - low < Math.abs(high) * 1e-6 + 1e-12) {
      const room = Math.abs(high) * .1 || .5;
      low -= room;
      high += room;
    }
    const step = this.step = niceStep(high - low, 5), isPart = this.metric.part && low >= 0 && high <= 1;
    const from = Math.floor((low - (high - low) * .02) / step) * step, to = Math.ceil((high + (high - low) * .02) / step) * step;
    return [low >= 0 ? Math.max(from, 0) : from, isPart ? Math.min(to, 1) : to];
  }

  goals() {
    return (this.view.store.head.until ?? []).filter(([metric]) => metric === this.metric.name);
  }

  // --------------------------------------------------------------------------------------- drawing

  fit() {
    const { clientWidth: width, clientHeight: height } = this.plot, ratio = window.devicePixelRatio || 1;
    if (!width) return false;
    Object.assign(this, { width, height, ratio });
    for (const canvas of [this.base, this.over]) {
      const w = Math.round(width * ratio), h = Math.round(height * ratio);
      if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    }
    return true;
  }

  clean(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.font = `11px ${this.view.font}`;
    return context;
  }

  draw() {
    if (!this.fit()) return;
    const context = this.clean(this.base), { box, view } = this;
    this.limits = this.findLimits();
    this.drawAxes(context);
    context.save();
    context.beginPath();
    context.rect(box.x - 1, box.y - 3, box.width + 4, box.height + 5);
    context.clip();
    this.drawMarks(context);
    const order = { worst: 0, band: 1, run: 2, party: 3, central: 4, alone: 4, personal: 4, fused: 5 };
    const isLit = ({ id }) => id === view.lit;
    const curves = this.curves().sort((a, b) => isLit(a) - isLit(b) || order[a.role] - order[b.role]);
    const anyLit = curves.some(isLit);
    for (const series of curves) this.drawCurve(context, series, anyLit ? (isLit(series) ? 1 : .15) : null);
    context.restore();
    this.drawGoals(context);
    this.drawChanges(context);
    const fused = this.curves().find(({ role }) => role === "fused")?.panels[this.index].y;
    this.value.textContent = fused?.last >= 0 ? text(fused.values[fused.last]) : "";
    if (!curves.length) {
      context.fillStyle = view.ink;
      context.globalAlpha = .7;
      context.textAlign = "center";
      const empty = (view.shown ?? []).length ? "all curves are hidden" : view.store.head.compares ? "no run is ticked" : "no round yet";
      context.fillText(empty, box.x + box.width / 2, box.y + box.height / 2);
    }
    this.tell();
  }

  drawAxes(context) {
    const { box, view } = this, { x, y } = this.scales(), [first, last] = view.range();
    context.strokeStyle = context.fillStyle = view.ink;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const [value, label] of this.ticks()) {
      const at = Math.round(y(value)) + .5;
      context.globalAlpha = .13;
      line(context, box.x, at, box.x + box.width, at);
      context.globalAlpha = .78;
      if (label) context.fillText(label, box.x - 6, at);
    }
    context.globalAlpha = .35;
    line(context, box.x, box.y + box.height + .5, box.x + box.width, box.y + box.height + .5);
    context.globalAlpha = .78;
    context.textBaseline = "top";
    context.textAlign = "right";
    const name = view.axisName, end = box.x + box.width, nameFrom = end - context.measureText(name).width - 10;
    context.fillText(name, end, box.y + box.height + 9);
    let step = niceStep(last - first, clamp(Math.floor(box.width / 70), 2, 10));
    if (!view.bySent) step = Math.max(1, step);
    context.textAlign = "center";
    for (const value of steps(first, last, step)) {
      const at = x(value), half = context.measureText(countText(value)).width / 2;
      if (at + half > nameFrom) continue;
      context.fillText(countText(value), at, box.y + box.height + 9);
      line(context, Math.round(at) + .5, box.y + box.height, Math.round(at) + .5, box.y + box.height + 4);
    }
    context.globalAlpha = 1;
  }

  ticks() {
    const [low, high] = this.limits;
    if (!this.isLog) {
      const { step } = this;
      return steps(low, high, step).map((value) => [value, tickText(value, step)]);
    }
    const found = [], few = Math.log10(high / low) <= 2.2;
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const factor of few ? [1, 2, 5] : [1]) {
        const value = factor * 10 ** power;
        if (value >= low * .999 && value <= high * 1.001) found.push([value, value >= 1e-3 && value < 1e5 ? String(Number(value.toPrecision(2))) : value.toExponential(0).replace("e+", "e")]);
      }
    }
    const every = Math.ceil(found.length / 7);
    return found.filter((_, i) => i % every === 0);
  }

  /** The rounds from which an option was another one, and those in which weights travelled. */
  drawMarks(context) {
    const { box, view } = this, { x } = this.scales(), { head, columns, rounds } = view.store;
    if (view.bySent || head.compares) return;
    context.strokeStyle = context.fillStyle = view.ink;
    context.lineWidth = 1;
    context.globalAlpha = .6;
    if (view.isSparing()) {
      const [a, b] = this.seen(rounds);
      let before = -1;
      for (let i = a; i < b; i++) {
        const at = Math.round(x(rounds.values[i])) + .5;
        if (columns[1].values[i] < 1 || at === before) continue;
        before = at;
        line(context, at, box.y + box.height, at, box.y + box.height - 7);
      }
    }
    context.setLineDash([1, 3]);
    for (const [round] of head.changes ?? []) {
      const at = Math.round(x(round - .5)) + .5;
      line(context, at, box.y, at, box.y + box.height);
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  drawChanges(context) {
    const { box, view } = this, { x } = this.scales(), { head } = view.store, [first, last] = view.range();
    if (view.bySent) return;
    context.textBaseline = "top";
    context.textAlign = "left";
    let free = -Infinity;
    for (const [round, what] of head.changes ?? []) {
      const at = x(round - .5), label = shortened(what), width = context.measureText(label).width;
      const from = at + 4 + width > box.x + box.width ? at - 4 - width : at + 4;
      if (from < free || round < first || round > last) continue;
      this.write(context, label, from, box.y + 1);
      free = from + width + 6;
    }
  }

  /** Write on a ground of the page's colour, so that curves below don't disturb. */
  write(context, label, at, height) {
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = this.view.ground;
    context.globalAlpha = .85;
    context.strokeText(label, at, height);
    context.fillStyle = this.view.ink;
    context.globalAlpha = .9;
    context.fillText(label, at, height);
    context.globalAlpha = 1;
  }

  drawGoals(context) {
    const { box, view } = this, { y } = this.scales();
    context.textAlign = "right";
    for (const [, sign, value] of this.goals()) {
      context.strokeStyle = view.ink;
      context.lineWidth = 1;
      const at = y(value), sees = at >= box.y - 1 && at <= box.y + box.height + 1;
      const place = clamp(at, box.y, box.y + box.height);
      context.globalAlpha = .7;
      context.setLineDash([4, 4]);
      if (sees) line(context, box.x, Math.round(place) + .5, box.x + box.width, Math.round(place) + .5);
      context.setLineDash([]);
      context.textBaseline = place < box.y + 16 ? "top" : "bottom";
      const label = `until ${SIGNS[sign] ?? sign} ${value}`;
      this.write(context, sees ? label : `${at < box.y ? "↑" : "↓"} ${label}`, box.x + box.width, place + (place < box.y + 16 ? 3 : -3));
    }
    context.globalAlpha = 1;
  }

  drawCurve(context, series, strength) {
    const { view } = this, panel = series.panels[this.index], xs = view.xOf(panel), range = this.seen(xs);
    context.strokeStyle = context.fillStyle = view.colour(series);
    const { role } = series, isMain = role === "fused" || view.store.head.compares;
    // Many points of many curves would be a thicket: all but the main ones step back.
    const isCrowded = range[1] - range[0] > this.box.width / 4;
    if (role === "band") {
      context.globalAlpha = .2 * (strength ?? 1);
      this.area(context, xs, panel.low, panel.high, range);
      context.globalAlpha = strength ?? (isCrowded ? .4 : .6);
      context.lineWidth = 1;
      this.path(context, xs, panel.middle, range, []);
    } else {
      const isParty = role === "party" || role === "worst";
      context.globalAlpha = strength ?? (isMain ? 1 : isParty && isCrowded ? (role === "worst" ? .4 : .6) : .85);
      context.lineWidth = (isMain ? 2.4 : isParty ? (isCrowded ? .9 : 1.3) : 1.6) + (strength === 1 ? 1 : 0);
      this.path(context, xs, panel.y, range, view.dash(series));
    }
    context.globalAlpha = 1;
  }

  /** Draw a curve. Where a pixel has several numbers, from the least to the largest of them. */
  path(context, xs, ys, [a, b], dash) {
    const { x, y } = this.scales(), { box } = this;
    const isDense = b - a > 2.5 * box.width;
    context.lineJoin = "round";
    context.setLineDash(isDense ? [] : dash);
    context.beginPath();
    let drawn = 0, at = 0, height = 0;
    if (isDense) {
      for (const [place, low, high] of this.pixels(xs, ys, a, b)) {
        const from = y(low), to = y(high), isNearer = Math.abs(height - from) < Math.abs(height - to);
        const [one, two] = isNearer ? [from, to] : [to, from];
        context[drawn++ ? "lineTo" : "moveTo"](place, one);
        context.lineTo(place, height = two);
      }
    } else {
      for (let i = a; i < b; i++) {
        const value = ys.values[i];
        if (!Number.isFinite(value) || (this.isLog && value <= 0)) continue;
        context[drawn++ ? "lineTo" : "moveTo"](at = x(xs.values[i]), height = y(value));
      }
    }
    context.stroke();
    context.setLineDash([]);
    if (drawn === 1 || drawn === 2 && ys.last < 3) this.dot(context, at, height, 3);
  }

  area(context, xs, lows, highs, [a, b]) {
    const { x, y } = this.scales();
    const upper = [], lower = [];
    if (b - a > 2.5 * this.box.width) {
      for (const [place, , high] of this.pixels(xs, highs, a, b)) upper.push([place, y(high)]);
      for (const [place, low] of this.pixels(xs, lows, a, b)) lower.push([place, y(low)]);
    } else {
      for (let i = a; i < b; i++) {
        if (!Number.isFinite(lows.values[i]) || (this.isLog && lows.values[i] <= 0)) continue;
        upper.push([x(xs.values[i]), y(highs.values[i])]);
        lower.push([x(xs.values[i]), y(lows.values[i])]);
      }
    }
    context.beginPath();
    for (const [place, height] of [...upper, ...lower.reverse()]) context.lineTo(place, height);
    context.fill();
  }

  /** Yield, for each pixel, its place and the extremes of the numbers there. */
  *pixels(xs, ys, a, b) {
    const { box } = this, { x } = this.scales(), [first, last] = this.view.range();
    let from = a;
    for (let pixel = 0; pixel <= box.width && from < b; pixel++) {
      const to = Math.min(b, xs.find(first + ((pixel + 1) / box.width) * (last - first)));
      if (to <= from) continue;
      const [low, high] = this.isLog ? positive(ys, from, to) : ys.extremes(from, to);
      if (low <= high) yield [x(xs.values[from]), low, high];
      from = to;
    }
  }

  dot(context, at, height, size) {
    context.beginPath();
    context.arc(at, height, size, 0, 2 * Math.PI);
    context.fill();
  }

  /** What moves with the pointer stands on a canvas of its own, so that no curve is drawn again. */
  drawOver() {
    if (!this.width || !this.limits) return;
    const { view, box, drag } = this, context = this.clean(this.over), { x, y } = this.scales();
    if (drag && Math.abs(drag.to - drag.from) > 8) {
      const [a, b] = [drag.from, drag.to].map((each) => clamp(each, box.x, box.x + box.width)).sort((p, q) => p - q);
      context.fillStyle = view.colours.fused;
      context.globalAlpha = .15;
      context.fillRect(a, box.y, b - a, box.height);
      context.globalAlpha = 1;
    }
    if (!view.cursor) return;
    const at = x(view.cursor.x);
    if (at < box.x - 1 || at > box.x + box.width + 1) return;
    context.strokeStyle = view.ink;
    context.globalAlpha = .45;
    line(context, Math.round(at) + .5, box.y, Math.round(at) + .5, box.y + box.height);
    context.globalAlpha = 1;
    let distance = 14;
    if (view.cursor.panel === this) view.near = null;
    for (const series of this.curves()) {
      const value = view.at(series.panels[this.index], "y", view.cursor.x);
      if (!Number.isFinite(value) || (this.isLog && value <= 0)) continue;
      const height = y(value);
      context.fillStyle = view.colour(series);
      this.dot(context, at, height, series.role === "fused" ? 3.5 : 2.5);
      if (view.cursor.panel === this && Math.abs(height - view.pointerY) < distance) {
        distance = Math.abs(height - view.pointerY);
        view.near = series.id;
      }
    }
    this.tell();
  }

  /** Tell a screen reader where the cursor is, and what is there. */
  tell() {
    const { view, plot } = this, [first, last] = view.range();
    const x = view.cursor?.x ?? this.latest();
    plot.setAttribute("aria-valuemin", first);
    plot.setAttribute("aria-valuemax", last);
    plot.setAttribute("aria-valuenow", x ?? first);
    const parts = x === undefined ? ["no round yet"] : view.known(x).map(({ name, texts }) => `${name} ${texts[this.index]}`);
    const said = x === undefined ? "" : view.said(x);
    plot.setAttribute("aria-valuetext", [`${view.axisName} ${x === undefined ? "" : countText(x)}: ${parts.join(", ")}`, said].filter(Boolean).join("; "));
  }

  latest() {
    const xs = this.view.longest();
    return xs.length ? xs.values[xs.length - 1] : undefined;
  }

  /** Put the tip beside the cursor, inside of the chart. */
  place(tip) {
    const root = this.view.root.getBoundingClientRect(), plot = this.plot.getBoundingClientRect();
    const at = plot.left - root.left + this.scales().x(this.view.cursor.x);
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = at + 14 + width <= root.width ? at + 14 : Math.max(0, at - 14 - width);
    const top = clamp(plot.top - root.top + 6, 0, Math.max(0, root.height - height));
    tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}

// ------------------------------------------------------------------------------------------ helpers

function element(tag, className = "", attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

function steps(first, last, step) {
  const found = [];
  for (let i = Math.ceil(first / step - 1e-9); i * step <= last + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** The extremes of the positive numbers, which alone have a place on a logarithmic axis. */
function positive(column, a, b) {
  const found = column.extremes(a, b);
  if (found[0] > 0 || found[1] <= 0) return found[1] <= 0 ? [Infinity, -Infinity] : found;
  let low = Infinity;
  for (let i = a; i < b; i++) if (column.values[i] > 0 && column.values[i] < low) low = column.values[i];
  return [low, found[1]];
}

function niceBelow(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [5, 2, 1].find((factor) => factor * power <= value * (1 + 1e-9));
}

function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= value * (1 - 1e-9));
}

/** Whether an ink is light, and so the page dark. */
function isLight(colour) {
  const context = element("canvas").getContext("2d", { willReadFrequently: true });
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return .299 * red + .587 * green + .114 * blue > 140;
}

function on(stops, target, name, listener, options) {
  target.addEventListener(name, listener, options);
  stops.push(() => target.removeEventListener(name, listener, options));
}

function observe(observer, target) {
  observer.observe(target);
  return () => observer.disconnect();
}

export default {
  initialize({ model }) {
    const store = storeOf(model);
    return () => store.close();
  },
  render({ model, el }) {
    const view = new View(storeOf(model), el);
    return () => view.stay();
  },
};
