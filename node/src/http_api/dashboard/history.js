// Samples of one scope, by absolute slot: what comes later is joined to what is there, and what nobody told is a gap.

const SAMPLES_MAX = 3600;

const nameOf = ({ name, labels }) => {
  const pairs = Object.entries(labels ?? {}).sort().map((pair) => pair.join('='));
  return [name, ...pairs].join(' ');
};

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this.interval = 0;
    this.first = 0;
    this.next = 0;
    this.series = new Map();
  }

  take(told) {
    if (!told?.interval_ms) return;
    // Of another interval, or of a clock that was set back: the places mean something else.
    if (told.interval_ms !== this.interval || told.next_slot < this.next - 60) this.clear();
    this.interval = told.interval_ms;
    const next = Math.max(this.next, told.next_slot);
    const first = Math.max(next - SAMPLES_MAX, Math.min(this.series.size ? this.first : Infinity, told.first_slot));
    for (const one of told.series ?? []) {
      const name = nameOf(one);
      const old = this.series.get(name);
      const values = new Array(next - first).fill(null);
      this.copy(old?.values ?? [], this.first, values, first);
      this.copy(one.values, told.first_slot, values, first);
      this.series.set(name, { name: one.name, labels: one.labels ?? {}, values });
    }
    this.first = first;
    this.next = next;
  }

  // Up to this slot there is time, whether or not anybody told of it.
  extend(next) {
    if (!this.interval || next <= this.next) return;
    for (const { values } of this.series.values()) values.push(...new Array(next - this.next).fill(null));
    this.next = next;
  }

  copy(from, fromSlot, to, toSlot) {
    from.forEach((value, at) => {
      const place = fromSlot + at - toSlot;
      if (place >= 0 && place < to.length && value != null && value >= 0) to[place] = value;
    });
  }

  // All series of a name.
  of(name) {
    return [...this.series.values()].filter((one) => one.name === name);
  }

  // Their sum, slot by slot; a gap where none has a value.
  sum(name, wanted = () => true) {
    const all = this.of(name).filter((one) => wanted(one.labels));
    return this.map((at) => all.reduce(
      (sum, { values }) => (values[at] == null ? sum : (sum ?? 0) + values[at]), null));
  }

  map(of) {
    return Array.from({ length: this.next - this.first }, (_, at) => of(at));
  }

  // Deltas as what they come to in a second.
  perSecond(values) {
    const seconds = this.interval / 1000;
    return values.map((value) => (value == null ? null : value / seconds));
  }
}
