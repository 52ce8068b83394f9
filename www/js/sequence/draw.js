// One row of a sequence diagram as SVG.

import { BROKER } from './layout.js';

const SVG = 'http://www.w3.org/2000/svg';
const HEAD = 6;

export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** `plan`: from `layout`; `fit(text, width)` shortens. */
export function drawItem(item, plan, fit) {
  const group = s('g', { class: `sq-row sq-${item.kind}`, transform: `translate(0 ${item.top})`, 'data-index': item.index });
  group.append(s('rect', { class: 'sq-back', x: 0, y: 0, width: plan.width, height: item.height }));
  const at = middle(item);
  for (const lane of plan.lanes) group.append(...laneLines(lane, item, at));
  if (item.kind === 'gap') {
    group.append(s('text', { class: 'sq-later', x: plan.left - 8, y: at + 4, 'text-anchor': 'end' }, shortTime(item.milliseconds)));
    return group;
  }
  group.append(s('text', { class: 'sq-time', x: plan.left - 8, y: at + 4, 'text-anchor': 'end' }, clockTime(item.entry.time)));
  group.append(...(item.kind === 'mark' ? drawMark(item, plan, at, fit) : drawArrow(item, plan, at, fit)));
  return group;
}

function middle(item) {
  return item.kind === 'arrow' ? 26 : item.height / 2;
}

function laneLines(lane, item, at) {
  const line = (y1, y2, isOpen) =>
    s('line', { class: `sq-lane${isOpen ? ' sq-open' : ''}${item.kind === 'gap' ? ' sq-skip' : ''}`, x1: lane.x, x2: lane.x, y1, y2 });
  if (lane.key === BROKER) return [line(0, item.height, true)];
  const [before, after] = [item.before.has(lane.key), item.after.has(lane.key)];
  if (before === after) return [line(0, item.height, after)];
  return [line(0, at, before), line(at, item.height, after)];
}

function drawMark({ lane, words, isBreak, entry }, plan, at, fit) {
  const shape = isBreak
    ? s('path', { class: 'sq-cross', d: cross(lane.x, at, 5) })
    : s('circle', { class: 'sq-dot', cx: lane.x, cy: at, r: 4.5 });
  const isRight = plan.width - lane.x < 150 && lane.x > plan.width / 2;
  const room = isRight ? lane.x - plan.left - 20 : plan.width - lane.x - 20;
  return [
    shape,
    s(
      'text',
      { class: `sq-word${isBreak ? ' sq-broken' : ''}`, x: lane.x + (isRight ? -12 : 12), y: at + 4, 'text-anchor': isRight ? 'end' : 'start' },
      s('title', {}, `connection ${entry.connection}`),
      fit(words, room),
    ),
  ];
}

function drawArrow(item, plan, at, fit) {
  const { entry, from, to, slope, isLost } = item;
  const { name, details, bad } = entry.summary;
  const way = Math.sign(to - from) || 1;
  const part = isLost ? 0.68 : 1;
  const end = from + (to - from) * part - (isLost ? 0 : way * 1.5);
  const colour = arrowClass(item, name, bad);
  const bottom = at + slope * part;
  const shapes = [
    s('line', { class: `sq-line ${colour}`, x1: from, y1: at, x2: isLost ? end : end - way * HEAD, y2: bottom }),
    isLost
      ? s('path', { class: 'sq-cross', d: cross(end, bottom, 5.5) })
      : s('path', { class: `sq-head ${colour}`, d: `M${end} ${bottom}l${-way * 8} -4.5v9z` }),
  ];
  // A label may be wider than its arrow: nothing else stands in its row but lanes.
  const room = plan.width - plan.left - 12;
  const nameWidth = fit.width(name, true) + 6;
  const text = fit(details.join(' · '), room - nameWidth);
  const width = nameWidth + fit.width(text);
  const centre = Math.max(plan.left + width / 2, Math.min(plan.width - 6 - width / 2, (from + to) / 2));
  shapes.push(
    s(
      'text',
      { class: 'sq-label', x: centre, y: at - 8, 'text-anchor': 'middle' },
      s('title', {}, `${entry.summary.text} (${entry.bytes.length} bytes, connection ${entry.connection})`),
      s('tspan', { class: `sq-name ${colour}` }, name),
      text ? s('tspan', { class: 'sq-details', dx: 6 }, text) : null,
    ),
  );
  if (item.fate) shapes.push(fateText(item, plan, at, fit));
  return shapes;
}

function fateText({ fate, from, to, slope }, plan, at, fit) {
  const text = fit(fate, plan.width - plan.left - 12);
  const width = fit.width(text);
  const centre = Math.max(plan.left + width / 2, Math.min(plan.width - 6 - width / 2, (from + to) / 2));
  return s('text', { class: 'sq-fate', x: centre, y: at + slope + 15, 'text-anchor': 'middle' }, text);
}

function arrowClass({ exchange }, name, bad) {
  if (bad) return 'sq-bad';
  if (exchange !== undefined) return `sq-x${exchange}`;
  if (name.startsWith('PING')) return 'sq-ping';
  return name === 'PUBLISH' ? 'sq-publish' : 'sq-other';
}

function cross(x, y, r) {
  return `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
}

/** `12.345`, `3:07.250`, `1:00:00.0` */
export function clockTime(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 60) return seconds.toFixed(3);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${(seconds % 60).toFixed(2).padStart(5, '0')}`;
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${(seconds % 60).toFixed(0).padStart(2, '0')}`;
}

/** `+2.5 s`, `+1 h 5 min` */
export function shortTime(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `+${Number(seconds.toFixed(1))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `+${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `+${hours} h ${minutes % 60}` : `+${hours} h`;
  return `+${Math.floor(hours / 24)} days`;
}

function pad(number) {
  return String(number).padStart(2, '0');
}
