// ------------------------------------------------------------------------------------------- view

class View {
  constructor(store, el) {
    Object.assign(this, { store, zoom: null, cursor: null, lit: null, near: null, cost: "", areSmall: false, hasRuns: false, epoch: -1 });
    this.hidden = new Set();
    this.stops = [];
    this.root = element("div", "fnb-chart", { role: "group" });
    this.legend = element("div", "fnb-legend", { role: "toolbar", "aria-label": "curves: show or hide" });
    this.unzoom = this.tool("whole range", "show all rounds again (Esc)", () => this.zoomTo(null));
    this.axis = element("select", "fnb-tool", { "aria-label": "horizontal axis", title: "the horizontal axis" });
    this.axis.onchange = () => this.switchAxis(this.axis.value);
    this.runs = this.tool("runs", "each run beside the mean of its setting", () => this.switchRuns());
    this.small = this.tool("small multiples", "a small chart for each setting, the others in grey", () => this.switchSmall());
    this.listing = this.tool("table", "the numbers as a table", () => this.unfold());
    for (const button of [this.runs, this.small]) button.setAttribute("aria-pressed", "false");
    this.listing.setAttribute("aria-expanded", "false");
    const tools = element("div", "fnb-tools");
    tools.append(this.unzoom, this.axis, this.runs, this.small, this.listing);
    const bar = element("div", "fnb-bar");
    bar.append(this.legend, tools);
    this.note = element("div", "fnb-note");
    this.grid = element("div", "fnb-panels");
    this.tip = element("div", "fnb-tip", { "aria-hidden": "true" });
    this.tip.hidden = true;
    this.table = element("div", "fnb-table", { tabindex: "0", role: "region", "aria-label": "the numbers as a table" });
    this.table.hidden = true;
    this.root.append(bar, this.note, this.grid, this.table, this.tip);
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
    this.output = output;
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
    const timer = setTimeout(() => { end(); this.rest(); }, 5000);
    waiting.observe(area, { childList: true, subtree: true });
    return undefined;
  }

