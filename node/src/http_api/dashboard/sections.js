// Services, nodes, engines, ports and events, as tables whose rows stay where they are.

import { clock, count, listed, bytes, micros, percent, rate, share, span, words } from './format.js';
import { el, keyed, number, setAttribute, setHidden, setText, Table, text } from './dom.js';
import { placeOf } from './health.js';

const LEVELS = {
  in: 'ok', ready: 'ok', stable: 'ok', applied: 'ok', unchanged: 'ok',
  'slow-start': 'note', slow_start: 'note', draining: 'note', drained: 'note', weightless: 'note', cordoned: 'note',
  stopping: 'note', starting: 'note', probing: 'note', hidden: 'note', recovering: 'note', deferred: 'note',
  unhealthy: 'bad', ejected: 'bad', rejected: 'bad', 'no answer': 'bad', unreachable: 'bad', auth_required: 'bad',
};
export const SEVERITIES = ['debug', 'info', 'warning', 'error'];

const badge = (node, state) => {
  setAttribute(node, 'class', `badge ${LEVELS[state] ?? 'quiet'}`);
  setText(node, words(state));
};

const lines = (parent, all) => keyed(parent, all.map((line, at) => ({ line, at })), ({ at }) => at,
  () => el('p'), (node, { line }) => {
    setText(node, line.text ?? line);
    setAttribute(node, 'class', line.kind);
  });

// A part of a whole, as a bar under its number.
const meter = (cell, told, part) => {
  if (!cell.firstChild) cell.append(el('span'), el('span', { class: 'meter', 'aria-hidden': 'true' }, el('i')));
  setText(cell.firstChild, told);
  setHidden(cell.lastChild, part == null);
  const width = part > 0 ? `${Math.min(100, Math.max(1, part * 100)).toFixed(1)}%` : '0';
  if (cell.lastChild.firstChild.style.width !== width) cell.lastChild.firstChild.style.width = width;
  setAttribute(cell.lastChild, 'data-level', part >= 0.9 ? 'bad' : part >= 0.75 ? 'note' : 'ok');
};

const named = (cell, name, detail) => {
  if (!cell.firstChild) cell.append(el('b'), el('small'));
  setText(cell.firstChild, name);
  setText(cell.lastChild, detail);
};

// Facts between dots, none of them broken.
const facts = (...all) => all.filter(Boolean).map((fact) => String(fact).replaceAll(' ', '\u00a0')).join(' · ');

// How many requests a second each backend gets, from what it had at the answer before.
export class BackendRates {
  constructor() {
    this.known = new Map();
    this.at = 0;
  }

  take({ at_unix_ms: at, services }) {
    if (at === this.at) return;
    const seconds = (at - this.at) / 1000;
    const before = this.known;
    this.known = new Map();
    for (const { name, backends } of services) {
      for (const { id, nodes } of backends) {
        for (const { node, requests } of nodes) {
          const key = `${name}\n${id}\n${node}`;
          const old = before.get(key);
          const isMore = old && requests >= old.requests && seconds < 60;
          this.known.set(key, { requests, rate: isMore ? (requests - old.requests) / seconds : null });
        }
      }
    }
    this.at = at;
  }

  of(service, id, nodes) {
    const rates = nodes.map(({ node }) => this.known.get(`${service}\n${id}\n${node}`)?.rate);
    const some = rates.filter((rate) => rate != null);
    return some.length ? some.reduce((sum, rate) => sum + rate, 0) : null;
  }
}

// Nodes that agree share a line.
function standings(cell, { nodes, told }) {
  const groups = Map.groupBy(nodes, ({ standing }) => standing);
  const all = [...groups].sort((a, b) => b[1].length - a[1].length);
  keyed(cell, all, ([standing]) => standing, () => el('p', { class: 'standing' }, el('span'), el('span')),
    (line, [standing, group]) => {
      badge(line.firstChild, standing);
      const where = groups.size > 1 || nodes.length < told ? `on ${listed(group.map(({ node }) => node))}: ` : '';
      setText(line.lastChild, where + group[0].reason);
    });
}

const latencyOf = (nodes) => {
  const some = nodes.filter(({ latency_us: us }) => us);
  const weight = some.reduce((sum, { requests }) => sum + requests, 0);
  return weight ? some.reduce((sum, one) => sum + one.latency_us * one.requests, 0) / weight : null;
};

const sum = (nodes, key) => nodes.reduce((total, one) => total + one[key], 0);

const backendTable = (service) => new Table(`Backends of ${service}`, [
  {
    title: 'Backend', update: (cell, { id, address, zone, priority }, row) => {
      named(cell, id, facts(address !== id && address, zone && `zone ${zone}`, priority && `priority ${priority}`));
      setAttribute(row, 'tabindex', -1);
    },
  },
  { title: 'Standing, and why', class: 'wide', update: standings },
  { title: 'Requests', class: 'number', update: (cell, { rate: now, part }) => meter(cell, rate(now), part) },
  number('In flight', ({ nodes }) => count(sum(nodes, 'in_flight'))),
  number('Failures', ({ nodes }) => count(sum(nodes, 'failures'))),
  number('Balancing latency', ({ nodes }) => micros(latencyOf(nodes))),
], { keyOf: ({ id }) => id, idOf: ({ id }) => placeOf('backend', service, id) });

