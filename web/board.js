// The board: keeps parts and ticks as the stream tells them, and redraws what changed once per frame.

import { $, Cells, actions, clocks, count, describe, events, h, legend, news, say, timeline } from './draw.js';
import { plot } from './plot.js';
import { bearer, follow } from './stream.js';

const TICKS_MAX = 480;
/** Figures older than this are no figures. */
const QUIET_MS = 2500;
const TOAST_MS = 6000;

const token = takeToken();
const parts = new Map();
let ticks = [];
/** Server time minus ours. */
let skew = 0;
let selected = sessionStorage.getItem('app');
const dirty = new Set();
const cells = new Cells();
const curve = plot($('plot'));
const groupStarts = new Map();

legend();
if (token) {
  follow('/api/events', token, { message, state: linkState });
  setInterval(tickClocks, 1000);
} else {
  linkState('refused', 'no token: open the address that was printed');
}

/** The token from the link, which then leaves the address bar; kept for this tab alone. */
function takeToken() {
  const url = new URL(location.href);
  const given = url.searchParams.get('token') ?? new URLSearchParams(url.hash.slice(1)).get('token');
  if (given) {
    sessionStorage.setItem('token', given);
    history.replaceState(null, '', url.pathname);
  }
  return sessionStorage.getItem('token');
}

function linkState(state, text) {
  $('link').dataset.state = state;
  say($('link'), state === 'refused' ? 'Not let in' : text);
  document.body.dataset.link = state;
  if (state === 'refused') {
    $('board').hidden = true;
    showEmpty('This page needs its token', `${text[0].toUpperCase()}${text.slice(1)}.`);
  }
}

function showEmpty(title, text) {
  $('empty').hidden = false;
  say($('empty-title'), title);
  say($('empty-text'), text);
}

function message(event, data) {
  skew = data.at - Date.now();
  if (event === 'snapshot') {
    for (const key of parts.keys()) dirty.add(key);
    parts.clear();
    ticks = [];
  }
  for (const [key, part] of Object.entries(data.parts ?? data.set ?? {})) {
    parts.set(key, part);
    dirty.add(key);
  }
  for (const key of data.gone ?? []) {
    parts.delete(key);
    dirty.add(key);
  }
  if (data.ticks?.length) {
    ticks.push(...data.ticks);
    ticks.splice(0, ticks.length - TICKS_MAX);
    dirty.add('ticks');
  }
  schedule();
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  const run = () => {
    scheduled = false;
    draw();
  };
  // Hidden tabs get no frames; they keep up all the same, slowly.
  if (document.hidden) setTimeout(run, 1000);
  else requestAnimationFrame(run);
}

const now = () => Date.now() + skew;
const keysOf = (kind) => [...parts.keys()].filter((k) => k.startsWith(`${kind}/`));
const appKey = () => {
  const all = keysOf('app').map((k) => k.slice(4));
  if (!all.includes(selected)) selected = all[0];
  return selected;
};

function draw() {
  const key = appKey();
  const app = parts.get(`app/${key}`);
  const touched = (kind) => [...dirty].some((k) => k === kind || k.startsWith(`${kind}/`));
  if (touched('cluster') || touched('app')) cluster();
  if (touched('app')) tabs();
  $('board').hidden = !app;
  $('empty').hidden = Boolean(app);
  if (!app) {
    showEmpty('No application yet', 'The board shows CafeDeployments. It is waiting for the first one.');
  } else {
    if (touched('app')) drawApp(app);
    if (touched('app') || touched('pod') || touched('nodes')) drawCells(key, app);
    if (touched('ticks') || touched('app')) traffic(key, app);
  }
  if (touched('events')) events(parts.get('events') ?? [], now());
  dirty.clear();
}

function drawApp(app) {
  news(app);
  actions(app, press);
  timeline(app, now());
  for (const group of app.groups) {
    if (group.started) groupStarts.set(`${group.started} ${group.name}`, { at: group.started, name: group.name });
  }
  while (groupStarts.size > 40) groupStarts.delete(groupStarts.keys().next().value);
  clocks(app, now());
  document.title = `${app.told.title} · ${app.name}`;
}

function drawCells(key, app) {
  const pods = keysOf('pod').filter((k) => parts.get(k).app === key).map((k) => [k.slice(4), parts.get(k)]);
  const nodes = new Map(keysOf('nodes').map((k) => [parts.get(k).cell, parts.get(k)]));
  cells.draw(app, pods, nodes);
}

function cluster() {
  const all = parts.get('cluster');
  if (!all) return;
  const shown = new Set(keysOf('app').flatMap((k) => parts.get(k).cells.map((c) => c.name)));
  const rest = keysOf('nodes').map((k) => parts.get(k)).filter((n) => n.nodes && !shown.has(n.cell));
  const nodes = all.ready === all.nodes ? `${count(all.nodes)} nodes` : `${count(all.ready)} of ${count(all.nodes)} nodes ready`;
  say($('cluster'), `${nodes} · ${count(all.pods)} pods`);
  $('cluster').title = rest.map((n) => `${n.cell || 'no cell'}: ${describe(n)}`).join('\n');
}

