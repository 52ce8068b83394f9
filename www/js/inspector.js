// The packet inspector: bytes and the fields they make up, side by side. It holds one packet and changes nothing.

import { explainPacket } from '../columba/columba.js';
import { h, iconButton, setText, uniqueId } from './dom.js';
import { exactTime, hex, size } from './describe.js';

/** Bytes shown at first and with each `More`; fields shown at most. */
const PORTION = 2048;
const FIELDS = 1500;
const SECTIONS = 6;

export class Inspector {
  #id = uniqueId('inspect');
  #entry = null;
  #fields = [];
  #cells = [];
  #shown = 0;
  #columns = 16;
  /** The byte with the cursor, the field with the focus, and what is lit for the moment. */
  #cursor = 0;
  #current = null;
  #lit = [];

  /** `onclose`: the reader wants to see no packet. */
  constructor({ onclose }) {
    this.title = h('h2.inspect-title', null);
    this.meta = h('p.inspect-meta', null);
    this.closeButton = iconButton('close', 'Close the inspector', onclose, { class: 'inspect-close' });
    this.bytes = h('div.hex', {
      role: 'grid',
      tabindex: '0',
      'aria-label': 'Bytes of the packet. Arrow keys move.',
      onkeydown: (event) => this.#hexKey(event),
      onmouseover: (event) => this.#hoverByte(event),
      onmouseleave: () => this.#light(this.#current),
      onclick: (event) => this.#clickByte(event),
      onfocus: () => this.#setCursor(this.#cursor),
    });
    this.more = h('button.inspect-more', { type: 'button', onclick: () => this.#showMore() }, 'More bytes');
    this.bits = h('div.bits', { 'aria-live': 'polite' });
    this.tree = h('ul.tree', {
      role: 'tree',
      'aria-label': 'Fields of the packet',
      onkeydown: (event) => this.#treeKey(event),
      onmouseover: (event) => this.#hoverField(event),
      onmouseleave: () => this.#light(this.#current),
      onclick: (event) => this.#clickField(event),
      onfocusin: (event) => this.#focusField(event),
    });
    this.body = h('div.inspect-body', null, h('div.inspect-bytes', null, this.bytes, this.more, this.bits), this.tree);
    this.hint = h('p.inspect-empty', null, 'Choose a packet to see what each of its bytes means.');
    this.element = h('section.inspector', { 'aria-label': 'Packet inspector' }, this.closeButton, this.title, this.meta, this.body, this.hint);
    new ResizeObserver(() => this.#fit()).observe(this.element);
    this.show(null);
  }

  show(entry) {
    if (entry && entry === this.#entry) return;
    this.#entry = entry ?? null;
    const isPacket = Boolean(entry?.bytes);
    this.title.hidden = this.meta.hidden = this.closeButton.hidden = !entry;
    this.body.hidden = !isPacket;
    this.hint.hidden = Boolean(entry);
    this.#current = null;
    this.#lit = [];
    if (!entry) return;
    setText(this.title, isPacket ? entry.name : `Connection ${entry.connection}: ${entry.what}`);
    setText(this.meta, about(entry));
    if (!isPacket) return;
    this.#fields = flatten(explain(entry));
    this.#cursor = 0;
    this.#shown = Math.min(entry.bytes.length, PORTION);
    this.#drawTree();
    this.#drawBytes();
    this.#drawBits(0);
  }

  #fit() {
    const columns = this.element.clientWidth < 520 ? 8 : 16;
    if (columns === this.#columns) return;
    this.#columns = columns;
    if (this.#entry?.bytes) this.#drawBytes();
  }

  #showMore() {
    this.#shown = Math.min(this.#entry.bytes.length, this.#shown + 4 * PORTION);
    this.#drawBytes();
  }

  // Bytes

  #drawBytes() {
    const { bytes } = this.#entry;
    const rows = [];
    this.#cells = [];
    for (let start = 0; start < this.#shown; start += this.#columns) {
      const end = Math.min(start + this.#columns, this.#shown);
      const cells = [];
      const letters = [];
      for (let i = start; i < end; i++) {
        const section = `s${this.#sectionOf(i)}`;
        const cell = h('span.byte', { role: 'gridcell', id: `${this.#id}-b${i}`, class: section, data: { byte: i } }, hex(bytes[i]));
        const letter = h('span.letter', { class: section, data: { byte: i } }, isPrintable(bytes[i]) ? String.fromCharCode(bytes[i]) : '·');
        this.#cells.push([cell, letter]);
        cells.push(cell);
        letters.push(letter);
      }
      rows.push(
        h(
          'div.hex-row',
          { role: 'row' },
          h('span.offset', { role: 'rowheader' }, hex(start, 4)),
          h('span.hex-cells', { role: 'presentation' }, cells),
          h('span.hex-letters', { 'aria-hidden': 'true' }, letters),
        ),
      );
    }
    this.bytes.replaceChildren(...rows);
    this.bytes.classList.toggle('hex-narrow', this.#columns === 8);
    this.bytes.removeAttribute('aria-activedescendant');
    this.more.hidden = this.#shown >= bytes.length;
    setText(this.more, `More bytes: ${this.#shown} of ${bytes.length} shown`);
    this.#light(this.#current);
  }

  /** The colour of a byte is that of the part of the packet it is in. */
  #sectionOf(byte) {
    return this.#fieldAt(byte)?.section ?? 0;
  }

  /** The innermost field with the byte. */
  #fieldAt(byte) {
    const find = (items) => {
      const item = items.find(({ field }) => field.start <= byte && byte < field.end);
      return item && (find(item.children) ?? item);
    };
    return find(this.#fields.filter((item) => !item.parent));
  }

  #hoverByte(event) {
    const byte = event.target.dataset?.byte;
    if (byte === undefined) return;
    const item = this.#fieldAt(Number(byte));
    this.#light(item, Number(byte));
    this.#drawBits(Number(byte));
    if (item) this.#visible(item).element?.scrollIntoView({ block: 'nearest' });
  }

  /** The field, or the one around it that is closed. */
  #visible(item) {
    let shown = item;
    for (let outer = item.parent; outer; outer = outer.parent) {
      if (outer.element?.getAttribute('aria-expanded') === 'false') shown = outer;
    }
    return shown;
  }

  #clickByte(event) {
    const byte = event.target.dataset?.byte;
    if (byte !== undefined) this.#setCursor(Number(byte));
  }

  #hexKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns }[event.key];
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? this.#shown - 1 : this.#cursor + (step ?? NaN);
    if (Number.isNaN(to)) return;
    event.preventDefault();
    this.#setCursor(Math.max(0, Math.min(this.#shown - 1, to)));
  }