const tables = new WeakMap();

// `node`: the one that is shown, or nothing for all.
export function showServices(parent, answer, node, rates) {
  keyed(parent, answer.services, ({ name }) => name, ({ name }) => {
    const table = backendTable(name);
    const card = el('article', { class: 'card', id: placeOf('service', name), tabindex: -1 },
      el('div', { class: 'head' }, el('h3', {}, name), el('span', { class: 'facts' }), el('span', { class: 'counts' })),
      table.root);
    tables.set(card, table);
    return card;
  }, (card, service) => {
    const backends = service.backends.map((backend) => {
      const nodes = backend.nodes.filter((one) => !node || one.node === node);
      return { ...backend, nodes, told: node ? 1 : answer.nodes.length, rate: rates.of(service.name, backend.id, nodes) };
    }).filter(({ nodes }) => nodes.length);
    const most = backends.reduce((total, one) => total + (one.rate ?? 0), 0);
    for (const one of backends) one.part = most ? (one.rate ?? 0) / most : 0;
    const [head] = card.children;
    const more = [service.panic && 'in panic', service.asleep && 'asleep: requests wait for the first engine',
      service.waiting && `${count(service.waiting)} wait`];
    setText(head.children[1], [words(service.policy), ...more.filter(Boolean)].join(' · '));
    setText(head.children[2],
      `${service.healthy} of ${service.total} take work · ${service.requests
        ? `${share(service.success_rate)} of ${count(service.requests)} succeeded` : 'no requests yet'}`);
    tables.get(card).show(backends);
  });
}

const ratesOf = (node) => node.rates ?? {};

// Alerts that do not fire yet; problems tell of those that do.
const pending = (alerts) => (alerts ?? []).filter(({ state }) => state === 'pending')
  .map(({ name, of }) => `${words(name)}${of ? ` of ${of}` : ''} is above its limit`);

function profileOf(cell, { profile, gone }) {
  if (!cell.firstChild) cell.append(el('span'), el('div'));
  const { state, offered, effective, origin, problems = [], pending_restart: pending = [], unsupported = [] } = profile ?? {};
  badge(cell.firstChild, state ?? 'none');
  setHidden(cell.firstChild, Boolean(gone));
  const name = (layers, hash) => (hash ? (layers?.length ? layers.join(', ') : hash.slice(0, 8)) : 'none');
  const inForce = name(profile?.effective_layers, effective);
  const isOther = offered && offered !== effective;
  const told = state && state !== 'none' ? [
    `${inForce} in force${origin && origin !== 'control-plane' ? `, from ${words(origin)}` : ''}`,
    isOther && `${name(profile.offered_layers, offered)} is offered`,
    ...problems.map((text) => ({ text: `refused: ${text}`, kind: 'bad' })),
    pending.length && `next start: ${pending.join(', ')}`,
    unsupported.length && `not known here: ${unsupported.join(', ')}`,
  ] : [];
  lines(cell.lastChild, told.filter(Boolean));
}

const nodeTable = new Table('Nodes', [
  {
    title: 'Node', update: (cell, { node, status, gone, href }) => {
      if (!cell.firstChild) cell.append(el('a', { title: 'Show only this node' }), el('small'));
      setText(cell.firstChild, node);
      setAttribute(cell.firstChild, 'href', href);
      const { zone, version, uptime_s: up } = status ?? {};
      setText(cell.lastChild, gone ? '' : facts(zone && `zone ${zone}`, version, up != null && `up ${span(up)}`));
    },
  },
  {
    title: 'State', class: 'wide', update: (cell, { status, problems, alerts, gone }) => {
      if (!cell.firstChild) cell.append(el('span'), el('div'));
      badge(cell.firstChild, gone ? 'no answer' : status.state);
      lines(cell.lastChild, gone ? [gone] : [...problems ?? [], ...pending(alerts)]);
    },
  },
  number('Requests', (node) => rate(ratesOf(node).requests_per_second)),
  number('Failed', (node) => rate(ratesOf(node).errors_per_second)),
  number('p50', (node) => micros(ratesOf(node).p50_us)),
  number('p95', (node) => micros(ratesOf(node).p95_us)),
  number('p99', (node) => micros(ratesOf(node).p99_us)),
  number('CPU', ({ resources }) => percent(resources?.cpu_percent)),
  {
    title: 'Memory', class: 'number', update: (cell, { resources }) => {
      const { rss_bytes: rss, memory_limit_bytes: limit } = resources ?? {};
      meter(cell, bytes(rss), limit ? rss / limit : null);
      setAttribute(cell, 'title', limit ? `of ${bytes(limit)}` : null);
    },
  },
  { title: 'Profile', class: 'wide', update: profileOf },
], { keyOf: ({ node }) => node, idOf: ({ node }) => placeOf('node', node) });

