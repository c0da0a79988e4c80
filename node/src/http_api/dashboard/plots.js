// Which plots there are, and what each takes from the samples.

import * as format from './format.js';
import { Cursor, Plot } from './plot.js';

const LIVE_SLOTS = 10;
const REASONS_MAX = 5;

const sumOf = (values) => (values.every((value) => value == null) ? null
  : values.reduce((sum, value) => sum + (value ?? 0), 0));

const SHAPES = [
  {
    id: 'requests', title: 'Requests', format: format.rate, stacked: true,
    headline: (values) => format.rate(sumOf(values)),
    series: (history) => [
      ['ok', '2xx', ['1xx', '2xx']], ['2', '3xx', ['3xx']], ['6', '4xx', ['4xx']], ['bad', '5xx', ['5xx']],
    ].map(([color, label, classes]) => rates(history, label, color,
      history.sum('requests', (labels) => classes.includes(labels.class)))),
  },
  {
    id: 'latency', title: 'Latency', format: format.micros, worst: true,
    headline: (values) => `p99 ${format.micros(values[2])}`,
    series: (history, now) => [['0.5', 'p50', '1'], ['0.95', 'p95', '2'], ['0.99', 'p99', '3']].map(
      ([quantile, label, color]) => ({
        label, color, values: history.sum('latency', (labels) => labels.quantile === quantile),
        live: now?.[`${label}_us`] ?? null,
      })),
  },
  {
    id: 'errors', title: 'Errors by reason', format: format.rate, stacked: true,
    empty: 'None of Weir’s own; those of backends are among 5xx.',
    headline: (values) => format.rate(sumOf(values) ?? 0),
    series: reasons,
  },
  {
    id: 'hits', title: 'Cache hits by tier', format: format.percent, stacked: true, ceiling: 100,
    empty: 'No request for a cached route in this time.',
    headline: (values) => format.percent(sumOf(values)),
    series: hits,
  },
  {
    id: 'connections', title: 'Connections', format: format.count, worst: true,
    headline: (values) => `${format.count(values[0])} open`,
    series: (history) => [
      gauge(history, 'open', '1', 'connections_open'),
      gauge(history, 'in flight', '3', 'requests_in_flight'),
      gauge(history, 'waiting', '4', 'requests_waiting'),
    ],
  },
  {
    id: 'cpu', title: 'CPU', format: format.percent,
    headline: (values) => format.percent(values[0]),
    series: (history) => [mean('of one core', '1', history.sum('cpu').map(
      (value) => (value == null ? null : (value / history.interval) * 100)))],
  },
  {
    id: 'memory', title: 'Memory', format: format.bytes, binary: true,
    headline: (values) => format.bytes(values[0]),
    series: (history, now, limits) => [
      gauge(history, limits.memory ? `resident, of ${format.bytes(limits.memory)}` : 'resident', '1', 'rss')],
  },
  {
    id: 'fds', title: 'File descriptors', format: format.count, worst: true,
    headline: (values) => format.count(values[0]),
    series: (history, now, limits) => [
      gauge(history, limits.fds ? `open, of ${format.count(limits.fds)}` : 'open', '1', 'fds_open')],
  },
  {
    id: 'network', title: 'Network', format: format.byteRate, binary: true,
    headline: (values) => format.byteRate(sumOf(values)),
    series: (history) => [
      rates(history, 'to clients', '1', history.sum('bytes_out')),
      rates(history, 'from clients', '3', history.sum('bytes_in')),
    ],
  },
];

function mean(label, color, values) {
  const late = values.slice(-LIVE_SLOTS).filter((value) => value != null);
  return { label, color, values, live: late.length ? sumOf(late) / late.length : null };
}

const rates = (history, label, color, values) => mean(label, color, history.perSecond(values));

function gauge(history, label, color, name) {
  const values = history.sum(name);
  return { label, color, values, live: values.slice(-LIVE_SLOTS).findLast((value) => value != null) ?? null };
}

// Each reason keeps its colour and its place from when it was first seen.
const colors = new Map();

function reasons(history, now, limits, from) {
  const totals = history.of('own_answers').map(({ labels, values }) => ({
    reason: labels.reason, values, total: sumOf(values.slice(Math.max(0, from - history.first))) ?? 0,
  })).filter(({ total }) => total > 0);
  for (const { reason } of totals) if (!colors.has(reason)) colors.set(reason, colors.size);
  const most = totals.sort((a, b) => b.total - a.total);
  const shown = most.slice(0, REASONS_MAX).sort((a, b) => colors.get(a.reason) - colors.get(b.reason));
  const rest = new Set(most.slice(REASONS_MAX).map(({ reason }) => reason));
  const series = shown.map(({ reason, values }) => rates(history, format.words(reason), (colors.get(reason) % 6) + 1, values));
  if (rest.size) {
    const others = history.sum('own_answers', (labels) => rest.has(labels.reason));
    series.push(rates(history, `${rest.size} other`, 'muted', others));
  }
  return series;
}

function hits(history, now, limits, from) {
  const all = history.sum('cache');
  if (!(sumOf(all.slice(Math.max(0, from - history.first))) > 0)) return [];
  return [['l1', 'memory', '1'], ['l2', 'Redis', '2'], ['peer', 'other nodes', '3']].map(([result, label, color]) => {
    const some = history.sum('cache', (labels) => labels.result === result);
    return mean(label, color, some.map((value, at) => (all[at] > 0 ? ((value ?? 0) / all[at]) * 100 : null)));
  });
}

export class Plots {
  constructor(parent) {
    this.cursor = new Cursor();
    this.plots = SHAPES.map((shape) => new Plot(shape, this.cursor));
    parent.append(...this.plots.map(({ root }) => root));
  }

  // `now`: the rates of the last ten seconds; `limits`: {memory, fds}; `range_s`: seconds, or null for all.
  show(history, now, limits, rangeSeconds) {
    const { interval, first: start, next } = history;
    if (!interval) {
      const nothing = { interval: 1000, start: 0, from: 0, to: 0, series: [], empty: 'No samples.' };
      for (const plot of this.plots) plot.show(nothing);
      return;
    }
    const wanted = rangeSeconds ? next - Math.ceil((rangeSeconds * 1000) / interval) : start;
    for (const plot of this.plots) {
      const series = plot.shape.series(history, now, limits, wanted);
      plot.show({ interval, start, from: wanted, to: next, series });
    }
  }
}
