// Requests per second as an area, failures as hatched bars with a cross above them, starts of groups as marks.

const SVG = 'http://www.w3.org/2000/svg';
const SPAN_MS = 120000;
const PAD = { left: 38, right: 6, top: 16, bottom: 18 };
/** Columns in which failures are summed: narrower ones could not be seen. */
const COLUMN_MS = 1000;

/** Draws into `host`. `draw(points, marks, now)` takes points `{at, rps, failed}` in order of time, marks `{at, name}`. */
export function plot(host) {
  const svg = make('svg', { class: 'plot-svg', 'aria-hidden': 'true' });
  const defs = make('defs', {}, svg);
  const hatch = make('pattern', { id: 'hatch', width: 4, height: 4, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' }, defs);
  make('rect', { width: 4, height: 4, class: 'hatch-ground' }, hatch);
  make('path', { d: 'M0 0v4', class: 'hatch-line' }, hatch);
  const grid = make('g', { class: 'grid' }, svg);
  const marks = make('g', { class: 'marks' }, svg);
  const area = make('path', { class: 'area' }, svg);
  const line = make('path', { class: 'rps' }, svg);
  const fails = make('g', { class: 'fails' }, svg);
  host.append(svg);
  let size = { w: 0, h: 0 };
  let last = [[], [], Date.now()];
  new ResizeObserver(() => {
    size = { w: host.clientWidth, h: host.clientHeight };
    svg.setAttribute('viewBox', `0 0 ${size.w} ${size.h}`);
    draw(...last);
  }).observe(host);

  function draw(points, groups, now) {
    last = [points, groups, now];
    if (!size.w) return;
    const top = ceiling(points.reduce((most, p) => Math.max(most, p.rps), 0));
    const x = (at) => PAD.left + (1 - (now - at) / SPAN_MS) * (size.w - PAD.left - PAD.right);
    const y = (rps) => size.h - PAD.bottom - (rps / top) * (size.h - PAD.top - PAD.bottom);
    drawGrid(grid, size, top, y);
    drawMarks(marks, groups.filter((g) => now - g.at < SPAN_MS), x, size);
    const seen = points.filter((p) => now - p.at <= SPAN_MS);
    const path = seen.map((p, i) => `${i ? 'L' : 'M'}${x(p.at).toFixed(1)} ${y(p.rps).toFixed(1)}`).join('');
    line.setAttribute('d', path);
    const base = size.h - PAD.bottom;
    area.setAttribute('d', seen.length ? `${path}L${x(seen.at(-1).at).toFixed(1)} ${base}L${x(seen[0].at).toFixed(1)} ${base}Z` : '');
    drawFails(fails, seen, x, size, base);
  }
  return { draw };
}

function drawGrid(grid, size, top, y) {
  const rows = [0, 0.5, 1].map((share) => {
    const at = y(top * share);
    return [
      make('path', { d: `M${PAD.left} ${at}H${size.w - PAD.right}` }),
      text(PAD.left - 6, at + 3.5, short(top * share), 'end'),
    ];
  });
  grid.replaceChildren(
    ...rows.flat(),
    text(PAD.left, size.h - 4, '2 min ago', 'start'),
    text(size.w - PAD.right, size.h - 4, 'now', 'end'),
  );
}

function drawMarks(host, groups, x, size) {
  let free = Infinity;
  // From the newest back: where names would overlap, the newer one is told.
  host.replaceChildren(...[...groups].reverse().flatMap((g) => {
    const at = x(g.at);
    const line = make('path', { d: `M${at.toFixed(1)} ${PAD.top - 4}V${size.h - PAD.bottom}` });
    const wide = g.name.length * 6.2;
    const left = Math.min(at - 2, size.w - wide);
    if (left + wide > free) return [line];
    free = left - 6;
    return [line, text(left, PAD.top - 6, g.name, 'start')];
  }));
}

function drawFails(host, points, x, size, base) {
  const columns = new Map();
  for (const p of points.filter((p) => p.failed > 0)) {
    const column = Math.floor(p.at / COLUMN_MS) * COLUMN_MS;
    columns.set(column, (columns.get(column) ?? 0) + p.failed);
  }
  const most = Math.max(1, ...columns.values());
  const wide = Math.max(4, x(COLUMN_MS) - x(0) - 1);
  host.replaceChildren(...[...columns].flatMap(([at, n]) => {
    // One failure must be seen beside thousands: a third of the height at least.
    const high = (base - PAD.top) * (0.3 + 0.6 * (n / most));
    const left = Math.max(PAD.left, x(at));
    const [cx, cy] = [left + wide / 2, base - high - 6];
    return [
      make('rect', { x: left.toFixed(1), y: (base - high).toFixed(1), width: wide.toFixed(1), height: high.toFixed(1), fill: 'url(#hatch)', class: 'fail' }),
      make('path', { d: `M${cx - 3} ${cy - 3}l6 6m0 -6l-6 6`, class: 'cross' }),
    ];
  }));
}

/** A round number above `n`. */
function ceiling(n) {
  if (n <= 10) return 10;
  const unit = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 5, 7.5, 10].map((f) => f * unit).find((c) => c >= n * 1.08) ?? 15 * unit;
}

function short(n) {
  return n >= 1000 ? `${Number((n / 1000).toFixed(2))}k` : String(Math.round(n));
}

function text(x, y, content, anchor) {
  const element = make('text', { x: x.toFixed(1), y: y.toFixed(1), 'text-anchor': anchor });
  element.textContent = content;
  return element;
}

function make(tag, attributes, parent) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent?.append(element);
  return element;
}
