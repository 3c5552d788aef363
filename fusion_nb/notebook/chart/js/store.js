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
    model.send({ type: "hello", epoch: this.head.epoch, have: this.settings ? this.settings.seq : this.count });
  }

  /** The state holds everything up to some round; messages bring what comes after. */
  read() {
    const head = this.model.get("head");
    if (!this.head || head.epoch > this.head.epoch) this.begin(head);
    else if (head.epoch === this.head.epoch) Object.assign(this.head, head);
    if (head.epoch === this.head.epoch) this.takeState(head, floats(this.model.get("rows")));
    this.changed();
  }

  takeState(head, numbers) {
    if (!this.settings) {
      this.take(numbers, 0);
      return;
    }
    head.tables.slice(this.settings.tables.length).forEach((about) => this.settings.add(about));
    // Head and numbers come in two messages, between which more may have been trained.
    if (this.settings.takeAll(numbers, head.counts)) this.settings.seq = head.seq;
    this.series = this.describe();
  }

  hear(message, buffers) {
    if (!["rows", "parts"].includes(message.type) || message.epoch < this.head.epoch) return;
    const isSettings = message.type === "parts", { settings } = this;
    if (isSettings && settings && message.epoch === this.head.epoch && message.seq <= settings.seq) return;
    const lacks = isSettings ? !settings || message.seq > settings.seq + 1 || message.first > settings.tables.length : message.first > this.count;
    if (message.epoch > this.head.epoch || lacks) {
      this.model.send({ type: "whole" });
      return;
    }
    Object.assign(this.head, message.head);
    if (isSettings) this.takeParts(message, floats(buffers[0]));
    else this.take(floats(buffers[0]), message.first);
    this.changed();
  }

  takeParts({ seq, first, tables, parts }, numbers) {
    const { settings } = this, known = settings.tables.length;
    tables.slice(known - first).forEach((about) => settings.add(about));
    settings.put(numbers, parts);
    settings.seq = seq;
    if (settings.tables.length > known) this.series = this.describe();
  }

  begin(head) {
    this.head = { ...head };
    this.columns = head.columns.map(() => new Column());
    this.runs = (head.runs ?? []).map((run) => ({
      ...run,
      rounds: new Column(floats(run.rounds)),
      costs: Object.fromEntries(Object.entries(run.costs).map(([name, values]) => [name, new Column(floats(values))])),
      values: run.values.map((values) => new Column(floats(values))),
    }));
    this.settings = head.tables ? new Settings(head) : null;
    this.costs = Object.fromEntries(head.columns.flatMap(({ role, name }, i) => (role === "cost" ? [[name, this.columns[i]]] : [])));
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
    const found = new Map(), cost = (name) => this.costs[name] ?? NOTHING;
    this.head.columns.forEach(({ role, panel, name, part }, i) => {
      if (["round", "sent", "cost"].includes(role)) return;
      const id = role === "party" ? `party ${name}` : role;
      if (!found.has(id)) found.set(id, { id, role, name, panels: [] });
      const series = found.get(id);
      series.panels[panel] ??= {};
      series.panels[panel][part ?? "y"] = this.columns[i];
      Object.assign(series.panels[panel], { x: this.columns[0], cost });
    });
    [...found.values()].filter(({ role }) => role === "party").forEach((series, i) => {
      series.index = i % PARTIES;
    });
    this.runs.forEach((run, i) => {
      const panels = run.values.map((y) => ({ x: run.rounds, cost: (name) => run.costs[name] ?? NOTHING, y }));
      found.set(`run ${run.name}`, { id: `run ${run.name}`, role: "run", name: run.name, index: i, panels });
    });
    this.settings?.groups.forEach((setting, index) => {
      const { name } = setting, id = `setting ${name}`;
      const panels = this.head.metrics.map((_, i) => setting.panel(i));
      found.set(id, { id, role: "mean", name, index, panels, runsOf: (i) => setting.runsOf(i) });
    });
    return [...found.values()];
  }

  changed() {
    for (const view of this.views) view.update();
  }
}

