// A list of which only the rows in sight exist. It asks for rows by number and knows nothing of what is in them.

import { h, uniqueId } from './dom.js';

const OVERSCAN = 6;

export class VirtualList {
  #id = uniqueId('row');
  #count = 0;
  /** Rows that went away at the front, all in all: what is in sight stays in sight while the list moves on. */
  #gone = 0;
  #rows = [];
  #follow = true;
  #selected = -1;
  #height = 0;

  /**
   * `columns`: names of the head; `render(row, index)` fills a row's element, `key(index)` tells whether it must; `onselect`
   * gets the index.
   */
  constructor({ label, columns, render, key, onselect, onopen }) {
    this.render = render;
    this.key = key;
    this.onselect = onselect;
    this.onopen = onopen;
    this.columns = columns;
    this.head = h('div.vrow.vhead', { role: 'row' }, columns.map((name) => h('span', { role: 'columnheader', class: `c-${name.toLowerCase()}` }, name)));
    this.body = h('div.vbody', { role: 'rowgroup' });
    this.element = h(
      'div.vlist',
      {
        role: 'grid',
        tabindex: '0',
        'aria-label': label,
        onscroll: () => this.#scrolled(),
        onkeydown: (event) => this.#key(event),
        onclick: (event) => this.#click(event),
      },
      h('div', { role: 'rowgroup', class: 'vtop' }, this.head),
      this.body,
    );
    new ResizeObserver(() => this.#resized()).observe(this.element);
  }

  get following() {
    return this.#follow;
  }

  get selected() {
    return this.#selected;
  }

  /** The list has `count` rows now, and `gone` have gone at its front since it began. */
  update(count, gone) {
    const left = Math.max(0, gone - this.#gone);
    this.#gone = gone;
    this.#count = count;
    if (left && this.#selected >= 0) this.#selected = Math.max(-1, this.#selected - left);
    this.body.style.height = `${count * this.rowHeight}px`;
    this.element.setAttribute('aria-rowcount', String(count + 1));
    if (this.#follow) this.element.scrollTop = count * this.rowHeight;
    else if (left) this.element.scrollTop -= left * this.rowHeight;
    this.draw();
  }

  /** Another list altogether. */
  reset() {
    this.#selected = -1;
    this.#gone = 0;
    this.#follow = true;
    for (const row of this.#rows) row.key = undefined;
  }

  follow() {
    this.#follow = true;
    this.update(this.#count, this.#gone);
  }

  select(index, { scroll = true } = {}) {
    if (!this.#count) return;
    this.#selected = Math.max(-1, Math.min(this.#count - 1, index));
    if (this.#selected >= 0) this.#follow = false;
    if (scroll && this.#selected >= 0) this.#reveal(this.#selected);
    this.draw();
    this.onselect(this.#selected);
  }

  get rowHeight() {
    if (!this.#height) this.#height = parseFloat(getComputedStyle(this.element).getPropertyValue('--row')) || 26;
    return this.#height;
  }

  get #headHeight() {
    return this.head.offsetHeight;
  }

  draw() {
    const height = this.rowHeight;
    const top = Math.max(0, this.element.scrollTop);
    const first = Math.max(0, Math.floor(top / height) - OVERSCAN);
    const last = Math.min(this.#count, Math.ceil((top + this.element.clientHeight) / height) + OVERSCAN);
    const needed = last - first;
    while (this.#rows.length < needed) {
      const element = h('div.vrow', { role: 'row' }, this.columns.map((name) => h('span', { role: 'gridcell', class: `c-${name.toLowerCase()}` })));
      this.#rows.push({ element, key: undefined, index: -1 });
    }
    let active = null;
    // Row i of the list always lives in element i modulo their number, so that a scroll fills only what comes into sight.
    const pool = this.#rows.length;
    const used = new Set();
    for (let index = first; index < last; index++) {
      const slot = (index + this.#gone) % pool;
      const row = this.#rows[slot];
      used.add(slot);
      const key = this.key(index);
      if (row.key !== key) {
        row.key = key;
        this.render(row.element, index);
      }
      if (row.index !== index) {
        row.index = index;
        row.element.style.transform = `translateY(${index * height}px)`;
        row.element.setAttribute('aria-rowindex', String(index + 2));
        row.element.id = `${this.#id}-${index + this.#gone}`;
      }
      const isSelected = index === this.#selected;
      if (isSelected) active = row.element;
      if (row.isSelected !== isSelected) {
        row.isSelected = isSelected;
        row.element.setAttribute('aria-selected', String(isSelected));
      }
      if (!row.element.isConnected) this.body.append(row.element);
    }
    this.#rows.forEach((row, slot) => {
      if (used.has(slot) || !row.element.isConnected) return;
      row.element.remove();
      row.key = undefined;
    });
    if (active) this.element.setAttribute('aria-activedescendant', active.id);
    else this.element.removeAttribute('aria-activedescendant');
  }

  #resized() {
    this.#height = 0;
    for (const row of this.#rows) row.index = -1;
    this.update(this.#count, this.#gone);
    // What was chosen may have come to lie behind what opened beside the list.
    if (this.#selected >= 0 && !this.#follow) this.#reveal(this.#selected);
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.element;
    this.#follow = scrollTop + clientHeight >= scrollHeight - this.rowHeight;
    this.draw();
  }

  #reveal(index) {
    const top = index * this.rowHeight;
    const { scrollTop, clientHeight } = this.element;
    const room = clientHeight - this.#headHeight;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + room) this.element.scrollTop = top + this.rowHeight - room;
  }

  #key(event) {
    if (event.target !== this.element) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 2);
    const from = this.#selected < 0 ? this.#count : this.#selected;
    const to = {
      ArrowDown: this.#selected + 1, ArrowUp: from - 1, PageDown: this.#selected + page, PageUp: from - page, Home: 0, End: this.#count - 1,
    }[event.key];
    if (event.key === 'Enter' && this.#selected >= 0) this.onopen?.();
    if (to === undefined) return;
    event.preventDefault();
    this.select(Math.max(0, to));
  }

  #click(event) {
    const element = event.target.closest('.vrow');
    const row = this.#rows.find((candidate) => candidate.element === element);
    if (row) this.select(row.index, { scroll: false });
  }
}
