// --------------------------------------------------------------------------------------- settings

const NOTHING = new Column();

/** The settings of an experiment: each has a mean with its band, and its runs, one for each seed. */
class Settings {
  constructor(head) {
    this.costs = head.costs;
    this.numMetrics = head.metrics.length;
    this.seq = -1; // until its numbers are here
    this.tables = [];
    this.groups = [];
    head.tables.forEach((about) => this.add(about));
  }

  add({ group: name, run }) {
    const width = run === undefined ? 3 * this.numMetrics : 1 + this.costs.length + this.numMetrics;
    const table = { name: run, columns: Array.from({ length: width }, () => new Column()) };
    this.tables.push(table);
    if (run === undefined) this.groups.push(new Setting(name, table, this));
    else this.groups.find((group) => group.name === name).runs.push(table);
  }

  /** Take all numbers, table by table; false where they are not of these tables. */
  takeAll(numbers, counts) {
    const total = counts.reduce((sum, count, i) => sum + count * this.tables[i].columns.length, 0);
    if (counts.length !== this.tables.length || numbers.length !== total) return false;
    this.put(numbers, counts.map((count, i) => [i, 0, count]));
    return true;
  }

  /** Take rows in place of those that stand there, and after them. */
  put(numbers, parts) {
    let at = 0;
    for (const [place, first, count] of parts) {
      const { columns } = this.tables[place];
      for (let row = first; row < first + count; row++) {
        for (const column of columns) column.set(row, numbers[at++]);
      }
    }
    this.groups.forEach((group) => group.age());
  }
}

/** One setting: its columns are made when they are asked for. */
class Setting {
  constructor(name, table, settings) {
    Object.assign(this, { name, table, settings, runs: [], known: new Map() });
  }

  age() {
    this.known.clear();
  }

  /** The rounds of the longest run. */
  get rounds() {
    return this.runs.reduce((a, { columns: [b] }) => (b.length > a.length ? b : a), NOTHING);
  }

  /** The mean cost until each round: a round adds its mean over the runs that have it. */
  cost(name) {
    if (!this.known.has(name)) {
      const place = 1 + this.settings.costs.indexOf(name);
      this.known.set(name, meanCost(this.runs.map(({ columns }) => columns[place])));
    }
    return this.known.get(name);
  }

  /** The mean of a metric with its band, as a panel draws it. */
  panel(i) {
    const [y, low, high] = this.table.columns.slice(3 * i, 3 * i + 3), setting = this;
    return { get x() { return setting.rounds; }, cost: (name) => this.cost(name), y, low, high };
  }

  /** Its runs as curves of a panel. */
  runsOf(i) {
    const { costs } = this.settings;
    return this.runs.map(({ name, columns }) => ({
      name, x: columns[0], y: columns[1 + costs.length + i], cost: (cost) => columns[1 + costs.indexOf(cost)],
    }));
  }
}

function meanCost(columns) {
  const made = new Column(), length = Math.max(0, ...columns.map((column) => column.length));
  let sum = 0;
  for (let i = 0; i < length; i++) {
    let added = 0, count = 0;
    for (const { values, length: own } of columns) {
      const step = values[i] - (i ? values[i - 1] : 0);
      if (i >= own || !Number.isFinite(step)) continue;
      added += step;
      count++;
    }
    sum += count ? added / count : NaN;
    made.push(sum);
  }
  return made;
}