  /** Stay without a picture: JupyterLab takes none into a page that was loaded again meanwhile. */
  rest() {
    const { area, output, place } = this;
    const isBare = output === area.children[place] && !output.querySelector(".jupyter-widgets");
    if (!area.isConnected || !isBare) return this.close();
    this.hasSettled = true;
    output.append(this.root);
    this.last = "this page was loaded while the run trained, and was sent no result: show the run's variable in a cell";
    return this.redraw();
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
      this.arrange();
      this.dress();
    } else if (this.areSmall && this.panels.length !== this.store.series.length) this.arrange();
    this.redraw();
  }

  /** Make a panel for each metric, or a small one for each setting. */
  arrange() {
    const { head, series } = this.store, last = head.metrics.length - 1;
    this.grid.replaceChildren();
    this.grid.classList.toggle("fnb-small", this.areSmall);
    this.panels = this.areSmall
      ? series.map((each) => new Panel(this, head.metrics[last], last, each))
      : head.metrics.map((metric, i) => new Panel(this, metric, i));
    this.cursor = null;
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
        this.offer();
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
    if (role === "mean") return [this.colours.fused, ...this.partyColours][index % (PARTIES + 1)];
    if (role === "run") return [this.colours.fused, ...this.partyColours][(index + (this.store.head.compares ? 0 : 2)) % (PARTIES + 1)];
    if (role === "worst") return this.partyColours[0];
    return this.ink;
  }

  dash({ role, index }) {
    if (role === "mean" || (role === "run" && this.store.head.compares)) {
      const colours = PARTIES + 1, turn = Math.floor(index / colours) + (index % colours < SOLID ? 0 : 1);
      return RUN_DASHES[turn % RUN_DASHES.length];
    }
    return role === "run" ? RUN_DASHES[1] : DASHES[role] ?? [];
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
    chip.append(this.sample(series), shortened(series.name));
    return chip;
  }

  /** A piece of a curve, as it is drawn: legend and tip show what belongs to a name by it. */
  sample(series, isRun = false) {
    const made = element("span", "fnb-sample", { "aria-hidden": "true" });
    made.innerHTML = `<svg width="20" height="8"><line x1="0" x2="20" y1="4" y2="4"/></svg>`;
    const line = made.querySelector("line");
    line.setAttribute("stroke", this.colour(series));
    line.setAttribute("stroke-width", isRun ? 1 : ["fused", "mean"].includes(series.role) ? 3 : series.role === "band" ? 8 : 2);
    if (series.role === "band") line.setAttribute("stroke-opacity", .3);
    line.setAttribute("stroke-dasharray", (isRun ? RUN_DASH : this.dash(series)).join(" "));
    return made;
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
    if (this.cost) {
      first = last = 0;
    } else if (!head.compares) {
      let room = 20;
      while (room < (rounds.values[count - 1] ?? 0)) room *= 2;
      last = Math.max(2, rounds.values[count - 1] ?? 0, Math.min(head.planned, room));
    }
    for (const series of this.shown ?? []) {
      if (!this.isShown(series) || !(this.cost || ["run", "mean"].includes(series.role))) continue;
      for (const panel of series.panels.filter(Boolean)) {
        const x = this.xOf(panel);
        if (x.length) last = Math.max(last, x.values[x.length - 1] || 0);
      }
    }
    return [first, last > first ? last : first + (this.cost ? 1e-3 : 1)];
  }

  xOf(panel) {
    return this.cost ? known(panel.cost(this.cost)) : panel.x;
  }

  zoomTo(range) {
    this.zoom = range;
    this.redraw();
  }

  /** Draw against rounds, or against a cost by its name. */
  switchAxis(cost) {
    this.cost = cost;
    this.panels.forEach((panel) => panel.name());
    this.cursor = null;
    this.zoomTo(null);
  }

  switchRuns() {
    this.hasRuns = !this.hasRuns;
    this.runs.setAttribute("aria-pressed", String(this.hasRuns));
    this.tabulatedAt = -Infinity;
    this.redraw();
  }

  switchSmall() {
    this.areSmall = !this.areSmall;
    this.small.setAttribute("aria-pressed", String(this.areSmall));
    this.arrange();
    this.redraw();
  }

  get axisName() {
    return this.cost || "round";
  }

  /** Offer the axes and the buttons for which there is something to draw, and say what a band is. */
  offer() {
    const { head, series, settings } = this.store;
    const names = settings?.costs ?? Object.keys(head.compares ? head.runs[0]?.costs ?? {} : this.store.costs);
    const costs = names.filter((name) => series.some(({ panels }) => known(panels.find(Boolean)?.cost(name) ?? NOTHING).length));
    const offered = costs.join();
    if (offered !== this.offered) {
      this.offered = offered;
      this.axis.replaceChildren(...["", ...costs].map((cost) => Object.assign(element("option"), { value: cost, textContent: `by ${cost || "round"}` })));
      if (this.cost && !costs.includes(this.cost)) this.switchAxis("");
      this.axis.value = this.cost;
    }
    this.runs.hidden = !settings || settings.tables.length === 2 * settings.groups.length;
    this.small.hidden = !settings || settings.groups.length < 2;
    const left = head.left ? `${head.left} more settings are not drawn` : "";
    this.note.textContent = [head.band, left, this.last].filter(Boolean).join("; ");
    this.note.hidden = !this.note.textContent;
  }

  /** Whether the runs of a setting are drawn: all are, or its name is pointed at. */
  showsRuns({ id, role }) {
    return role === "mean" && (this.hasRuns || this.lit === id);
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
    const found = this.cost ? xs.before(x) : i;
    return found >= 0 && found < xs.length && (this.cost || xs.values[found] === x) ? panel[part]?.values[found] : undefined;
  }

  /** What is known at a place: for each curve its name, and a text for each panel. */
  known(x, near = null) {
    const rows = [], written = this.store.head.metrics.map((_, i) => {
      const panel = this.panels.find(({ index, isLog }) => index === i && !isLog);
      return (value) => text(value, panel?.step);
    });
    for (const series of this.shown ?? []) {
      if (!this.isShown(series)) continue;
      const { name } = series;
      const texts = this.store.head.metrics.map((_, i) => {
        const panel = series.panels[i];
        const text = written[i];
        if (!panel) return "–";
        if (series.role === "band") {
          const low = this.at(panel, "low", x), high = this.at(panel, "high", x);
          return Number.isFinite(low) ? `${text(low)} to ${text(high)}` : "–";
        }
        const value = this.at(panel, "y", x);
        if (series.role === "mean") {
          const low = this.at(panel, "low", x), high = this.at(panel, "high", x);
          return Number.isFinite(low) ? `${text(value)} (${text(low)} to ${text(high)})` : text(value);
        }
        if (series.role !== "worst") return text(value);
        const who = this.store.head.parties[this.at(panel, "who", x)];
        return who === undefined ? "–" : `${text(value)} (${shortened(who)})`;
      });
      rows.push({ series, id: series.id, name, isBand: series.role === "band", texts });
      if (this.showsRuns(series) || (series.role === "mean" && series.id === near)) rows.push(...this.knownOfRuns(series, x, written));
    }
    return rows;
  }

  knownOfRuns(series, x, written) {
    const byMetric = this.store.head.metrics.map((_, i) => series.runsOf(i));
    return byMetric[0].map(({ name }, k) => ({
      series, id: series.id, name: `${series.name}, ${name}`, isBand: true, isRun: true,
      texts: byMetric.map((runs, i) => written[i](this.at(runs[k], "y", x))),
    }));
  }

  /** What else is to be said of a round: a change, or that weights travelled. */
  said(x) {
    if (this.cost || this.store.head.compares) return "";
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
    for (const name of [`${this.axisName} ${placeText(cursor.x)}`, ...metrics.map((metric) => metric.name)]) {
      header.append(Object.assign(element("th"), { textContent: name }));
    }
    const body = table.createTBody();
    for (const { series, id, name, isBand, isRun, texts } of this.short(this.known(cursor.x, this.near))) {
      const row = body.insertRow();
      if (id === this.near && !isBand) row.className = "fnb-near";
      row.insertCell().append(this.sample(series, isRun), shortened(name));
      texts.forEach((each) => { row.insertCell().textContent = each; });
    }
    this.tip.replaceChildren(table);
    const said = this.said(cursor.x);
    if (said) this.tip.append(Object.assign(element("div", "fnb-said"), { textContent: said }));
    cursor.panel.place(this.tip);
  }

  /** Leave out the runs that are far from the pointer, where there is no room for all. */
  short(rows) {
    return rows.length <= TIP_ROWS ? rows : rows.filter(({ id, isRun }) => !isRun || id === this.near);
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
    const { title, band } = this.store.head;
    table.createCaption().textContent = `${title}: ${xs.length} of ${this.numPlaces()} rounds, the latest first${band ? `; ${band}` : ""}`;
    const header = table.createTHead().insertRow();
    const cell = (content, scope) => Object.assign(element("th"), { textContent: content, scope });
    header.append(cell(this.axisName, "col"));
    for (const { name } of this.known(xs[0])) {
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

