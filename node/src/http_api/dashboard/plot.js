// One plot over time: lines or stacked areas, in SVG, so that it is sharp on every screen and takes its colours from
// the style sheet. What is read at the cursor stands in the legend, where nothing covers the plot.

import { clock } from './format.js';
import { el, keyed, setAttribute, setHidden, setText, svg } from './dom.js';

const HEIGHT = 132;
const TOP = 8;
const BOTTOM = 18;
const LEFT = 62;
const RIGHT = 6;
const POINT_PX = 2;

// The slot that is read, the same in all plots.
export class Cursor {
  constructor() {
    this.slot = null;
    this.readers = [];
  }

  set(slot) {
    if (slot === this.slot) return;
    this.slot = slot;
    for (const read of this.readers) read();
  }
}

// The least of 1, 2, 2.5, 5 times a power of ten (or of two, for bytes) that is not below `value`.
function ceiling(value, isBinary) {
  if (!(value > 0)) return 1;
  const base = isBinary ? 1024 ** Math.max(0, Math.floor(Math.log(value) / Math.log(1024))) : 1;
  const power = 10 ** Math.floor(Math.log10(value / base));
  const step = [1, 2, 2.5, 5, 10].find((step) => step * power * base >= value * 0.9999);
  return (step ?? 10) * power * base;
}

export class Plot {
  // `shape`: {id, title, note, format, stacked, binary, ceiling, worst, headline}. `headline(values)` is what stands
  // large; `worst` keeps the highest of the samples that share a point, else their mean is drawn.
  constructor(shape, cursor) {
    Object.assign(this, { shape, cursor, width: 320, ceil: 0, data: null });
    this.now = el('b', { class: 'headline' });
    this.when = el('span', { class: 'when' });
    this.legend = el('ul', { class: 'legend' });
    this.told = el('figcaption', { class: 'unseen', id: `${shape.id}-told` });
    this.grid = svg('g', { class: 'grid' });
    this.marks = svg('g', { class: 'marks' });
    this.hair = svg('line', { class: 'hair', y1: TOP, y2: HEIGHT - BOTTOM });
    this.dots = svg('g');
    this.view = svg('svg', { height: HEIGHT, 'aria-hidden': 'true' }, this.grid, this.marks, this.hair, this.dots);
    this.frame = el('div', {
      class: 'frame', tabindex: 0, role: 'slider', 'aria-label': `${shape.title}, read along time`,
      'aria-orientation': 'horizontal', 'aria-describedby': this.told.id,
    }, this.view, this.empty = el('p', { class: 'empty' }));
    this.root = el('figure', { class: `plot ${shape.id}${shape.stacked ? ' stacked' : ''}`, id: `plot-${shape.id}` },
      el('div', { class: 'head' }, el('h3', {}, shape.title), this.when, this.now),
      this.legend, this.frame, this.told);
    cursor.readers.push(() => this.read());
    this.listen();
    new ResizeObserver(([{ contentRect }]) => {
      this.width = Math.max(120, Math.round(contentRect.width));
      setAttribute(this.view, 'viewBox', `0 0 ${this.width} ${HEIGHT}`);
      this.draw();
    }).observe(this.frame);
  }