  #setCursor(byte) {
    this.#cursor = byte;
    this.#current = this.#fieldAt(byte) ?? null;
    this.#light(this.#current, byte);
    this.#drawBits(byte);
    const cell = this.#cells[byte]?.[0];
    if (!cell) return;
    this.bytes.setAttribute('aria-activedescendant', cell.id);
    cell.scrollIntoView({ block: 'nearest' });
    if (this.#current) this.#visible(this.#current).element?.scrollIntoView({ block: 'nearest' });
  }

  /** The byte as bits, and which of them belong to which field. */
  #drawBits(byte) {
    const value = this.#entry.bytes[byte];
    const item = this.#fieldAt(byte);
    const parts = this.#fields.filter(({ field }) => field.mask && field.start === byte);
    const bits = h('span.bits-row', { 'aria-hidden': 'true' }, parts.length ? parts.map((part) => bitGroup(value, part)) : bitGroup(value, null));
    const name = pathOf(parts.length ? item.parent : item);
    this.bits.replaceChildren(
      h('span.bits-label', null, `Byte ${byte}: 0x${hex(value)}, ${value}. `),
      bits,
      h('span.bits-name', null, name),
    );
  }

  // Fields

  #drawTree() {
    const items = this.#fields.slice(0, FIELDS);
    const build = (siblings) =>
      siblings
        .filter((item) => item.index < FIELDS)
        .map((item) => {
          const isOpen = item.children.some(({ field }) => field.mask) || item.isWrongInside;
          item.element = h(
            'li',
            {
              role: 'treeitem',
              tabindex: item.index === 0 ? '0' : '-1',
              'aria-expanded': item.children.length ? String(isOpen) : null,
              'aria-level': item.depth + 1,
              class: `s${item.section}${item.field.isWrong ? ' is-wrong' : ''}`,
              data: { field: item.index },
            },
            fieldLine(item, this.#entry.bytes),
            item.children.length ? h('ul', { role: 'group' }, build(item.children)) : null,
          );
          return item.element;
        });
    this.tree.replaceChildren(...build(items.filter((item) => !item.parent)));
    const hidden = this.#fields.length - items.length;
    if (hidden > 0) this.tree.append(h('li', { role: 'none', class: 'tree-rest' }, `and ${hidden} more fields`));
  }

  #itemOf(target) {
    const element = target.closest?.('[data-field]');
    return element ? this.#fields[Number(element.dataset.field)] : undefined;
  }

  #hoverField(event) {
    const item = this.#itemOf(event.target);
    if (!item) return;
    this.#light(item);
    if (item.field.end - item.field.start === 1) this.#drawBits(item.field.start);
  }

  #focusField(event) {
    const item = this.#itemOf(event.target);
    if (item) this.#choose(item);
  }

  #choose(item) {
    for (const other of this.tree.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    item.element.tabIndex = 0;
    this.#current = item;
    this.#light(item);
    const { start, end } = item.field;
    if (start >= this.#entry.bytes.length || start === end) return;
    this.#cursor = Math.min(start, this.#shown - 1);
    this.#drawBits(start);
    this.#cells[start]?.[0].scrollIntoView({ block: 'nearest' });
  }

  #clickField(event) {
    const item = this.#itemOf(event.target);
    if (!item) return;
    const isTwisty = event.target.classList.contains('twisty');
    if (isTwisty) this.#toggle(item, item.element.getAttribute('aria-expanded') !== 'true');
    item.element.focus({ preventScroll: true });
  }

  #toggle(item, open) {
    if (item.children.length) item.element.setAttribute('aria-expanded', String(open));
  }

  #treeKey(event) {
    const item = this.#itemOf(event.target);
    if (!item) return;
    const isOpen = item.element.getAttribute('aria-expanded') === 'true';
    const visible = () => this.#fields.filter((other) => other.element?.checkVisibility?.() ?? other.element);
    const move = (to) => to?.element?.focus();
    const step = (by) => {
      const list = visible();
      move(list[list.indexOf(item) + by]);
    };
    switch (event.key) {
      case 'ArrowDown': step(1); break;
      case 'ArrowUp': step(-1); break;
      case 'ArrowRight': isOpen ? move(item.children[0]) : this.#toggle(item, true); break;
      case 'ArrowLeft': isOpen ? this.#toggle(item, false) : move(item.parent); break;
      case 'Home': move(this.#fields[0]); break;
      case 'End': move(visible().at(-1)); break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** Lights a field and its bytes, and nothing else. */
  #light(item, byte) {
    for (const element of this.#lit) element.classList.remove('lit', 'lit-byte');
    this.#lit = [];
    const add = (element, name) => {
      if (!element) return;
      element.classList.add(name);
      this.#lit.push(element);
    };
    if (item) {
      add(this.#visible(item).element, 'lit');
      for (let i = item.field.start; i < Math.min(item.field.end, this.#shown); i++) {
        for (const element of this.#cells[i] ?? []) add(element, 'lit');
      }
    }
    if (byte !== undefined) for (const element of this.#cells[byte] ?? []) add(element, 'lit-byte');
  }
}

function explain(entry) {
  try {
    return explainPacket(entry.version, entry.bytes);
  } catch (error) {
    return [{ start: 0, end: entry.bytes.length, name: 'Bytes', value: '', note: String(error.message ?? error), children: [] }];
  }
}

/** The fields in the order of reading, each with its depth, parent and children. */
function flatten(fields) {
  const items = [];
  const walk = (siblings, parent, depth) =>
    siblings.map((field, i) => {
      const section = parent ? parent.section : i % SECTIONS;
      const item = { field, parent, depth, section, index: items.length, children: [], element: null };
      items.push(item);
      item.children = walk(field.children ?? [], item, depth + 1);
      item.isWrongInside = item.children.some((child) => child.field.isWrong || child.isWrongInside);
      return item;
    });
  walk(fields, null, 0);
  return items;
}

function fieldLine({ field, children }, bytes) {
  return h(
    'span.field-line',
    null,
    h('span.twisty', { 'aria-hidden': 'true' }, children.length ? '▸' : ''),
    h('span.field-name', null, field.name),
    field.mask ? h('span.field-bits', null, pattern(bytes[field.start], field.mask)) : null,
    field.value ? h('span.field-value', null, field.value) : null,
    field.note ? h('span.field-note', null, field.note) : null,
  );
}

/** `Topic Name › Length: 3` */
function pathOf(item) {
  if (!item) return '';
  const names = [];
  for (let outer = item; outer; outer = outer.parent) names.unshift(outer.field.name);
  const { value } = item.field;
  return names.join(' › ') + (value && value.length < 60 ? `: ${value}` : '');
}

/** The bits of a mask, the others as dots. */
function pattern(byte, mask) {
  let text = '';
  for (let bit = 7; bit >= 0; bit--) {
    text += mask >> bit & 1 ? byte >> bit & 1 : '·';
    if (bit === 4) text += ' ';
  }
  return text;
}

/** The bits of a byte that belong to a field, or all of them. */
function bitGroup(value, item) {
  const mask = item?.field.mask ?? 0xff;
  const digits = [];
  for (let bit = 7; bit >= 0; bit--) {
    if (mask >> bit & 1) digits.push(h('b', { class: value >> bit & 1 ? 'one' : 'zero' }, value >> bit & 1));
  }
  return h('span.bit-group', null, h('span.bit-digits', null, digits), item ? h('span.bit-name', null, item.field.name) : null);
}

function isPrintable(byte) {
  return byte >= 0x20 && byte < 0x7f;
}

function about(entry) {
  const way = entry.direction === 'to-broker' ? `from ${entry.who} to the broker` : `from the broker to ${entry.who}`;
  const when = `at ${exactTime(entry.time)}`;
  if (!entry.bytes) return `${entry.who}, ${when}`;
  return [way, when, `connection ${entry.connection}`, size(entry.bytes.length), entry.fate].filter(Boolean).join(' · ');
}
