// Asks again and again, and knows how old what it has is.

const INTERVAL_MS = 2000;
const INTERVAL_MAX_MS = 15_000;
const DEADLINE_MS = 6000;
// What is asked for is beside the page, wherever that is. Who opened it with a name and a password in its address has
// them in what is relative to it, and browsers refuse such requests; they send them by themselves.
const beside = (path) => new URL(path, location.origin + location.pathname).href;

export class Poll {
  // `paths` tells what to ask for: {key, path}; `take(key, answer)` is given what is new, `told()` is called after
  // each round.
  constructor(paths, take, told) {
    Object.assign(this, { paths, take, told });
    this.tags = new Map();
    this.paused = false;
    this.failures = 0;
    this.why = '';
    this.lastGood = 0;
    this.madeAt = 0;
    this.serverAhead = 0;
    this.round = 0;
    document.addEventListener('visibilitychange', () => this.now());
  }

  pause(paused) {
    this.paused = paused;
    if (paused) clearTimeout(this.timer);
    else this.now();
    this.told();
  }

  // Begins a round at once; one that is under way is dropped.
  now() {
    clearTimeout(this.timer);
    this.stop?.abort();
    if (!this.paused && !document.hidden) this.ask();
  }

  async ask() {
    this.round += 1;
    const round = this.round;
    this.stop = new AbortController();
    const deadline = AbortSignal.any([this.stop.signal, AbortSignal.timeout(DEADLINE_MS)]);
    try {
      await Promise.all(this.paths().map((one) => this.get(one, deadline, round)));
      if (round !== this.round) return;
      this.failures = 0;
      this.lastGood = Date.now();
    } catch (error) {
      if (round !== this.round) return;
      this.failures += 1;
      this.why = error.name === 'TimeoutError' ? 'the answer takes too long' : error.message;
    }
    this.told();
    const wait = Math.min(INTERVAL_MAX_MS, INTERVAL_MS * 2 ** Math.min(this.failures, 4));
    const jitter = this.failures ? 0.7 + Math.random() * 0.6 : 1;
    if (!this.paused && !document.hidden) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), this.failures ? wait * jitter : INTERVAL_MS);
    }
  }

  async get({ key, path }, signal, round) {
    const known = this.tags.get(key);
    const headers = known?.path === path ? { 'if-none-match': known.tag } : {};
    const answer = await fetch(beside(path), { headers, signal, cache: 'no-store', redirect: 'error' });
    const isFine = answer.status === 304 || answer.ok;
    // That one node is away is told with all others.
    if (!isFine && key) return;
    if (!isFine) throw new Error(`the node answers ${answer.status}`);
    const date = Date.parse(answer.headers.get('date') ?? '');
    if (date) this.serverAhead = date - Date.now();
    if (answer.status === 304) return;
    const document = await answer.json();
    if (round !== this.round) return;
    const tag = answer.headers.get('etag');
    if (tag) this.tags.set(key, { path, tag });
    if (key === '') this.madeAt = document.at_unix_ms;
    this.take(key, document);
  }

  // Milliseconds since the node made what is shown, by one clock.
  age() {
    return this.madeAt ? Math.max(0, Date.now() + this.serverAhead - this.madeAt) : 0;
  }
}
