// The bar of time: stop it, hurry it, jump ahead; what the broker does; and the panel of faults.

import { h, icon, icons, keyed, setAttr, setText } from '../dom.js';
import { clockTime, count } from '../format.js';
import { faultsPanel } from './faults.js';

/** Milliseconds between readings of the counters. */
const METERS = 500;
const METRICS = [['published', 'in/s'], ['delivered', 'out/s'], ['dropped', 'dropped/s']];

export function create(world) {
  const rates = [['0', 'Pause', 'Stop time'], ['1', '×1', 'Time as it is'], ['10', '×10', 'Ten times as fast']];
  const rateButtons = rates.map(([rate, label, title]) =>
    h('button', { type: 'button', title, 'aria-label': rate === '0' ? title : null, data: { rate }, onclick: () => setRate(Number(rate)) }, rate === '0' ? icon(icons.pause) : label));
  const jumps = [[60_000, '+1 min', 'Advance a minute'], [3_600_000, '+1 h', 'Advance an hour']].map(([milliseconds, label, title]) =>
    h('button', { type: 'button', title, data: { advance: String(milliseconds) }, onclick: () => jump(milliseconds) }, label));
  const clock = h('span.clock', { role: 'timer', 'aria-label': 'The broker’s clock' });
  const meters = h('div.meters');
  const faults = faultsPanel(world);
  const faultsButton = h('button', { type: 'button', 'aria-expanded': 'false', 'aria-controls': faults.element.id, data: { action: 'faults' }, onclick: () => openFaults(faults.element.hidden) });
  const element = h('div', null, faults.element, h('div.time-bar', null,
    h('div.segments', { role: 'group', 'aria-label': 'Speed of time' }, rateButtons),
    h('div.segments', { role: 'group', 'aria-label': 'Let time pass' }, jumps),
    clock, faultsButton, meters));
  let last = null;
  let busy = false;

  function setRate(rate) {
    world.setRate(rate);
  }

  async function jump(milliseconds) {
    if (busy) return;
    busy = true;
    draw();
    try {
      await world.advance(milliseconds);
    } finally {
      busy = false;
      draw();
    }
  }

  function openFaults(open) {
    faults.element.hidden = !open;
    faultsButton.setAttribute('aria-expanded', String(open));
    faults.draw();
  }

  function draw() {
    const { timeAdjustable } = world;
    for (const button of rateButtons) {
      button.disabled = !timeAdjustable;
      setAttr(button, 'aria-pressed', String(world.clock.rate === Number(button.dataset.rate)));
    }
    for (const button of jumps) button.disabled = !timeAdjustable || busy;
    faultsButton.disabled = !world.broker;
    if (!world.broker) openFaults(false);
    const active = world.faults.list.length;
    setText(faultsButton, active ? `Faults ${active}` : 'Faults');
    clock.title = timeAdjustable ? 'The broker’s clock' : 'The broker is elsewhere: its time is its own';
    faults.draw();
    tick();
  }

  function tick() {
    setText(clock, clockTime(world.clock.now(), 1));
  }

  /** Counts of the last half second, by the wall clock. */
  function measure() {
    if (document.hidden) return;
    const now = performance.now();
    const metrics = world.broker?.metrics();
    const values = METRICS.map(([name]) => metrics?.[name] ?? 0);
    const seconds = last ? (now - last.now) / 1000 : 0;
    const shown = metrics
      ? [
          ...METRICS.map(([, label], i) => [seconds ? Math.max(0, values[i] - last.values[i]) / seconds : 0, label]).filter(([rate, label]) => label !== 'dropped/s' || rate > 0),
          [metrics.sessions, 'sessions'],
          [metrics.retained, 'retained'],
        ]
      : [[world.clients.filter(({ state }) => state === 'online').length, `of ${world.clients.length} clients online`]];
    last = { now, values };
    keyed(meters, shown, ([, label]) => label, ([, label]) => h('span', null, h('b'), ` ${label}`), (meter, [value]) => setText(meter.firstChild, count(value)));
    faults.prune();
  }

  return {
    element,
    show() {
      world.on('time', draw);
      world.on('target', () => {
        last = null;
        draw();
      });
      world.on('faults', draw);
      world.on('clients', () => faults.draw());
      setInterval(() => document.hidden || tick(), 100);
      setInterval(measure, METERS);
      draw();
    },
    hide() {},
  };
}
