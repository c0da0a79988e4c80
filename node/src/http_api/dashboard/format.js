// Quantities in words. Three digits are enough to look at; what is exact is in the API.

const NONE = '–';

const digits = (value) => {
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2);
};

const scaled = (value, base, units) => {
  let at = 0;
  let rest = value;
  while (Math.abs(rest) >= base * 0.9995 && at < units.length - 1) {
    rest /= base;
    at += 1;
  }
  return `${digits(rest)}${units[at]}`;
};

const orNone = (format) => (value) => (value == null || Number.isNaN(value) ? NONE : format(value));

export const count = orNone((value) =>
  (Math.abs(value) < 100_000 && Number.isInteger(value)
    ? value.toLocaleString('en')
    : scaled(value, 1000, ['', ' k', ' M', ' G', ' T'])));

export const rate = orNone((value) => `${scaled(value, 1000, ['', ' k', ' M', ' G'])}/s`);

export const bytes = orNone((value) => scaled(value, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']));

export const byteRate = orNone((value) => `${bytes(value)}/s`);

export const percent = orNone((value) => (value > 0 && value < 0.1 ? '<0.1 %' : `${digits(value)} %`));

// Not rounded up to a whole that it is not.
export const share = orNone((value) => (value < 1 && value >= 0.9995
  ? `${(Math.floor(value * 1e5) / 1e3).toFixed(3)} %` : `${digits(Math.round(value * 1e4) / 100)} %`));

export const micros = orNone((value) => {
  if (value < 1000) return `${digits(value)} µs`;
  if (value < 1e6) return `${digits(value / 1000)} ms`;
  return `${digits(value / 1e6)} s`;
});

const pad = (value) => String(value).padStart(2, '0');

export const clock = (ms) => {
  const at = new Date(ms);
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
};

export const span = orNone((seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
});

export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

export const words = (name) => String(name).replaceAll('_', ' ').replaceAll('-', ' ');

// `a, b and c`.
export const listed = (names) => (names.length < 2
  ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`);
