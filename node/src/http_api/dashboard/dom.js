// Elements from text, changed in place: what has not changed is not touched, so focus and selection stay.

const SVG = 'http://www.w3.org/2000/svg';

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  for (const child of children) if (child != null) node.append(child);
  return node;
};

export const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

export function setAttribute(node, name, value) {
  if (value == null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value === true ? '' : value);
  }
}

export function setText(node, text) {
  const told = text == null ? '' : String(text);
  if (node.textContent !== told) node.textContent = told;
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

const kept = new WeakMap();

// Makes the children of `parent` those of `items`, each known by its key. A child that stays is moved only if others
// cannot be put around it.
export function keyed(parent, items, keyOf, make, update) {
  if (!kept.has(parent)) parent.replaceChildren();
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!after.has(key)) after.set(key, { node: before.get(key)?.node ?? make(item), item });
  }
  for (const [key, { node }] of before) if (!after.has(key)) node.remove();
  let next = parent.firstChild;
  for (const { node, item } of after.values()) {
    update(node, item);
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  kept.set(parent, after);
}

// A table whose rows are kept by key. `columns`: {title, class, update(cell, item)}. On narrow screens each row is a
// card, for which each cell carries its title; roles keep it a table for those who listen.
export class Table {
  constructor(label, columns, { keyOf, idOf }) {
    Object.assign(this, { columns, keyOf, idOf });
    const heads = columns.map(({ title, class: kind }) =>
      el('th', { scope: 'col', role: 'columnheader', class: kind }, title));
    this.body = el('tbody', { role: 'rowgroup' });
    this.root = el('div', { class: 'scroll' },
      el('table', { role: 'table', 'aria-label': label },
        el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...heads)), this.body));
  }

  show(items) {
    keyed(this.body, items, this.keyOf, (item) => this.row(item), (row, item) => {
      this.columns.forEach(({ update }, at) => update(row.children[at].firstChild, item, row));
    });
  }

  row(item) {
    const cells = this.columns.map(({ title, class: kind }, at) =>
      el(at ? 'td' : 'th', {
        class: kind, 'data-title': title, role: at ? 'cell' : 'rowheader', scope: at ? null : 'row',
      }, el('div')));
    return el('tr', { role: 'row', id: this.idOf?.(item), tabindex: this.idOf && -1 }, ...cells);
  }
}

// A column of text.
export const text = (title, of, kind) => ({
  title,
  class: kind,
  update: (cell, item) => setText(cell, of(item)),
});

// A column of a number.
export const number = (title, of) => text(title, of, 'number');
