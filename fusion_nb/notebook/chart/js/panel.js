// ------------------------------------------------------------------------------------------ panel

/** The curves of one metric; a small one is about one curve, and has the others in grey. */
class Panel {
  constructor(view, metric, index, only = null) {
    Object.assign(this, { view, metric, index, only, isLog: false, drag: null, step: .2, left: MARGIN.left });
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
    head.append(Object.assign(element("span", "fnb-title"), { textContent: only ? shortened(only.name) : metric.name, title: only?.name ?? "" }), this.value, this.log);
    this.log.hidden = Boolean(only);
    const box = element("div", "fnb-panel");
    box.append(head, this.plot);
    view.grid.append(box);
    this.listen();
  }

  name() {
    this.plot.setAttribute("aria-label", `${this.only ? `${this.only.name}, ` : ""}${this.metric.name} by ${this.view.axisName}; arrow keys go along it`);
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
      this.view.zoomTo(this.view.cost ? [a, b] : [Math.floor(a), Math.max(Math.ceil(b), Math.floor(a) + 1)]);
    }
    this.view.schedule();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view } = this, [first, last] = view.range(), span = last - first;
    const x = view.cursor?.x ?? last;
    const step = view.cost ? span / 100 : 1, page = Math.max(step, Math.round(span / 10));
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
    const least = view.cost ? (last - first) / 1000 : 4;
    if (span >= last - first) view.zoomTo(null);
    else {
      const width = Math.max(span, least), from = clamp(x - width / 2, first, last - width);
      view.zoomTo([from, from + width]);
    }
  }

  // ------------------------------------------------------------------------------ places on canvas

  get box() {
    const width = this.width - this.left - MARGIN.right, height = this.height - MARGIN.top - MARGIN.bottom;
    return { x: this.left, y: MARGIN.top, width: Math.max(width, 1), height: Math.max(height, 1) };
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
      // Runs count whether or not they are drawn: the axis must not jump when they are pointed at.
      for (const { y } of series.runsOf?.(this.index) ?? []) {
        const found = this.isLog ? positive(y, 0, y.length) : y.extremes(0, y.length);
        low = Math.min(low, found[0]);
        high = Math.max(high, found[1]);
      }
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
    const context = this.clean(this.base), { view } = this;
    this.limits = this.findLimits();
    // Numbers of many digits take more room than most.
    this.left = Math.max(MARGIN.left, ...this.ticks().map(([, label]) => Math.ceil(context.measureText(label).width) + 10));
    const { box } = this;
    this.drawAxes(context);
    context.save();
    context.beginPath();
    context.rect(box.x - 4, box.y - 4, box.width + 8, box.height + 8); // dots on the edge are whole
    context.clip();
    this.drawMarks(context);
    const order = { worst: 0, band: 1, run: 2, party: 3, central: 4, alone: 4, personal: 4, fused: 5, mean: 5 };
    const isLit = ({ id }) => id === (this.only?.id ?? view.lit);
    const curves = this.curves().sort((a, b) => isLit(a) - isLit(b) || order[a.role] - order[b.role]);
    const anyLit = curves.some(isLit);
    for (const series of curves) this.drawCurve(context, series, anyLit ? (isLit(series) ? 1 : .15) : null);
    context.restore();
    this.drawGoals(context);
    this.drawChanges(context);
    const means = this.curves().filter(({ role }) => role === "mean");
    const main = this.only ?? this.curves().find(({ role }) => role === "fused") ?? (means.length === 1 ? means[0] : null);
    const fused = main?.panels[this.index].y;
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
    if (!view.cost) step = Math.max(1, step);
    context.textAlign = "center";
    for (const value of steps(first, last, step)) {
      const at = x(value), label = view.cost ? tickText(value, step) : countText(value);
      if (at + context.measureText(label).width / 2 > nameFrom) continue;
      context.fillText(label, at, box.y + box.height + 9);
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
    const { box, view } = this, { head, columns, rounds } = view.store, xs = view.cost ? known(view.store.costs[view.cost] ?? NOTHING) : rounds;
    if (head.compares || view.store.settings) return;
    context.strokeStyle = context.fillStyle = view.ink;
    context.lineWidth = 1;
    context.globalAlpha = .6;
    if (view.isSparing()) {
      const [a, b] = this.seen(xs), { x } = this.scales();
      let before = -1;
      for (let i = a; i < b; i++) {
        const at = Math.round(x(xs.values[i])) + .5;
        if (columns[1].values[i] < 1 || at === before) continue;
        before = at;
        line(context, at, box.y + box.height, at, box.y + box.height - 7);
      }
    }
    context.setLineDash([1, 3]);
    for (const [round] of head.changes ?? []) {
      const at = Math.round(this.beginOf(round)) + .5;
      line(context, at, box.y, at, box.y + box.height);
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** The pixel at which a round begins. */
  beginOf(round) {
    const { view } = this, { costs, rounds } = view.store, { x } = this.scales();
    const i = rounds.find(round);
    return x(view.cost ? (i ? costs[view.cost].values[i - 1] : 0) : round - .5);
  }

  drawChanges(context) {
    const { box, view } = this, { head } = view.store;
    if (head.compares || view.store.settings) return;
    context.textBaseline = "top";
    context.textAlign = "left";
    const free = Array(CHANGE_ROWS).fill(-Infinity); // where each row of labels has room again
    for (const [round, what] of head.changes ?? []) {
      const at = this.beginOf(round), label = shortened(what), width = context.measureText(label).width;
      const from = at + 4 + width > box.x + box.width ? at - 4 - width : at + 4;
      const row = free.findIndex((place) => from >= place);
      if (row < 0 || at < box.x || at > box.x + box.width) continue;
      this.write(context, label, from, box.y + 1 + row * 13);
      free[row] = from + width + 6;
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
    const { role } = series, isMain = ["fused", "mean"].includes(role) || view.store.head.compares;
    if (this.only && series !== this.only) {
      context.strokeStyle = view.ink;
      context.globalAlpha = .3;
      context.lineWidth = .8;
      this.path(context, xs, panel.y, range, []);
      context.globalAlpha = 1;
      return;
    }
    // Many points of many curves would be a thicket: all but the main ones step back.
    const isCrowded = range[1] - range[0] > this.box.width / 4;
    if (role === "band") {
      context.globalAlpha = .2 * (strength ?? 1);
      this.area(context, xs, panel.low, panel.high, range);
      context.globalAlpha = strength ?? (isCrowded ? .4 : .6);
      context.lineWidth = 1;
      this.path(context, xs, panel.middle, range, []);
    } else {
      if (role === "mean") {
        context.globalAlpha = .2 * (strength ?? 1);
        this.area(context, xs, panel.low, panel.high, range);
        if (view.showsRuns(series)) this.drawRuns(context, series, strength ?? 1);
      }
      const isParty = role === "party" || role === "worst";
      context.globalAlpha = strength ?? (isMain ? 1 : isParty && isCrowded ? (role === "worst" ? .4 : .6) : .85);
      context.lineWidth = (isMain ? 2.4 : isParty ? (isCrowded ? .9 : 1.3) : 1.6) + (strength === 1 ? 1 : 0);
      this.path(context, xs, panel.y, range, view.dash(series));
    }
    context.globalAlpha = 1;
  }

  /** Draw the runs of a setting, thin. */
  drawRuns(context, series, strength) {
    context.strokeStyle = context.fillStyle = this.view.colour(series);
    context.globalAlpha = .7 * strength;
    context.lineWidth = 1;
    for (const run of series.runsOf(this.index)) {
      const xs = this.view.xOf(run);
      this.path(context, xs, run.y, this.seen(xs), RUN_DASH);
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
        if (!Number.isFinite(value) || !Number.isFinite(xs.values[i]) || (this.isLog && value <= 0)) continue;
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
        if (!Number.isFinite(lows.values[i]) || !Number.isFinite(xs.values[i]) || (this.isLog && lows.values[i] <= 0)) continue;
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
      this.dot(context, at, height, ["fused", "mean"].includes(series.role) ? 3.5 : 2.5);
      if (view.cursor.panel === this && Math.abs(height - view.pointerY) < distance) {
        distance = Math.abs(height - view.pointerY);
        view.near = series.id;
      }
    }
    const pointed = this.curves().find(({ id, role }) => role === "mean" && id === view.near && (!this.only || this.only.id === id));
    if (pointed && !view.showsRuns(pointed)) {
      context.save();
      context.beginPath();
      context.rect(box.x - 4, box.y - 4, box.width + 8, box.height + 8); // dots on the edge are whole
      context.clip();
      this.drawRuns(context, pointed, 1);
      context.restore();
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
    const parts = x === undefined ? ["no round yet"] : view.known(x).filter(({ id }) => !this.only || id === this.only.id).map(({ name, texts }) => `${name} ${texts[this.index]}`);
    const said = x === undefined ? "" : view.said(x);
    plot.setAttribute("aria-valuetext", [`${view.axisName} ${x === undefined ? "" : placeText(x)}: ${parts.join(", ")}`, said].filter(Boolean).join("; "));
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

