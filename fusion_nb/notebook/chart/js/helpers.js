// ------------------------------------------------------------------------------------------ helpers

function element(tag, className = "", attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** A column of places, or an empty one where they are not known. */
function known(column) {
  return Number.isFinite(column.values[0]) ? column : NOTHING;
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