  listen() {
    const { frame, cursor } = this;
    const at = (event) => {
      if (!this.data) return;
      const part = (event.clientX - frame.getBoundingClientRect().left - LEFT) / (this.width - LEFT - RIGHT);
      this.go(this.data.from + Math.round(part * (this.data.to - this.data.from - 1)));
    };
    frame.addEventListener('pointermove', at);
    frame.addEventListener('pointerdown', at);
    frame.addEventListener('pointerleave', () => cursor.set(null));
    frame.addEventListener('focus', () => cursor.slot == null && this.go(Infinity));
    frame.addEventListener('blur', () => cursor.set(null));
    frame.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = event.shiftKey ? 10 : 1;
      const slot = cursor.slot ?? this.data.to - 1;
      const next = {
        ArrowLeft: slot - step, ArrowDown: slot - step, ArrowRight: slot + step, ArrowUp: slot + step,
        PageUp: slot + 10, PageDown: slot - 10, Home: -Infinity, End: Infinity,
      }[event.key];
      if (event.key === 'Escape') cursor.set(null);
      if (next === undefined) return;
      event.preventDefault();
      this.go(next);
    });
  }

  go(slot) {
    if (!this.data || this.data.to <= this.data.from) return;
    this.cursor.set(Math.min(this.data.to - 1, Math.max(this.data.from, slot)));
  }

  // `data`: {interval, start, from, to, series: [{label, color, values, live}]}; values begin at slot `start`, slots
  // `from` to `to` are shown, and `live` is told while nothing is read.
  show(data) {
    this.data = data;
    keyed(this.legend, data.series, ({ label }) => label, ({ label }) =>
      el('li', {}, el('i', { 'aria-hidden': 'true' }), el('span', {}, label), el('b')),
    (item, { color }) => setAttribute(item, 'class', `c-${color}`));
    setHidden(this.empty, data.series.length > 0);
    setText(this.empty, data.empty ?? this.shape.empty);
    this.draw();
    this.tell();
  }

  // What is drawn: samples that share a point, by absolute slot, so that points do not flicker as time goes on.
  points() {
    const { from, to, start, series } = this.data;
    const step = Math.max(1, Math.ceil((to - from) / (this.width / POINT_PX)));
    const slots = [];
    for (let slot = from - (from % step); slot < to; slot += step) slots.push(slot);
    const join = (values, slot) => {
      const some = values.slice(Math.max(0, slot - start), Math.max(0, slot + step - start)).filter((v) => v != null);
      if (!some.length) return null;
      return this.shape.worst ? Math.max(...some) : some.reduce((sum, value) => sum + value, 0) / some.length;
    };
    const rows = series.map(({ values }) => slots.map((slot) => join(values, slot)));
    const base = slots.map(() => 0);
    return { slots, rows: this.shape.stacked ? rows.map((row) => row.map((value, at) => {
      if (value == null) return null;
      const low = base[at];
      base[at] += value;
      return [low, base[at]];
    })) : rows.map((row) => row.map((value) => (value == null ? null : [0, value]))) };
  }

  x(slot) {
    const { from, to } = this.data;
    const part = (slot - from) / Math.max(1, to - from - 1);
    return LEFT + Math.round(part * (this.width - LEFT - RIGHT) * 10) / 10;
  }

  y(value) {
    return Math.round((HEIGHT - BOTTOM - (value / this.ceil) * (HEIGHT - BOTTOM - TOP)) * 10) / 10;
  }

  draw() {
    if (!this.data) return;
    const { slots, rows } = this.points();
    const highest = Math.max(0, ...rows.flat().map((pair) => pair?.[1] ?? 0));
    const wanted = this.shape.ceiling ?? ceiling(highest, this.shape.binary);
    // It grows at once and shrinks late: a scale that jumps is not read.
    if (wanted > this.ceil || highest < this.ceil * 0.35) this.ceil = wanted;
    this.drawGrid();
    const series = this.data.series.map((one, at) => ({ ...one, row: rows[at] }));
    keyed(this.marks, series, ({ label }) => label, () =>
      svg('g', {}, svg('path', { class: 'area' }), svg('path', { class: 'line' })),
    (group, { row, color }) => {
      setAttribute(group, 'class', `c-${color}`);
      const { line, area } = this.path(slots, row);
      setAttribute(group.firstChild, 'd', this.shape.stacked || series.length === 1 ? area : '');
      setAttribute(group.lastChild, 'd', this.shape.stacked ? '' : line);
    });
    this.read();
  }

  // A run of samples without a gap is a line, or the area beneath it; a sample alone is a dot, or a narrow bar.
  path(slots, row) {
    let [line, area, run] = ['', '', []];
    const close = () => {
      if (run.length === 1) run.push([run[0][0] + 2, ...run[0].slice(1)]);
      const along = (at) => run.map((point) => `${point[0]} ${point[at]}`);
      if (run.length) line += `M${along(2).join('L')}`;
      if (run.length) area += `M${along(2).concat(along(1).reverse()).join('L')}Z`;
      run = [];
    };
    slots.forEach((slot, at) => {
      if (row[at] == null) return close();
      run.push([this.x(Math.max(slot, this.data.from)), ...row[at].map((value) => this.y(Math.min(value, this.ceil)))]);
    });
    close();
    return { line, area };
  }

  drawGrid() {
    const { from, to, interval } = this.data;
    const lines = [0, 0.5, 1].map((part) => ({ key: `y${part}`, y: this.y(part * this.ceil), value: part * this.ceil }));
    const span = (to - from) * interval;
    const step = [15, 30, 60, 120, 300, 600, 1800, 3600].map((s) => s * 1000).find((s) => span / s <= (this.width - LEFT) / 80) ?? 7.2e6;
    const times = [];
    for (let at = Math.ceil((from * interval) / step) * step; at < to * interval; at += step) {
      const x = this.x(at / interval);
      if (x > LEFT + 14 && x < this.width - 22) times.push({ key: `x${at}`, x, at });
    }
    keyed(this.grid, [...lines, ...times], ({ key }) => key, ({ x }) =>
      (x === undefined ? svg('g', {}, svg('line', { x1: LEFT }), svg('text', { x: LEFT - 8 }))
        : svg('g', {}, svg('text', { class: 'time', y: HEIGHT - 4 }))),
    (group, { x, y, value, at }) => {
      setText(group.lastChild, at ? clock(at).replace(/:00$/, '') : this.shape.format(value));
      if (at) return setAttribute(group.lastChild, 'x', x);
      setAttribute(group.firstChild, 'x2', this.width);
      for (const name of ['y1', 'y2']) setAttribute(group.firstChild, name, y);
      setAttribute(group.lastChild, 'y', y + 4);
    });
  }

  // What there is at the cursor, or lately.
  read() {
    if (!this.data) return;
    const { from, to, start, interval, series } = this.data;
    const isRead = this.cursor.slot != null && this.cursor.slot >= from && this.cursor.slot < to;
    const slot = isRead ? this.cursor.slot : to - 1;
    const values = series.map((one) => (isRead ? one.values[slot - start] ?? null : one.live));
    [...this.legend.children].forEach((item, at) => setText(item.lastChild, this.shape.format(values[at])));
    const headline = to > from ? this.shape.headline(values) : '–';
    setText(this.now, headline);
    setText(this.when, isRead ? clock(slot * interval) : '');
    for (const [name, x] of [['x1', this.x(slot)], ['x2', this.x(slot)]]) setAttribute(this.hair, name, x);
    setAttribute(this.hair, 'visibility', isRead ? 'visible' : 'hidden');
    let sum = 0;
    keyed(this.dots, isRead ? series.flatMap(({ label, color }, at) => {
      // Of a stack, a part that is nothing would cover the one beneath.
      if (values[at] == null || (this.shape.stacked && !values[at])) return [];
      sum = this.shape.stacked ? sum + values[at] : values[at];
      return [{ label, color, y: this.y(Math.min(sum, this.ceil)) }];
    }) : [], ({ label }) => label, () => svg('circle', { r: 3.5 }), (dot, { color, y }) => {
      setAttribute(dot, 'class', `c-${color}`);
      setAttribute(dot, 'cx', this.x(slot));
      setAttribute(dot, 'cy', y);
    });
    const each = series.map(({ label }, at) => `${label} ${this.shape.format(values[at])}`);
    setAttribute(this.frame, 'aria-valuemin', from);
    setAttribute(this.frame, 'aria-valuemax', Math.max(from, to - 1));
    setAttribute(this.frame, 'aria-valuenow', slot);
    setAttribute(this.frame, 'aria-valuetext', to > from ? `${clock(slot * interval)}: ${each.join(', ') || 'nothing'}` : 'no samples');
  }

  // The plot in a sentence, for who does not see it.
  tell() {
    const { from, start, series } = this.data;
    const each = series.map(({ label, values }) => {
      const some = values.slice(Math.max(0, from - start)).filter((value) => value != null);
      const { format } = this.shape;
      return some.length
        ? `${label}: now ${format(some.at(-1))}, least ${format(Math.min(...some))}, most ${format(Math.max(...some))}`
        : `${label}: no samples`;
    });
    setText(this.told, `${this.shape.title}. ${each.join('. ') || this.empty.textContent}`);
  }
}
