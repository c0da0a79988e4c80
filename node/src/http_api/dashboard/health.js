// What is wrong, in words, worst first. Nothing here touches the page.

import { count, listed, many, micros, percent, rate, words } from './format.js';

export const BAD = 3;
export const WARNING = 2;
export const NOTE = 1;

// Standings that nobody asked for.
const FAILED = new Set(['unhealthy', 'ejected']);
// Problems of nodes that somebody asked for.
const ORDERED = /^(cordoned|draining|stopping): /;
const FULL = 0.9;
const ERRORS_BAD = 0.05;
const ERRORS_WARNING = 0.01;

export const placeOf = (kind, ...names) => [kind, ...names.map(encodeURIComponent)].join('.');

// Without its numbers, which change while the problem is the same.
const gist = (text) => text.replace(/\d+/g, '#');

// [{level, key, title, detail, at}]: `title` stays the same while the problem does, `at` is where it is on the page.
export function troubles(answer) {
  const all = [
    ...away(answer), ...services(answer), ...errors(answer), ...nodes(answer), ...engines(answer), ...leftOut(answer),
  ];
  return all.sort((a, b) => b.level - a.level);
}

const trouble = (level, title, detail, ...at) => ({
  level, title, detail, at: placeOf(...at), key: `${gist(title)} ${at.join(' ')}`,
});

function away({ unreachable_nodes: unreachable }) {
  return (unreachable ?? []).map(({ node, why }) =>
    trouble(BAD, `Node ${node} does not answer`, why, 'node', node));
}

function services({ services: all, nodes: told }) {
  return all.flatMap((service) => {
    const { name, healthy, total, asleep, panic, backends } = service;
    const found = [];
    const is = (level, title, detail) => found.push(trouble(level, title, detail, 'service', name));
    if (!healthy && !asleep) is(BAD, `No backend of ${name} takes work`, total ? `none of ${total}` : 'it has none');
    else if (panic) is(BAD, `${name} is in panic`, 'so few backends are healthy that all of them get work');
    for (const { id, nodes } of backends) {
      const out = nodes.filter(({ standing }) => FAILED.has(standing));
      if (!out.length) continue;
      const where = out.length === nodes.length ? '' : ` on ${listed(out.map(({ node }) => node))}`;
      const how = words(out[0].standing);
      found.push(trouble(WARNING, `${id} of ${name} is ${how}${told.length > 1 ? where || ' everywhere' : ''}`,
        out[0].reason, 'backend', name, id));
    }
    return found;
  });
}

function errors({ rates }) {
  const { requests_per_second: all, errors_per_second: failed } = rates ?? {};
  const part = all > 0 ? failed / all : 0;
  if (part < ERRORS_WARNING) return [];
  const [reason] = Object.entries(rates.own_answers ?? {}).sort((a, b) => b[1] - a[1])[0] ?? [];
  return [trouble(part < ERRORS_BAD ? WARNING : BAD, 'Requests fail',
    `${percent(part * 100)} of the last ten seconds${reason ? `, of Weir's own answers most for ${words(reason)}` : ''}`,
    'traffic')];
}

// What nodes say that is told of the whole mesh as well.
function isToldElsewhere(problem, { services: told, ports }) {
  return told.some(({ name, healthy, panic }) => (!healthy || panic) && problem.startsWith(`service ${name}: `))
    || (ports ?? []).some(({ vpn, alarms }) => alarms?.length && problem.startsWith(`VPN ${vpn}: `));
}

function nodes(answer) {
  const said = new Map();
  const found = [];
  for (const { node, resources, problems, profile } of answer.nodes) {
    const is = (level, title, detail) => found.push(trouble(level, title, detail, 'node', node));
    for (const problem of (problems ?? []).filter((one) => !isToldElsewhere(one, answer))) {
      const same = said.get(gist(problem)) ?? { problem, nodes: [] };
      same.nodes.push(node);
      said.set(gist(problem), same);
    }
    const { rss_bytes: rss, memory_limit_bytes: limit, fds_open: fds, fds_max: max } = resources ?? {};
    if (limit && rss / limit >= FULL) is(WARNING, `Node ${node} is short of memory`, `${percent((rss / limit) * 100)} used`);
    if (max && fds / max >= FULL) is(WARNING, `Node ${node} is short of file descriptors`, `${count(fds)} of ${count(max)}`);
    if (profile?.pending_restart?.length) {
      is(NOTE, `Node ${node} has knobs that wait for its next start`, profile.pending_restart.join(', '));
    }
    if (profile?.unsupported?.length) {
      is(NOTE, `Node ${node} does not know knobs of its profile`, profile.unsupported.join(', '));
    }
  }
  for (const { problem, nodes: names } of said.values()) {
    // `what: why`; for how long is no part of what.
    const [, what, time = '', why = ''] = /^(.*?)( for \d+ ?\w+)?(?:: (.*))?$/s.exec(problem);
    const detail = [time.trim(), why].filter(Boolean).join(': ');
    const level = ORDERED.test(problem) ? NOTE : WARNING;
    found.push({ ...trouble(level, `${listed(names)}: ${what}`, detail, 'node', names[0]), key: gist(problem) });
  }
  return found;
}

function engines({ engines: all, ports }) {
  return [
    ...(all ?? []).filter(({ state }) => state === 'unhealthy').map(({ id, node, reason }) =>
      trouble(WARNING, `Engine ${id} on ${node} is unhealthy`, reason, 'engine', id)),
    ...(ports ?? []).filter(({ health }) => health === 'unhealthy').map(({ vpn, owner }) =>
      trouble(BAD, `VPN ${vpn} is unhealthy`, owner && `as ${owner} sees it`, 'port', vpn)),
    ...(ports ?? []).flatMap(({ vpn, alarms }) => (alarms ?? []).map((alarm) =>
      trouble(WARNING, `VPN ${vpn} has an alarm`, alarm, 'port', vpn))),
  ];
}

function leftOut({ cut, unmerged_nodes: unmerged }) {
  const much = Object.entries(cut ?? {}).filter(([what, number]) => number && what !== 'events');
  return [
    ...much.map(([what, number]) => trouble(NOTE, `Not all ${what} are shown`, `${count(number)} more`, what)),
    ...(unmerged ?? []).map(({ node, why }) =>
      trouble(NOTE, `The plots are without node ${node}`, why, 'traffic')),
  ];
}

// {level, text}: the line at the top.
export function verdict(found) {
  const [worst] = found;
  if (!worst) return { level: 0, text: 'All is well' };
  const wrong = found.filter(({ level }) => level > NOTE).length;
  if (!wrong) return { level: NOTE, text: `All is well, with ${many(found.length, 'note')}` };
  return { level: worst.level, text: worst.title + (wrong > 1 ? `, and ${wrong - 1} more` : '') };
}

// How much there is of everything, in one line.
export function summary({ nodes: all, unreachable_nodes: gone, services: told, rates }) {
  const sum = (key) => told.reduce((total, service) => total + service[key], 0);
  const failed = rates?.errors_per_second > 0 ? `, ${rate(rates.errors_per_second)} failed` : '';
  return [
    `${gone?.length ? `${all.length} of ` : ''}${many(all.length + (gone?.length ?? 0), 'node')}`,
    `${count(sum('healthy'))} of ${many(sum('total'), 'backend')} ${sum('total') === 1 ? 'takes' : 'take'} work`,
    rates?.requests_per_second
      ? `${rate(rates.requests_per_second)} requests${failed}, p99 ${micros(rates.p99_us)}`
      : 'no requests in the last ten seconds',
  ].join(' · ');
}