// `hrefOf` tells where one node is shown.
export function showNodes(parent, answer, node, hrefOf) {
  if (!nodeTable.root.isConnected) parent.append(nodeTable.root);
  const gone = (answer.unreachable_nodes ?? []).map(({ node: name, why }) => ({ node: name, gone: why || 'no answer' }));
  const all = [...answer.nodes, ...gone].sort((a, b) => (a.node < b.node ? -1 : 1));
  nodeTable.show(all.filter((one) => !node || one.node === node).map((one) => ({ ...one, href: hrefOf(one.node) })));
}

const state = (title, of) => ({
  title,
  class: 'wide',
  update: (cell, item) => {
    if (!cell.firstChild) cell.append(el('span'), el('div'));
    const [name, why] = of(item);
    badge(cell.firstChild, name);
    lines(cell.lastChild, why.filter(Boolean));
  },
});

const sinceOf = (since) => {
  const seconds = (Date.now() - since) / 1000;
  return !since ? '–' : seconds < 72_000 ? clock(since) : `${span(seconds)} ago`;
};

const engineTable = new Table('Engines', [
  { title: 'Engine', update: (cell, { id, driver, address }) => named(cell, id, `${driver} · ${address}`) },
  text('Node', ({ node }) => node, 'fact'),
  state('State', ({ state: name, reason, outdated, image_drifted: drifted }) =>
    [name, [reason, outdated && 'outdated', drifted && 'its image means another one by now']]),
  text('VPN', ({ vpn, forwarded }) => (vpn ? `${vpn}${forwarded ? ', its port' : ''}` : '–'), 'fact'),
  number('Since', ({ since_unix_ms: since }) => sinceOf(since)),
  number('Restarts', ({ restarts }) => count(restarts)),
  number('Uses', ({ uses }) => count(uses)),
  number('In flight', ({ in_flight: running }) => count(running)),
], { keyOf: ({ id, node }) => `${id}\n${node}`, idOf: ({ id }) => placeOf('engine', id) });

const portTable = new Table('Ports of VPNs', [
  { title: 'VPN', update: (cell, { vpn, public_ip: ip }) => named(cell, vpn, ip) },
  state('Health', ({ health, alarms }) => [health || 'unknown', alarms ?? []]),
  number('Port', ({ port }) => port || '–'),
  state('Known', ({ state: name, stale }) => [name, [stale && 'past its time']]),
  number('Age', ({ age_ms: age }) => span(age / 1000)),
  text('Asked by', ({ owner }) => owner || '–', 'fact'),
  number('Engines', ({ engines }) => count(engines)),
  text('Has the port', ({ forwarded_engine: engine }) => engine || '–', 'fact'),
], { keyOf: ({ vpn }) => vpn, idOf: ({ vpn }) => placeOf('port', vpn) });

export function showEngines(engineList, portList, answer, node) {
  if (!engineTable.root.isConnected) {
    engineList.append(engineTable.root, el('p', { class: 'note' }));
    portList.append(portTable.root);
  }
  const engines = (answer.engines ?? []).filter((one) => !node || one.node === node);
  setHidden(engineTable.root, !engines.length);
  setHidden(engineList.lastChild, engines.length > 0);
  setText(engineList.lastChild, 'No engine runs: every backend is one that Weir did not start.');
  engineTable.show(engines);
  setHidden(portTable.root, !answer.ports?.length);
  portTable.show(answer.ports ?? []);
}

// `wanted`: {node, severity (an index), needle}.
export function showEvents(list, note, answer, wanted) {
  const all = answer.nodes.flatMap(({ events }) => events ?? []).filter((one) => !wanted.node || one.node === wanted.node)
    .sort((a, b) => b.at_unix_ms - a.at_unix_ms || b.seq - a.seq);
  const tell = ({ attributes }) => Object.entries(attributes ?? {}).map(([name, value]) => `${name} ${value}`).join(' · ');
  const shown = all.map((event) => ({ ...event, about: tell(event) })).filter((event) => {
    const whole = [event.kind, event.node, event.subject_kind, event.subject, event.about].join(' ').toLowerCase();
    return SEVERITIES.indexOf(event.severity) >= wanted.severity && whole.includes(wanted.needle.toLowerCase());
  });
  const older = answer.cut?.events ? `; ${count(answer.cut.events)} older ones are left out` : '';
  setText(note, all.length ? `${count(shown.length)} of the last ${count(all.length)}${older}` : 'Nothing has happened yet.');
  keyed(list, shown, ({ node, seq, kind }) => `${node}\n${seq}\n${kind}`, () => el('li', {}, el('time'), el('span'),
    el('b'), el('span', { class: 'where' }), el('span', { class: 'about' })), (item, event) => {
    const [time, severity, kind, where, about] = item.children;
    setText(time, clock(event.at_unix_ms));
    setAttribute(time, 'datetime', new Date(event.at_unix_ms).toISOString());
    setText(severity, event.severity);
    setAttribute(severity, 'class', `severity ${event.severity}`);
    setText(kind, event.kind + (event.count > 1 ? ` ×${count(event.count)}` : ''));
    setText(where, `${event.node}${event.subject ? ` · ${event.subject_kind} ${event.subject}` : ''}`);
    setText(about, event.about);
  });
}
