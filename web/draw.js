// Draws parts of the board. Every function changes only what differs from what is there, so a board at rest costs nothing.

const STATES = {
  serving: 'serving', draining: 'draining', updating: 'updating', starting: 'starting', leaving: 'leaving', failing: 'failing', lost: 'lost',
};
const PHASES = { planned: 'planned', running: 'running', held: 'held', paused: 'paused', waiting: 'waits for confirmation', done: 'done' };
const LABELS = { confirm: 'Confirm', pause: 'Pause', continue: 'Continue', rollback: 'Roll back' };
const number = new Intl.NumberFormat('en');
const natural = new Intl.Collator('en', { numeric: true });
/** More nodes than this are not drawn as rows of their own. */
const NODE_ROWS_MAX = 6;

export const $ = (id) => document.getElementById(id);

/** An element with properties and children. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'class') element.className = value;
    else if (name.startsWith('data-') || name.startsWith('aria-') || name === 'role') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** The icon of that name. */
export function icon(name, extra = '') {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('class', `icon ${extra}`);
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Writes a text, unless it is there: screen readers speak of every change. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A count with its separators. */
export function count(n) {
  return number.format(n);
}

/** `12 s`, `3 min 5 s`. */
export function length(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** What the application is doing and why it waits. */
export function news(app) {
  const told = app.told;
  $('news').dataset.tone = told.tone;
  $('told-icon').setAttribute('href', `#i-${told.tone}`);
  say($('app-name'), `${app.namespace}/${app.name}`);
  const { from, to } = app.versions;
  const moves = from !== to;
  const versions = $('versions');
  const wanted = moves ? `${from} → ${to}` : to;
  if (versions.dataset.text !== wanted) {
    versions.dataset.text = wanted;
    versions.replaceChildren(
      ...(moves ? [h('span', { class: 'chip old' }, from), h('span', { 'aria-label': 'to' }, '→')] : []),
      h('span', { class: 'chip new' }, to),
    );
  }
  say($('told-title'), told.title);
  say($('told-text'), told.text);
  const notes = $('told-notes');
  const text = told.notes.join('\n');
  if (notes.dataset.text !== text) {
    notes.dataset.text = text;
    notes.replaceChildren(...told.notes.map((note) => h('li', {}, note)));
  }
}

/** The buttons. They stay in place, so that none slips under a finger. */
export function actions(app, press) {
  const host = $('actions');
  const shape = app.actions.join();
  if (host.dataset.shape === shape) return;
  const held = document.activeElement?.dataset?.verb;
  host.dataset.shape = shape;
  host.replaceChildren(...app.actions.map((verb) => {
    const looks = { confirm: 'primary', continue: 'primary', rollback: 'danger' }[verb] ?? '';
    return h('button', { type: 'button', class: `button ${looks}`, 'data-verb': verb, onclick: () => press(verb) }, icon(verb), LABELS[verb]);
  }));
  host.querySelector(`[data-verb="${held}"]`)?.focus();
}

/** The groups of the release, one after the other. */
export function timeline(app, now) {
  $('groups').hidden = app.groups.length === 0;
  $('timeline').replaceChildren(...app.groups.map((group) => step({ ...group, phase: phaseOf(group, app) }, now)));
}

/** A group that runs does not run on while its release is held or paused. */
function phaseOf(group, app) {
  const stopped = { Held: 'held', Paused: 'paused' }[app.phase];
  return group.phase === 'running' && stopped ? stopped : group.phase;
}

function step(group, now) {
  const isPlanned = group.phase === 'planned';
  const ready = isPlanned ? 0 : group.ready;
  const share = group.pods ? Math.round((ready / group.pods) * 100) : 100;
  const cells = group.cells.map(([cell, pods]) => h('span', { class: 'share' }, h('b', {}, String(pods)), ` ${cell}`));
  const bar = h('span', { class: 'bar', role: 'progressbar', 'aria-valuenow': share, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': `${group.name}: ${ready} of ${group.pods} pods` }, h('i', {}));
  bar.firstChild.style.width = `${share}%`;
  return h('li', { class: 'step', 'data-phase': group.phase, 'aria-current': ['planned', 'done'].includes(group.phase) ? undefined : 'step' },
    h('p', { class: 'step-head' }, icon(group.phase), h('b', {}, group.name), h('span', { class: 'step-count' }, isPlanned ? `${group.pods} pods` : `${ready}/${group.pods}`)),
    bar,
    h('p', { class: 'shares' }, ...cells),
    h('p', { class: 'step-time', 'data-started': group.started ?? '', 'data-finished': group.finished ?? '', 'data-phase': PHASES[group.phase] }, stepTime(group.started, group.finished, PHASES[group.phase], now)));
}

function stepTime(started, finished, phase, now) {
  if (!started) return phase;
  return `${phase} · ${length((finished || now) - started)}`;
}

/** Times that go on by themselves. */
export function clocks(app, now) {
  for (const p of document.querySelectorAll('.step-time')) {
    say(p, stepTime(Number(p.dataset.started), Number(p.dataset.finished), p.dataset.phase, now));
  }
  const since = $('told-since');
  since.hidden = !app?.told.since;
  if (app?.told.since) say(since, `for ${length(now - app.told.since)}`);
  for (const time of document.querySelectorAll('.event-time')) say(time, ago(now - Number(time.dataset.at)));
}

function ago(ms) {
  return ms < 1500 ? 'now' : `${length(ms).replace(/ (min|h) .*/, ' $1')} ago`;
}

/** Panels of cells, kept from one drawing to the next. */
export class Cells {
  constructor() {
    this.panels = new Map();
    this.tiles = new Map();
  }

  /** Draws the cells of an application with its pods, `nodes` being the other nodes by cell. */
  draw(app, pods, nodes) {
    const names = app.cells.map((c) => c.name);
    for (const name of [...this.panels.keys()].filter((n) => !names.includes(n))) {
      this.panels.get(name).root.remove();
      this.panels.delete(name);
    }
    for (const cell of app.cells) {
      const panel = this.panels.get(cell.name) ?? this.add(cell.name);
      head(panel, cell);
      others(panel, nodes.get(cell.name));
    }
    const order = names.map((n) => this.panels.get(n).root);
    if (order.some((root, i) => $('cells').children[i] !== root)) $('cells').replaceChildren(...order);
    this.place(app, pods);
  }

  add(name) {
    const head = h('div', { class: 'cell-head' });
    const body = h('div', { class: 'cell-body' });
    const foot = h('div', { class: 'cell-foot', hidden: true });
    const root = h('section', { class: 'cell', 'aria-label': `Cell ${name}`, 'data-cell': name }, head, body, foot);
    const panel = { root, head, body, foot, rows: new Map() };
    this.panels.set(name, panel);
    return panel;
  }

  /** Puts every tile where it belongs; tiles that stay are not touched. */
  place(app, pods) {
    const seen = new Set();
    const sorted = [...pods].sort(([, a], [, b]) => natural.compare(a.node, b.node) || natural.compare(a.name, b.name));
    for (const cell of app.cells) {
      const panel = this.panels.get(cell.name);
      const own = sorted.filter(([, pod]) => pod.cell === cell.name);
      const nodes = [...new Set(own.map(([, pod]) => pod.node))];
      const cut = common(own.map(([, pod]) => pod.name));
      const byNode = nodes.length <= NODE_ROWS_MAX;
      const wanted = byNode ? nodes : ['*'];
      for (const key of [...panel.rows.keys()].filter((k) => !wanted.includes(k))) {
        panel.rows.get(key).root.remove();
        panel.rows.delete(key);
      }
      wanted.forEach((key, i) => {
        const row = panel.rows.get(key) ?? addRow(panel, key);
        if (panel.body.children[i] !== row.root) panel.body.insertBefore(row.root, panel.body.children[i] ?? null);
        const answers = cell.nodes.find(([name]) => name === key)?.[1];
        if (byNode) nodeHead(row, key, answers);
        const tiles = own.filter(([, pod]) => !byNode || pod.node === key).map(([name, pod]) => {
          seen.add(name);
          return this.tile(name, pod, pod.name.slice(cut));
        });
        if (tiles.length !== row.list.children.length || tiles.some((t, n) => row.list.children[n] !== t)) row.list.replaceChildren(...tiles);
      });
    }
    for (const key of [...this.tiles.keys()].filter((k) => !seen.has(k))) {
      this.tiles.get(key).root.remove();
      this.tiles.delete(key);
    }
    hidden(app);
  }

  tile(key, pod, label) {
    const tile = this.tiles.get(key) ?? this.addTile(key);
    const text = JSON.stringify(pod);
    if (tile.text === text) return tile.root;
    tile.text = text;
    tile.root.dataset.state = pod.state;
    tile.root.dataset.fresh = pod.fresh;
    tile.root.title = `${pod.name}\n${pod.node || 'no node yet'} ${pod.ip}\n${pod.detail}`.trim();
    tile.use.setAttribute('href', `#i-${pod.state}`);
    say(tile.name, label);
    say(tile.version, pod.version);
    tile.version.className = `chip ${pod.fresh ? 'new' : 'old'}`;
    say(tile.state, STATES[pod.state] ?? pod.state);
    say(tile.detail, pod.detail);
    tile.detail.hidden = !pod.detail;
    return tile.root;
  }

  addTile(key) {
    const svg = icon('serving');
    const tile = {
      use: svg.firstChild,
      name: h('b', { class: 'tile-name' }),
      version: h('span', { class: 'chip' }),
      state: h('span', { class: 'tile-state' }),
      detail: h('span', { class: 'tile-detail', hidden: true }),
      load: h('span', { class: 'tile-load' }),
      meter: h('i', {}),
    };
    tile.root = h('li', { class: 'tile', 'data-pod': key },
      h('p', { class: 'tile-head' }, svg, tile.name, tile.version),
      h('p', { class: 'tile-line' }, tile.state, tile.load),
      tile.detail,
      h('span', { class: 'tile-meter', 'aria-hidden': 'true' }, tile.meter));
    this.tiles.set(key, tile);
    return tile;
  }

  /** Open requests and rates of pods. */
  load(pods, isKnown) {
    const most = Math.max(1, ...Object.values(pods).map((p) => p.rps));
    for (const [key, tile] of this.tiles) {
      const at = pods[key] ?? { open: 0, rps: 0 };
      say(tile.load, isKnown ? `${count(at.rps)}/s · ${at.open} open` : '');
      tile.meter.style.width = `${isKnown ? Math.round((at.rps / most) * 100) : 0}%`;
    }
  }
}

/** How many letters all names of a cell begin with, up to a dash: the panel's title says them once. */
function common(names) {
  let length = names[0]?.lastIndexOf('-') + 1 || 0;
  while (length > 0 && !names.every((n) => n.startsWith(names[0].slice(0, length)))) {
    length = names[0].lastIndexOf('-', length - 2) + 1;
  }
  // A bare number says too little.
  const isBare = names.some((n) => /^\d*$/.test(n.slice(length)));
  return isBare && length ? names[0].lastIndexOf('-', length - 2) + 1 : length;
}

function head(panel, cell) {
  panel.root.dataset.lost = cell.lost;
  const text = JSON.stringify(cell);
  if (panel.text === text) return;
  panel.text = text;
  const share = (n) => `${cell.want ? Math.min(100, Math.round((n / cell.want) * 100)) : 100}%`;
  const bar = h('span', { class: 'bar level', role: 'meter', 'aria-valuenow': cell.available, 'aria-valuemin': 0, 'aria-valuemax': cell.want, 'aria-label': `${cell.name}: available pods` },
    h('i', {}), h('em', {}));
  bar.children[0].style.width = share(cell.available);
  bar.children[1].style.left = share(cell.min);
  bar.children[1].hidden = !cell.min;
  // A cell that is still being filled for the first time is not below its minimum.
  const present = Object.values(cell.states).reduce((a, b) => a + b, 0);
  const low = cell.available < cell.min && present >= cell.min;
  panel.root.dataset.low = low && !cell.lost;
  panel.head.replaceChildren(
    h('p', { class: 'cell-title' }, h('b', {}, cell.name), cell.lost ? h('span', { class: 'badge' }, icon('lost'), 'lost') : ''),
    h('p', { class: 'cell-count' }, h('b', {}, String(cell.available)), ` of ${cell.want} available`, cell.min ? h('span', {}, ` · at least ${cell.min}`) : ''),
    bar,
    h('p', { class: 'cell-updated' }, `${cell.updated} updated`));
}

function others(panel, nodes) {
  panel.foot.hidden = !nodes?.nodes;
  const text = JSON.stringify(nodes ?? null);
  if (panel.nodes === text) return;
  panel.nodes = text;
  if (!nodes?.nodes) return;
  panel.foot.replaceChildren(h('p', {}, describe(nodes)), strip(nodes.strip));
}

/** A count of nodes in words. */
export function describe(nodes) {
  const parts = [`${count(nodes.nodes)} other ${nodes.nodes === 1 ? 'node' : 'nodes'}`];
  if (nodes.lost) parts.push(`${count(nodes.lost)} do not answer`);
  else if (nodes.ready === nodes.nodes) parts.push(nodes.nodes === 1 ? 'ready' : 'all ready');
  else parts.push(`${count(nodes.ready)} ready`);
  if (nodes.cordoned) parts.push(`${count(nodes.cordoned)} cordoned`);
  if (nodes.pods) parts.push(`${count(nodes.pods)} pods`);
  return parts.join(' · ');
}

/** One column for each node or few: the darker, the more pods; crossed when one does not answer. */
function strip(columns) {
  const host = h('span', { class: 'strip', 'aria-hidden': 'true' });
  host.append(...[...columns].map((c) => h('i', { 'data-heat': c })));
  return host;
}

function addRow(panel, key) {
  const title = h('p', { class: 'node' });
  const list = h('ul', { class: 'tiles' });
  const row = { root: h('div', { class: 'node-row' }, title, list), title, list };
  title.hidden = key === '*';
  panel.rows.set(key, row);
  return row;
}

function nodeHead(row, node, answers) {
  row.root.dataset.answers = answers ?? 'unknown';
  say(row.title, node ? `${node}${answers === false ? ' does not answer' : ''}` : 'no node yet');
}

function hidden(app) {
  const others = $('others');
  others.hidden = !app.hidden;
  if (app.hidden) say(others, `and ${count(app.hidden)} more pods that are counted, but not drawn`);
}

/** The newest events. */
export function events(list, now) {
  $('events').replaceChildren(...list.map((e) => h('li', { class: 'event', 'data-warning': e.warning },
    h('p', {}, e.warning ? icon('warn') : '', h('b', {}, e.reason), h('span', { class: 'about' }, ` ${e.about}`), e.count > 1 ? h('span', { class: 'times' }, ` ×${count(e.count)}`) : '',
      h('time', { class: 'event-time', 'data-at': e.at }, ago(now - e.at))),
    h('p', { class: 'event-text' }, e.message))));
  if (!list.length) $('events').replaceChildren(h('li', { class: 'event quiet' }, 'Nothing has happened lately.'));
}

/** What the icons mean. */
export function legend() {
  $('states').replaceChildren(...Object.entries(STATES).map(([state, word]) => h('li', { 'data-state': state }, icon(state), word)));
}