function tabs() {
  const all = keysOf('app').map((k) => k.slice(4));
  const host = $('apps');
  host.hidden = all.length < 2;
  const shape = `${all.join()} ${selected}`;
  if (host.dataset.shape === shape) return;
  host.dataset.shape = shape;
  host.replaceChildren(...all.map((key) => h('button', {
    type: 'button', class: 'tab', 'aria-current': key === selected ? 'true' : undefined, onclick: () => select(key),
  }, key)));
}

function select(key) {
  selected = key;
  sessionStorage.setItem('app', key);
  for (const k of parts.keys()) dirty.add(k);
  dirty.add('ticks');
  schedule();
}

/** The clients' own count where somebody posts it, else what the proxy counts for Services whose pods are shown. */
function traffic(key, app) {
  const last = ticks.at(-1);
  const isKnown = Boolean(last) && now() - last.at < QUIET_MS;
  const byClient = Boolean(last?.load);
  const services = servicesOf(key, app);
  const of = (tick) => (byClient ? tick.load : sum(services.map((s) => tick.services?.[s]).filter(Boolean)));
  const points = ticks.map((t) => [t, of(t)]).filter(([, m]) => m).map(([t, m]) => ({ at: t.at, rps: m.rps, failed: m.failed }));
  curve.draw(points, [...groupStarts.values()], now());
  cells.load(last?.pods ?? {}, isKnown && Boolean(last?.services));
  figures(last ? of(last) : null, isKnown);
  const proxied = byClient && last?.services ? sum(services.map((s) => last.services[s]).filter(Boolean)) : null;
  say($('viewpoint'), byClient ? `as its clients see it${proxied ? ` · the proxy counts ${count(proxied.failed_total)} failed` : ''}` : 'as the proxy counts it');
}

function servicesOf(key, app) {
  const all = Object.keys(ticks.at(-1)?.services ?? {});
  const own = all.filter((s) => s === key);
  const near = all.filter((s) => s.startsWith(`${app.namespace}/`));
  return own.length ? own : near;
}

function sum(list) {
  if (!list.length) return null;
  const add = (a, b) => ({ rps: a.rps + b.rps, failed: a.failed + b.failed, requests_total: a.requests_total + b.requests_total, failed_total: a.failed_total + b.failed_total });
  return list.reduce(add);
}

function figures(moved, isKnown) {
  const failed = $('failed');
  failed.dataset.state = !moved?.requests_total ? 'none' : moved.failed_total > 0 ? 'some' : 'zero';
  $('failed-icon').setAttribute('href', { none: '#i-planned', zero: '#i-calm', some: '#i-bad' }[failed.dataset.state]);
  say($('failed-n'), moved ? count(moved.failed_total) : '–');
  say($('failed-of'), moved ? `failed of ${count(moved.requests_total)} requests` : 'no figures yet');
  say($('rps'), moved && isKnown ? count(Math.round(moved.rps)) : '–');
  for (const id of ['p50', 'p99']) $(id).parentElement.hidden = !moved?.p99_ms;
  say($('p50'), moved?.p50_ms && isKnown ? `${moved.p50_ms.toFixed(0)} ms` : '–');
  say($('p99'), moved?.p99_ms && isKnown ? `${moved.p99_ms.toFixed(0)} ms` : '–');
}

function tickClocks() {
  const app = parts.get(`app/${selected}`);
  clocks(app, now());
  if (app && ticks.length && now() - ticks.at(-1).at >= QUIET_MS) traffic(selected, app);
}

/** Presses a button; what cannot be taken back lightly asks first. */
async function press(verb) {
  const app = parts.get(`app/${selected}`);
  if (verb === 'rollback' && !(await sure(app))) return;
  const body = JSON.stringify(verb === 'confirm' && app.waiting !== null ? { group: app.waiting } : {});
  busy(true);
  try {
    const path = `/api/release/${app.namespace}/${app.name}/${verb}`;
    const response = await fetch(path, { method: 'POST', headers: { ...bearer(token), 'content-type': 'application/json' }, body });
    const answer = await response.json();
    toast(response.ok ? `${app.name}: ${answer.done}` : `Not done: ${answer.error}`, response.ok);
  } catch {
    toast('Not done: the board does not answer', false);
  } finally {
    busy(false);
  }
}

function busy(is) {
  for (const button of $('actions').children) button.disabled = is;
}

function sure(app) {
  const { from, to } = app.versions;
  const back = from !== to ? `${app.updated} pods go from ${to} back to ${from}` : `All pods go back from ${to} to the version before`;
  say($('ask-title'), `Roll back ${app.name}?`);
  say($('ask-text'), `${back}, in groups as the release did. The minimum of each cell holds as ever.${app.actions.includes('continue') ? ' It is paused: press Continue afterwards.' : ''}`);
  const dialog = $('ask');
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

let toastTimer;
function toast(text, isGood) {
  const element = $('toast');
  element.dataset.good = isGood;
  say(element, text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => say(element, ''), TOAST_MS);
}
