// The few helpers that views build the page with. Text is always text: nothing here parses HTML.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * h('button.small', { type: 'button', onclick, 'aria-label': 'x', class: 'y', data: { view: 'z' } }, 'text', child, null).
 * Functions become listeners, `data` becomes data-*, true an empty attribute, false and null none.
 */
export function h(selector, props, ...children) {
  const [tag, ...classes] = selector.split('.');
  const element = document.createElement(tag || 'div');
  if (classes.length) element.className = classes.join(' ');
  const isProps = props && typeof props === 'object' && !(props instanceof Node) && !Array.isArray(props);
  if (isProps) setProps(element, props);
  append(element, isProps ? children : [props, ...children]);
  return element;
}

function setProps(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') element.className = `${element.className} ${value}`.trim();
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value);
    else if (['value', 'checked', 'selected', 'indeterminate', 'open'].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** A line icon from one path on a grid of 16. */
export function icon(path) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(SVG, 'path');
  line.setAttribute('d', path);
  svg.append(line);
  return svg;
}

export const icons = {
  plus: 'M8 3v10M3 8h10',
  close: 'M4 4l8 8M12 4l-8 8',
  edit: 'M3 13l.7-2.8L11 2.9l2.1 2.1-7.3 7.3L3 13z',
  trash: 'M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  play: 'M5 3.2l7 4.8-7 4.8z',
  drop: 'M8.8 2L4.2 9h3.4L7 14l4.8-7.2H8.3z',
  sun: 'M8 5.2a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.6zM8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M12.8 3.2l-1 1M4.2 11.8l-1 1',
  moon: 'M13 9.6A5.6 5.6 0 016.4 3a5.6 5.6 0 106.6 6.6z',
  share: 'M8 9.5V2M5 4.5L8 1.8l3 2.7M3 8v5.5h10V8',
  chevron: 'M6 4l4 4-4 4',
  send: 'M2.5 8h10M9 4.2L12.8 8 9 11.8',
  link: 'M6.5 9.5l3-3M7 4.5l1.2-1.2a2.9 2.9 0 014.1 4.1L11 8.7M9 11.5l-1.2 1.2a2.9 2.9 0 01-4.1-4.1L5 7.3',
  reset: 'M3.5 8a4.5 4.5 0 104.5-4.5c-1.6 0-2.9.7-3.8 1.8M4 2.5v3h3',
  bolt: 'M8.8 2L4.2 9h3.4L7 14l4.8-7.2H8.3z',
};

/** Sets the text only if it is another; an unchanged node costs no layout and no announcement. */
export function setText(element, text) {
  const string = String(text);
  if (element.textContent !== string) element.textContent = string;
}

export function setAttr(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const string = value === true ? '' : String(value);
  if (element.getAttribute(name) !== string) element.setAttribute(name, string);
}

const KEY = Symbol('key');

/** Makes the children of `parent` those of `items`, in order; the element of a key that stays is kept, with its focus. */
export function keyed(parent, items, keyOf, make, update = null) {
  const old = new Map();
  for (const child of parent.children) old.set(child[KEY], child);
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = old.get(key);
    if (element) {
      old.delete(key);
    } else {
      element = make(item);
      element[KEY] = key;
    }
    update?.(element, item);
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  for (const element of old.values()) element.remove();
}

/** Of the time that passes, what one view may take for drawing: a tenth. */
const SHARE = 10;

/**
 * A function that runs `fn` in a frame soon, at most every `milliseconds`, however often it is called; less often if it takes
 * long.
 */
export function later(fn, milliseconds = 100) {
  let due = false;
  let next = -Infinity;
  return () => {
    if (due) return;
    due = true;
    setTimeout(() => {
      requestAnimationFrame(() => {
        due = false;
        const start = performance.now();
        fn();
        const end = performance.now();
        next = start + Math.max(milliseconds, (end - start) * SHARE);
      });
    }, Math.max(0, next - performance.now()));
  };
}

let ids = 0;
export function uniqueId(prefix = 'id') {
  return `${prefix}-${(ids += 1)}`;
}

/** A labelled control: the label in front, an optional hint behind. */
export function field(label, control, { hint = null, wide = false } = {}) {
  control.id ||= uniqueId('f');
  const note = hint && h('span.hint', { id: `${control.id}-hint` }, hint);
  if (note) control.setAttribute('aria-describedby', note.id);
  return h('div.field', { class: wide ? 'wide' : null }, h('label', { for: control.id }, label), control, note);
}

export function checkbox(label, props = {}) {
  const input = h('input', { type: 'checkbox', ...props });
  return { input, element: h('label.check', null, input, h('span', null, label)) };
}

/** [[value, label], …] */
export function select(options, props = {}) {
  const { value, ...rest } = props;
  const element = h('select', rest, options.map(([option, label]) => h('option', { value: option }, label ?? option)));
  if (value !== undefined) element.value = String(value);
  return element;
}

export function iconButton(name, label, onclick, props = {}) {
  return h('button.icon-button', { type: 'button', 'aria-label': label, title: label, onclick, ...props }, icon(icons[name]));
}

/** Says something to a screen reader, and to nobody else. */
export function announce(text) {
  const region = document.getElementById('announcer');
  if (region) region.textContent = text;
}
