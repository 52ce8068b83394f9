// The retained messages: list, filter, delete.

import { h, iconButton, keyed, later, setText } from '../dom.js';
import { count, preview, size } from '../format.js';
import { matches } from '../wire.js';
import { payloadView } from './payload.js';

const ROWS = 500;

export function create(world) {
  const filter = h('input.mono', { type: 'search', placeholder: 'Topic filter or part of a topic', spellcheck: 'false', 'aria-label': 'Topic', class: 'grow', oninput: () => draw() });
  const status = h('span.muted.view-status');
  const body = h('tbody');
  const table = h('table', null,
    h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Topic'), h('th', { scope: 'col' }, 'Payload'), h('th.number', { scope: 'col' }, 'Size'), h('th', { scope: 'col' }, h('span.visually-hidden', null, 'Delete')))), body);
  const empty = h('div.empty', null, h('h2', null, 'Nothing is retained'), h('p', null, 'A message published with the retain flag stays here, and whoever subscribes later gets it at once.'));
  const note = h('p.muted', { class: 'toolbar', hidden: true }, 'This broker is elsewhere: these are the retained messages that clients here were sent.');
  const error = h('p.error-text', { role: 'alert' });
  const detail = payloadView();
  const pane = h('div.detail-pane', null, detail.element, h('p.muted.detail-hint', null, 'Choose a message to see all of it.'));
  const element = h('div.split', null,
    h('div.split-main', null, h('div.toolbar', null, filter, status), note, error, h('div.scroll', null, table, empty)), pane);
  let chosen = null;
  let visible = false;
  const off = [];

  function messages() {
    const wanted = filter.value.trim();
    const wild = /[+#]/.test(wanted);
    if (world.broker) {
      const list = world.broker.retained(wild ? wanted : '#', wanted && !wild ? 100_000 : ROWS + 1);
      return wanted && !wild ? list.filter(({ topic }) => topic.includes(wanted)) : list;
    }
    return [...world.topics.values()]
      .filter((node) => node.retained && node.last && (!wanted || (wild ? matches(wanted, node.topic) : node.topic.includes(wanted))))
      .map(({ topic, last }) => ({ topic, payload: last.payload }));
  }

  function draw() {
    if (!visible) return;
    let list = [];
    error.textContent = '';
    try {
      list = messages();
    } catch (failure) {
      error.textContent = failure.message;
    }
    note.hidden = Boolean(world.broker);
    empty.hidden = list.length > 0;
    table.hidden = list.length === 0;
    setText(empty.firstChild, filter.value ? 'Nothing matches' : 'Nothing is retained');
    setText(status, list.length > ROWS ? `first ${ROWS}` : `${count(list.length)} retained`);
    keyed(body, list.slice(0, ROWS), ({ topic }) => topic, ({ topic }) => makeRow(topic), drawRow);
    const current = chosen !== null && list.find(({ topic }) => topic === chosen);
    show(current || null);
  }

  let shown = null;
  function show(message) {
    pane.classList.toggle('filled', Boolean(message));
    if (!message) {
      chosen = null;
      shown = null;
      detail.show(null);
    } else if (!shown || shown.topic !== message.topic || !same(shown.payload, message.payload)) {
      const before = shown?.topic === message.topic ? shown : null;
      shown = { ...message, time: world.topics.get(message.topic)?.last?.time ?? 0, retain: true };
      detail.show(shown, before);
    }
  }

  function makeRow(topic) {
    const choose = h('button.link-button.mono', { type: 'button', onclick: () => {
      chosen = topic;
      draw();
    } }, topic || '(empty)');
    const remove = iconButton('trash', `Delete the retained message of ${topic}`, () => world.deleteRetained(topic).then(draw, (failure) => (error.textContent = failure.message)), { class: 'small', data: { action: 'delete-retained' } });
    return h('tr', { data: { topic } }, h('td', null, choose), h('td.value-cell.mono'), h('td.number.muted'), h('td.actions', null, remove));
  }

  function drawRow(row, { topic, payload }) {
    setText(row.children[1], preview(payload, 80));
    setText(row.children[2], size(payload.length));
    row.classList.toggle('chosen', topic === chosen);
  }

  const soon = later(draw, 300);

  return {
    element,
    show() {
      visible = true;
      off.push(
        world.on('published', (message) => message.retain && soon()),
        world.on('retained', soon),
        world.on('reset', soon),
        world.on('time', soon),
      );
      draw();
    },
    hide() {
      visible = false;
      for (const end of off.splice(0)) end();
    },
  };
}

function same(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
