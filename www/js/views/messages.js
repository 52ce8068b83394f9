// Messages as they come, of all clients or one, by topic filter; the chosen one in full.

import { h, keyed, later, select, setAttr, setText } from '../dom.js';
import { clockTime, preview } from '../format.js';
import { matches } from '../wire.js';
import { payloadView } from './payload.js';

const ROWS = 200;

export function create(world) {
  const filter = h('input.mono', { type: 'search', placeholder: 'Topic filter or part of a topic', spellcheck: 'false', 'aria-label': 'Topic', class: 'grow', oninput: () => redraw() });
  const who = select([['', 'All clients']], { 'aria-label': 'Client', onchange: () => redraw() });
  const hold = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => setHeld(!held), title: 'Keep the list as it is' }, 'Hold');
  const clear = h('button', { type: 'button', onclick: clearAll }, 'Clear');
  const status = h('span.muted.view-status');
  // What is pointed at or focused holds still.
  const list = h('ul.rows', { 'aria-label': 'Messages', onkeydown: move, onpointerdown: still, onfocusin: focused });
  const empty = h('div.empty', null, h('h2', null, 'No messages yet'), h('p', null, 'What clients receive appears here. Subscribe with one of them and publish with another.'));
  const detail = payloadView();
  const pane = h('div.detail-pane', null, detail.element, h('p.muted.detail-hint', null, 'Choose a message to see all of it.'));
  const element = h('div.split', null,
    h('div.split-main', null, h('div.toolbar', null, filter, who, hold, clear, status), h('div.scroll', null, list, empty)),
    pane);

  let visible = false;
  let held = false;
  let rows = [];
  let selected = null;
  let heldAt = 0;
  /** The row that Tab comes to; arrows go from there. Two hundred stops would be no way through the page. */
  let stop = 0;
  const off = [];

  function source() {
    return world.client(who.value)?.messages ?? world.messages;
  }

  function test() {
    const wanted = filter.value.trim();
    if (!wanted) return null;
    const wild = /[+#]/.test(wanted);
    return ({ topic }) => (wild ? matches(wanted, topic) : topic.includes(wanted));
  }

  function still() {
    if (!held) setHeld(true);
  }

  function focused({ target }) {
    const at = [...list.children].indexOf(target.closest('li'));
    if (at >= 0) stop = at;
    still();
    draw();
  }

  function setHeld(next) {
    held = next;
    if (!held) stop = 0;
    heldAt = world.messages.total;
    hold.setAttribute('aria-pressed', String(held));
    redraw();
  }

  function clearAll() {
    world.messages.clear();
    for (const client of world.clients) client.messages.clear();
    choose(null);
    setHeld(false);
  }

  function choose(message) {
    selected = message;
    if (message) still();
    pane.classList.toggle('filled', Boolean(message));
    detail.show(message, message && before(message));
    redraw();
  }

  /** The message before on the same topic, as the same client got it. */
  function before(message) {
    return source().newest(1, (other) => other.n < message.n && other.topic === message.topic && other.client === message.client)[0] ?? null;
  }

  function redraw() {
    if (!visible) return;
    if (!held || !rows.length) rows = source().newest(ROWS, test());
    else if (filter.value || who.value) rows = rows.filter(test() ?? (() => true));
    draw();
  }

  function draw() {
    empty.hidden = rows.length > 0;
    if (empty.firstChild) setText(empty.firstChild, world.messages.length ? 'Nothing matches' : 'No messages yet');
    // By place and not by message: to fill a row anew is cheaper than to make one.
    keyed(list, rows.map((message, i) => ({ message, i })), ({ i }) => i, ({ i }) => makeRow(() => choose(rows[i])), (row, { message, i }) => {
      fillRow(row.firstChild, message);
      setAttr(row.firstChild, 'tabindex', i === Math.min(stop, rows.length - 1) ? null : '-1');
      setAttr(row.firstChild, 'aria-current', message === selected ? 'true' : null);
    });
    const waiting = world.messages.total - heldAt;
    setText(status, held ? `${waiting} new` : `${world.messages.length} kept`);
  }

  function move(event) {
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
    const next = step && event.target.closest('li')?.[step]?.firstChild;
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  }

  function drawClients() {
    const names = ['', ...world.clients.map(({ name }) => name)];
    keyed(who, names, (name) => name, (name) => h('option', { value: name }, name || 'All clients'));
  }

  const soon = later(() => (held ? draw() : redraw()), 120);

  function restart() {
    rows = [];
    held = false;
    hold.setAttribute('aria-pressed', 'false');
    choose(null);
  }

  return {
    element,
    show() {
      visible = true;
      off.push(world.on('message', soon), world.on('clients', drawClients), world.on('reset', restart));
      drawClients();
      redraw();
    },
    hide() {
      visible = false;
      for (const end of off.splice(0)) end();
    },
  };
}

function makeRow(onclick) {
  return h('li', null, h('button.message-row', { type: 'button', onclick },
    h('span.time.mono'), h('span.who'), h('span.topic.mono'), h('span.flags.mono'), h('span.value.mono')));
}

const filled = new WeakMap();

function fillRow(row, message) {
  if (filled.get(row) === message) return;
  filled.set(row, message);
  const { qos, retain, dup } = message;
  const flags = [qos ? `Q${qos}` : '', retain ? 'R' : '', dup ? 'D' : ''].filter(Boolean).join(' ');
  const texts = [clockTime(message.time), message.client, message.topic, flags, preview(message.payload)];
  texts.forEach((text, i) => setText(row.children[i], text));
}
