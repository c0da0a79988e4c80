// The dashboard: what is asked for, what is shown, and what the user chose. The choice is in the address, so that it
// can be passed on.

import { byId, el, keyed, setAttribute, setHidden, setText } from './dom.js';
import { clock, span } from './format.js';
import { summary, troubles, verdict } from './health.js';
import { History } from './history.js';
import { Plots } from './plots.js';
import { Poll } from './poll.js';
import { BackendRates, showEngines, showEvents, showNodes, showServices } from './sections.js';

const TROUBLES_MAX = 5;
const STALE_MS = 8000;
const THEMES = ['auto', 'dark', 'light'];

const view = { node: '', range: '120', severity: 1, needle: '' };
const histories = new Map([['', new History()]]);
const rates = new BackendRates();
const plots = new Plots(byId('plots'));
let mesh = null;
let isWhole = false;

const isThere = (node) => !mesh || mesh.nodes.some((one) => one.node === node);

const poll = new Poll(() => ['', view.node].filter((node, at) => !at || (node && isThere(node))).map((node) => {
  const history = histories.get(node);
  // The slots that were told last are asked for again: nodes that were late are in them by now.
  const since = Math.max(0, history.next - 5);
  const scope = node ? `node=${encodeURIComponent(node)}` : 'mesh=true';
  return { key: node, path: `api/overview?${scope}&since=${since}` };
}), (node, answer) => {
  histories.get(node)?.take(answer.history);
  if (!node) mesh = answer;
}, show);

function show() {
  showFreshness();
  if (!mesh) return poll.failures ? setText(byId('verdict'), `No answer so far: ${poll.why}`) : undefined;
  rates.take(mesh);
  showHealth();
  showScope();
  showPlots();
  showServices(byId('service-list'), mesh, view.node, rates);
  showNodes(byId('node-list'), mesh, view.node, (node) => address({ node }));
  showEngines(byId('engine-list'), byId('port-list'), mesh, view.node);
  showEvents(byId('event-list'), byId('event-note'), mesh, view);
  setText(byId('teller'), `${mesh.node} at ${location.host}`);
  if (place) goTo(place, true);
}

function showHealth() {
  const found = troubles(mesh);
  const isLost = poll.failures > 0;
  const { level, text } = isLost ? { level: 3, text: `No answer since ${clock(poll.lastGood)}` } : verdict(found);
  setAttribute(byId('health'), 'data-level', ['ok', 'note', 'warning', 'bad'][level]);
  setText(byId('verdict'), text);
  const all = summary(mesh);
  setText(byId('summary'), isLost ? `Now: ${poll.why}. Before that: ${verdict(found).text} · ${all}` : all);
  document.title = level > 1 ? `${text} – Weir` : 'Weir';
  const shown = isWhole ? found : found.slice(0, TROUBLES_MAX);
  keyed(byId('troubles'), shown, ({ key }) => key, () => el('li', {},
    el('a', {}), el('span', { class: 'detail' })), (item, { level: grave, title, detail, at }) => {
    setAttribute(item, 'class', ['', 'note', 'warning', 'bad'][grave]);
    setText(item.firstChild, title);
    setAttribute(item.firstChild, 'href', address({ at }));
    setAttribute(item.firstChild, 'data-at', at);
    setText(item.lastChild, detail);
  });
  setHidden(byId('more'), found.length <= TROUBLES_MAX);
  setText(byId('more'), isWhole ? 'Show the worst only' : `Show all ${found.length}`);
}

function showScope() {
  const told = [...mesh.nodes, ...(mesh.unreachable_nodes ?? [])].map(({ node }) => node);
  const names = [...new Set(view.node ? [...told, view.node] : told)].sort();
  const options = [{ name: '', told: 'Whole mesh' }, ...names.map((name) => ({ name, told: name }))];
  keyed(byId('scope'), options, ({ name }) => name, ({ name }) => el('option', { value: name }),
    (option, { told: text }) => setText(option, text));
  if (byId('scope').value !== view.node) byId('scope').value = view.node;
}

function showPlots() {
  const one = mesh.nodes.find(({ node }) => node === view.node);
  const asked = view.node ? [one].filter(Boolean) : mesh.nodes;
  const total = (key) => asked.reduce((sum, { resources }) => sum + (resources?.[key] ?? 0), 0);
  // Nodes may share a machine, and its memory would be counted again for each.
  const limits = { memory: asked.length === 1 ? total('memory_limit_bytes') : 0, fds: total('fds_max') };
  const range = view.range === 'all' ? null : Number(view.range);
  const shown = histories.get(view.node);
  if (shown.interval === histories.get('').interval) shown.extend(histories.get('').next);
  plots.show(shown, (view.node ? one : mesh)?.rates, limits, range);
  const unmerged = (mesh.unmerged_nodes ?? []).map(({ node, why }) => `${node} (${why})`);
  setHidden(byId('unmerged'), !unmerged.length || view.node !== '');
  setText(byId('unmerged'), `Not in these plots: ${unmerged.join(', ')}.`);
}

