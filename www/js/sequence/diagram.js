// A sequence diagram of packets: the rows in sight as SVG, all of them as a list, and as a file.

import { h, setText } from '../dom.js';
import { clockTime, drawItem, s, shortTime } from './draw.js';
import { BROKER, layout } from './layout.js';

export { BROKER };

const OVERSCAN = 200;
const HEAD = 34;
const FONT = '12px system-ui, sans-serif';

export class SequenceDiagram {
  #entries = [];
  #plan = null;
  #drawn = '';
  #follow = true;
  #selected = null;
  #fit = fitter();

  /** `order`, `laneOf`: see `layout`. `onselect` gets the entry that was clicked or reached by arrow keys. */
  constructor({ order, laneOf, onselect, empty = 'Nothing has been sent yet.', label = 'Sequence diagram' } = {}) {
    this.options = { order, laneOf };
    this.onselect = onselect;
    this.names = h('div.seq-names', { 'aria-hidden': 'true' });
    this.svg = s('svg', { class: 'sq-svg', role: 'img', 'aria-label': label });
    this.empty = h('p.seq-empty', null, empty);
    this.scroller = h(
      'div.seq-scroll',
      {
        tabindex: '0',
        role: 'group',
        'aria-label': `${label}. Arrow keys go from packet to packet.`,
        onscroll: () => this.#scrolled(),
        onkeydown: (event) => this.#key(event),
        onclick: (event) => this.#click(event),
      },
      h('div.seq-sheet', null, this.names, this.svg),
    );
    this.list = h('ol.seq-list', null);
    this.summary = h('summary', null, 'As a list');
    this.details = h('details.seq-text', { ontoggle: () => this.#drawList() }, this.summary, this.list);
    this.element = h('div.seq', null, this.scroller, this.empty, this.details);
    new ResizeObserver(() => this.#draw()).observe(this.scroller);
  }

  /** Draws these entries of a log. */
  draw(entries) {
    this.#entries = entries;
    this.#draw();
    if (this.details.open) this.#drawList();
  }

  /** Goes on with the newest entry when there are more. */
  follow() {
    this.#follow = true;
  }

  #draw() {
    const entries = this.#entries;
    this.empty.hidden = entries.length > 0;
    this.scroller.hidden = entries.length === 0;
    this.details.hidden = entries.length === 0;
    setText(this.summary, `As a list of ${entries.length} ${entries.length === 1 ? 'event' : 'events'}`);
    const width = this.scroller.clientWidth;
    if (!entries.length || !width) return;
    this.#plan = layout(entries, { width: Math.floor(width), narrowest: width < 500 ? 88 : 120, ...this.options });
    const { plan } = this;
    this.svg.setAttribute('width', plan.width);
    this.svg.setAttribute('height', plan.height);
    this.svg.setAttribute('viewBox', `0 0 ${plan.width} ${plan.height}`);
    this.#drawNames();
    this.#drawn = '';
    if (this.#follow) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#drawRows();
  }

  get plan() {
    return this.#plan;
  }

  #drawNames() {
    const key = this.plan.lanes.map(({ name, x }) => `${name} ${x}`).join('\n');
    if (key === this.namesKey) return;
    this.namesKey = key;
    const { lanes } = this.plan;
    const step = lanes.length > 1 ? lanes[1].x - lanes[0].x : 200;
    this.names.style.width = `${this.plan.width}px`;
    this.names.replaceChildren(
      ...lanes.map((lane) => {
        const name = h('span.seq-name', { class: lane.key === BROKER ? 'is-broker' : null, title: lane.name }, lane.name);
        // Over its line, but not beyond the edge.
        const width = Math.min(this.#fit.width(lane.name, true) + 24, step - 6, 180);
        name.style.width = `${width}px`;
        name.style.left = `${Math.max(2, Math.min(this.plan.width - width - 2, lane.x - width / 2))}px`;
        return name;
      }),
    );
  }

  /** The rows in sight, and a few more. */
  #drawRows() {
    const { scrollTop, clientHeight } = this.scroller;
    const { items } = this.plan;
    const from = items.findIndex((item) => item.top + item.height >= scrollTop - OVERSCAN);
    if (from < 0) return;
    let to = from;
    while (to < items.length && items[to].top < scrollTop + clientHeight + OVERSCAN) to += 1;
    const key = `${from} ${to} ${this.#selected?.seq}`;
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.svg.replaceChildren(
      ...items.slice(from, to).map((item) => {
        const row = drawItem(item, this.plan, this.#fit);
        if (item.entry && item.entry === this.#selected) row.classList.add('sq-selected');
        return row;
      }),
    );
  }

  #scrolled() {
    if (!this.plan) return;
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    this.#follow = scrollTop + clientHeight >= scrollHeight - 24;
    this.#drawRows();
  }

  #drawList() {
    if (!this.details.open) return;
    this.list.replaceChildren(...this.#entries.map((entry) => h('li', null, sentence(entry))));
  }

  // Choosing

  #click(event) {
    const row = event.target.closest?.('[data-index]');
    const entry = row && this.plan.items[Number(row.dataset.index)]?.entry;
    if (entry) this.#select(entry);
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !this.onselect || !this.#entries.length) return;
    event.preventDefault();
    const at = this.#entries.indexOf(this.#selected);
    const next = at < 0 ? this.#entries.length - 1 : at + step;
    this.#select(this.#entries[Math.max(0, Math.min(this.#entries.length - 1, next))]);
  }

  #select(entry) {
    if (!this.onselect) return;
    this.#selected = entry;
    const item = this.plan.items.find((candidate) => candidate.entry === entry);
    const { scrollTop, clientHeight } = this.scroller;
    if (item.top < scrollTop) this.scroller.scrollTop = item.top;
    else if (item.top + item.height + HEAD > scrollTop + clientHeight) this.scroller.scrollTop = item.top + item.height + HEAD - clientHeight;
    this.#drawn = '';
    this.#drawRows();
    this.onselect(entry);
  }

  // As a file

  /** The whole diagram as an SVG file, in the colours of the page. */
  toSvg() {
    const plan = layout(this.#entries, { width: 960, narrowest: 120, ...this.options });
    const svg = s('svg', { xmlns: 'http://www.w3.org/2000/svg', class: 'sq-svg', width: plan.width, height: plan.height + HEAD, viewBox: `0 ${-HEAD} ${plan.width} ${plan.height + HEAD}` });
    svg.append(
      s('style', {}, ownRules()),
      s('rect', { class: 'sq-sheet', x: 0, y: -HEAD, width: plan.width, height: plan.height + HEAD }),
      ...plan.lanes.map((lane) => s('text', { class: 'sq-lane-name', x: lane.x, y: -12, 'text-anchor': 'middle' }, lane.name)),
      ...plan.items.map((item) => drawItem(item, plan, this.#fit)),
    );
    return new XMLSerializer().serializeToString(svg);
  }
}

/** An event as a sentence. */
export function sentence(entry) {
  const time = `${clockTime(entry.time)} s: `;
  if (entry.isLink) return `${time}${entry.who}, connection ${entry.connection}: ${entry.what}`;
  const way = entry.direction === 'to-broker' ? `${entry.who} to broker` : `broker to ${entry.who}`;
  return `${time}${way}: ${entry.summary.text}${entry.fate ? ` (${entry.fate})` : ''}`;
}

export { shortTime };

/** Shortens text to a width in pixels. */
function fitter() {
  const context = document.createElement('canvas').getContext('2d');
  context.font = FONT;
  const width = (text, bold = false) => {
    context.font = bold ? `600 ${FONT}` : FONT;
    return context.measureText(text).width;
  };
  const fit = (text, room) => {
    if (width(text) <= room) return text;
    let [low, high] = [0, text.length];
    while (low < high) {
      const half = (low + high + 1) >> 1;
      if (width(`${text.slice(0, half)}…`) <= room) low = half;
      else high = half - 1;
    }
    return low > 1 ? `${text.slice(0, low)}…` : '';
  };
  fit.width = width;
  return fit;
}

/** The rules for `.sq-…` of this page's style sheets, with the values of their variables. */
function ownRules() {
  const style = getComputedStyle(document.documentElement);
  const resolve = (text) => text.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
  const rules = [];
  for (const sheet of document.styleSheets) {
    try {
      for (const rule of sheet.cssRules) if (rule.selectorText?.includes('.sq-')) rules.push(resolve(rule.cssText));
    } catch {
      // A style sheet of another origin keeps its rules to itself; ours is none.
    }
  }
  return rules.join('\n');
}
