// Numeric values over time, from payloads that are a number or JSON with one.

import { h, iconButton, keyed, later, select, setText, uniqueId } from '../dom.js';
import { clockTime, numericFields } from '../format.js';
import { MAXIMUM_SERIES } from '../plotmodel.js';
import { drawChart, shortNumber } from './chart.js';

const WINDOWS = [['10000', '10 s'], ['60000', '1 min'], ['300000', '5 min'], ['3600000', '1 h'], ['0', 'Everything']];
// Lines differ by dashes, too, for those who do not tell the colours apart.
const DASHES = [[], [6, 3], [2, 2], [9, 3, 2, 3], [4, 4], [1, 3]];
const TABLE_EVERY = 1000;

export function create(world) {
  const topicList = h('datalist', { id: uniqueId('topics') });
  const topic = h('input.mono', { list: topicList.id, placeholder: 'Topic of a number', 'aria-label': 'Topic', required: true, spellcheck: 'false', class: 'grow', oninput: suggest });
  const field = h('input.mono', { placeholder: 'JSON field', 'aria-label': 'Field of a JSON payload, as in a.b', spellcheck: 'false', size: '9' });
  const add = h('button', { type: 'submit' }, 'Add');
  const form = h('form.row.grow', { onsubmit: addSeries }, topic, topicList, field, add);
  const span = select(WINDOWS, { value: '60000', 'aria-label': 'Time shown' });
  const scale = select([['one', 'One scale'], ['own', 'Own scales']], { value: 'own', 'aria-label': 'Scale' });
  const chips = h('ul.series-list', { 'aria-label': 'Series' });
  const canvas = h('canvas.plot-canvas', {
    role: 'img',
    'aria-label': 'Chart of the series; the table below has their values',
    onpointermove: (event) => (pointer = event.offsetX),
    onpointerleave: () => (pointer = null),
  });
  const tableBody = h('tbody');
  const table = h('details', { ontoggle: () => drawTable() }, h('summary', null, 'As a table'),
    h('table', null, h('thead', null, h('tr', null, ['Series', 'Last', 'Lowest', 'Highest', 'Mean', 'Values'].map((name, i) => h('th', { scope: 'col', class: i ? 'number' : null }, name)))), tableBody));
  const empty = h('div.empty', null, h('h2', null, 'Nothing to plot yet'), h('p', null, 'Payloads that are numbers, or JSON with numbers in it, are drawn over time. Start a publisher, or name a topic above.'));
  const body = h('div.plot-body', null, chips, canvas, table);
  const element = h('div.view-column', null, h('div.toolbar', null, form, span, scale), empty, body);
  let pointer = null;
  let running = false;
  let palette = null;
  let tableDue = 0;
  const off = [];

  function suggest() {
    const node = world.topics.get(topic.value);
    if (node?.last) field.placeholder = numericFields(node.last.payload).filter(Boolean).join(', ') || 'JSON field';
  }

  function addSeries(event) {
    event.preventDefault();
    let path = field.value.trim();
    const last = world.topics.get(topic.value)?.last;
    if (!path && last) path = numericFields(last.payload)[0] ?? '';
    world.plots.add(topic.value, path);
    topic.value = '';
    field.value = '';
  }

  function drawChips() {
    const { series } = world.plots;
    body.hidden = series.length === 0;
    empty.hidden = series.length > 0;
    add.disabled = series.length >= MAXIMUM_SERIES;
    keyed(chips, series, ({ key }) => key, (one) => h('li.series-chip', null,
      h('span.swatch'), h('span.mono', null, one.label), h('span.value.mono'),
      iconButton('close', `Remove ${one.label}`, () => world.plots.remove(one), { class: 'small' })),
    (chip, one) => chip.style.setProperty('--colour', `var(--series-${series.indexOf(one) + 1})`));
    const topics = [];
    for (const node of world.topics.values()) {
      if (topics.length >= 100) break;
      if (node.last && numericFields(node.last.payload).length) topics.push(node.topic);
    }
    keyed(topicList, topics, (name) => name, (name) => h('option', { value: name }));
  }

  function readPalette() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    palette = {
      line: colour('--line'),
      muted: colour('--muted'),
      sans: colour('--sans'),
      series: DASHES.map((_, i) => colour(`--series-${i + 1}`)),
    };
  }

  function frame() {
    if (!running) return;
    requestAnimationFrame(frame);
    const { series } = world.plots;
    if (!series.length) return;
    if (!palette) readPalette();
    const [from, to] = range();
    const under = drawChart(canvas, {
      series: series.map((one, i) => ({ points: one.since(from), colour: palette.series[i], dash: DASHES[i] })),
      from,
      to,
      apart: scale.value === 'own',
      pointer,
      colours: palette,
    });
    series.forEach((one, i) => {
      const place = chips.children[i]?.querySelector('.value');
      if (place) setText(place, shortNumber(under ? under.values[i] ?? Number.NaN : one.last));
    });
    canvas.title = under ? clockTime(under.time) : '';
    if (performance.now() > tableDue) drawTable();
  }

  /** What is shown, in milliseconds; the chart fills from the left before it moves. */
  function range() {
    const now = world.clock.now();
    const first = Math.min(now, ...world.plots.series.map(({ coarse }) => coarse[0]?.time ?? now));
    if (span.value === '0') return [first, Math.max(now, first + 1000)];
    const from = Math.max(first, now - Number(span.value));
    return [from, from + Number(span.value)];
  }

  function drawTable() {
    tableDue = performance.now() + TABLE_EVERY;
    if (!table.open) return;
    const [from] = range();
    keyed(tableBody, world.plots.series, ({ key }) => key, (one) => h('tr', null, h('th', { scope: 'row', class: 'mono' }, one.label), Array.from({ length: 5 }, () => h('td.number.mono'))), (row, one) => {
      const points = one.since(from).filter(({ time }) => time >= from);
      const mean = points.reduce((sum, { last }) => sum + last, 0) / points.length;
      const values = [one.last, Math.min(...points.map(({ low }) => low)), Math.max(...points.map(({ high }) => high)), mean];
      [...values.map((value) => shortNumber(value)), String(one.count)].forEach((text, i) => setText(row.children[i + 1], text));
    });
  }

  const soon = later(drawChips, 300);
  const repaint = () => (palette = null);

  return {
    element,
    show() {
      running = true;
      off.push(world.on('plots', drawChips), world.on('reset', soon), world.on('published', () => topicList.children.length < world.topics.size && soon()));
      window.addEventListener('themechange', repaint);
      repaint();
      drawChips();
      frame();
    },
    hide() {
      running = false;
      window.removeEventListener('themechange', repaint);
      for (const end of off.splice(0)) end();
    },
  };
}