// Live, paused, or without an answer: what is old is never passed off as new.
function showFreshness() {
  const age = poll.age();
  const isLost = poll.failures > 0 || age > STALE_MS;
  const state = poll.paused ? 'paused' : isLost ? 'lost' : mesh ? 'live' : 'asking';
  setAttribute(document.documentElement, 'data-state', state);
  const since = poll.lastGood ? `since ${clock(poll.lastGood)}` : 'so far';
  setText(byId('age'), {
    asking: 'Asking …',
    live: `Live, ${span(age / 1000)} old`,
    paused: `Paused, ${span(age / 1000)} old`,
    lost: poll.failures ? `No answer ${since}` : `Nothing new, ${span(age / 1000)} old`,
  }[state]);
  setAttribute(byId('fresh'), 'title', poll.failures ? poll.why : null);
}

let place = '';

// Of an address the place is shown at once, and again when the plots above it have their sizes.
function goTo(at, isOfAddress) {
  const found = byId(at) ?? byId(at.split('.')[0] === 'backend' ? 'services' : `${at.split('.')[0]}s`);
  place = '';
  if (!found) return;
  const jump = () => found.scrollIntoView({ block: 'start', behavior: isOfAddress ? 'instant' : 'auto' });
  jump();
  if (isOfAddress) requestAnimationFrame(() => requestAnimationFrame(jump));
  found.focus({ preventScroll: true });
}

const address = (changes = {}) => {
  const { node, range, severity, needle, at } = { ...view, ...changes };
  const parts = new URLSearchParams();
  if (node) parts.set('node', node);
  if (range !== '120') parts.set('range', range);
  if (severity !== 1) parts.set('severity', severity);
  if (needle) parts.set('with', needle);
  if (at) parts.set('at', at);
  return `#${parts}`;
};

function readAddress() {
  const hash = location.hash.slice(1);
  const parts = new URLSearchParams(hash);
  view.node = parts.get('node') ?? '';
  view.range = ['120', '300', 'all'].find((range) => range === parts.get('range')) ?? '120';
  view.severity = [0, 1, 2, 3].find((one) => String(one) === parts.get('severity')) ?? 1;
  view.needle = parts.get('with') ?? '';
  // Also as people write it: `#services`.
  place = parts.get('at') ?? (byId(hash) ? hash : '');
  for (const node of histories.keys()) if (node && node !== view.node) histories.delete(node);
  if (!histories.has(view.node)) histories.set(view.node, new History());
  byId('severity').value = view.severity;
  if (byId('needle').value !== view.needle) byId('needle').value = view.needle;
  for (const radio of byId('ranges').querySelectorAll('input')) radio.checked = radio.value === view.range;
}

function choose(changes) {
  const node = view.node;
  history.replaceState(null, '', address(changes));
  readAddress();
  show();
  if (view.node !== node && !poll.paused) poll.now();
}

function theme(name) {
  setAttribute(document.documentElement, 'data-theme', name === 'auto' ? null : name);
  setText(byId('theme'), `Theme: ${name}`);
  return name;
}

// A browser may keep nothing for this page.
const remembered = {
  get: () => { try { return localStorage.getItem('weir-theme'); } catch { return null; } },
  set: (name) => { try { localStorage.setItem('weir-theme', name); } catch { /* until it is closed, then */ } },
};

let chosen = theme(THEMES.find((name) => name === remembered.get()) ?? 'auto');
byId('theme').addEventListener('click', () => {
  chosen = theme(THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length]);
  remembered.set(chosen);
});
byId('scope').addEventListener('change', ({ target }) => choose({ node: target.value }));
byId('ranges').addEventListener('change', ({ target }) => choose({ range: target.value }));
byId('severity').addEventListener('change', ({ target }) => choose({ severity: Number(target.value) }));
byId('needle').addEventListener('input', ({ target }) => choose({ needle: target.value }));
byId('more').addEventListener('click', () => {
  isWhole = !isWhole;
  showHealth();
});
byId('pause').addEventListener('click', ({ target }) => {
  poll.pause(!poll.paused);
  setAttribute(target, 'aria-pressed', String(poll.paused));
  setText(target, poll.paused ? 'Go on' : 'Pause');
});
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[data-at]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { at } = link.dataset;
  history.replaceState(null, '', address({ at }));
  goTo(at);
});
addEventListener('hashchange', () => {
  // The skip link's, which says nothing of the view.
  if (location.hash === '#main') return history.replaceState(null, '', address());
  readAddress();
  show();
  poll.now();
});
setInterval(showFreshness, 1000);
readAddress();
poll.now();
