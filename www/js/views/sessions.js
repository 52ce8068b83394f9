// The sessions as the broker has them: who is there, what waits, what is subscribed, when it ends.

import { h, keyed, later, setAttr, setText } from '../dom.js';
import { count, duration, expiry, size, versionName } from '../format.js';

const ROWS = 300;
/** Milliseconds between looks at the broker. */
const EVERY = 500;
const COLUMNS = ['Client', 'Connection', 'Session ends', 'Subscriptions', 'In flight', 'Incoming', 'Queued', ''];

export function create(world) {
  const filter = h('input.mono', { type: 'search', placeholder: 'Client id', spellcheck: 'false', 'aria-label': 'Client id', class: 'grow', oninput: () => draw() });
  const status = h('span.muted.view-status');
  const table = h('table.sessions-table', null, h('thead', null, h('tr', null, COLUMNS.map((name, i) => h('th', { scope: 'col', class: i > 2 && i < 7 ? 'number' : null }, name || h('span.visually-hidden', null, 'Actions'))))));
  const empty = h('div.empty', null, h('h2', null, 'No sessions'), h('p', null, 'A session begins when a client connects, and lives on after it has gone if the client asked for that.'));
  const elsewhere = h('div.empty', null, h('h2', null, 'The broker is elsewhere'), h('p', null, 'Only the broker of this tab can be looked into. The packets of clients here are in the log all the same.'));
  const element = h('div.view-column', null, h('div.toolbar', null, filter, status), h('div.scroll', null, table, empty, elsewhere));
  const open = new Set();
  let timer = null;
  const off = [];

  function draw() {
    const { broker } = world;
    const wanted = filter.value.trim();
    const all = broker ? broker.clients() : [];
    const list = (wanted ? all.filter(({ clientId }) => clientId.includes(wanted)) : all).slice(0, ROWS);
    table.hidden = list.length === 0;
    elsewhere.hidden = Boolean(broker);
    empty.hidden = !broker || list.length > 0;
    setText(status, list.length < all.length ? `${list.length} of ${count(all.length)}` : `${all.length} sessions`);
    const [head] = table.children;
    keyedBodies(table, head, list, (info) => makeBody(info.clientId), drawBody);
  }

  function makeBody(clientId) {
    const toggle = h('button.link-button.mono', { type: 'button', onclick: () => {
      if (!open.delete(clientId)) open.add(clientId);
      draw();
    } }, clientId);
    const kick = h('button.small', { type: 'button', onclick: () => {
      world.broker.disconnect(clientId);
      soon();
    }, 'aria-label': `Kick ${clientId}`, data: { action: 'kick' } }, 'Kick');
    const cells = COLUMNS.slice(1, -1).map((name, i) => h('td', { class: i > 1 ? 'number' : null, data: { label: name } }));
    return h('tbody', { data: { session: clientId } }, h('tr', null, h('td', null, toggle), ...cells, h('td.actions', null, kick)),
      h('tr', { hidden: true }, h('td', { colspan: String(COLUMNS.length) }, h('ul.session-detail'))));
  }

  function drawBody(body, info) {
    const [row, more] = body.children;
    const { connection } = info;
    const isOpen = open.has(info.clientId);
    setAttr(row.firstChild.firstChild, 'aria-expanded', String(isOpen));
    row.lastChild.firstChild.disabled = !connection;
    [
      connection
        ? `MQTT ${versionName(connection.version)} · ${connection.transport}${connection.username ? ` · ${connection.username}` : ''}${connection.keepAlive ? ` · ${connection.keepAlive} s` : ''}${info.hasWill ? ' · will' : ''}`
        : 'offline',
      connection || info.expiresIn === undefined ? expiry(info.sessionExpiry) + (connection && info.sessionExpiry && info.sessionExpiry !== 0xffffffff ? ' after' : '') : `in ${duration(info.expiresIn)}`,
      count(info.subscriptions),
      count(info.inflight),
      count(info.incoming),
      info.queued ? `${count(info.queued)} (${size(info.queuedBytes)})` : '0',
    ].forEach((text, i) => setText(row.children[i + 1], text));
    row.children[1].classList.toggle('ok', Boolean(connection));
    row.children[1].classList.toggle('muted', !connection);
    row.children[2].classList.toggle('warn', !connection && info.expiresIn !== undefined);
    row.children[6].classList.toggle('warn', info.queued > 0);
    more.hidden = !isOpen;
    if (isOpen) drawSubscriptions(more.firstChild.firstChild, world.broker.subscriptions(info.clientId));
  }

  const soon = later(draw, 150);

  return {
    element,
    show() {
      off.push(world.on('client', soon), world.on('link', soon), world.on('time', soon), world.on('reset', soon));
      timer = setInterval(() => document.hidden || draw(), EVERY);
      draw();
    },
    hide() {
      clearInterval(timer);
      for (const end of off.splice(0)) end();
    },
  };
}

function drawSubscriptions(list, subscriptions) {
  const items = subscriptions.length ? subscriptions.slice(0, 200) : [null];
  keyed(list, items, (one) => (one ? JSON.stringify(one) : 'none'), (one) => {
    if (!one) return h('li.muted', null, 'No subscriptions');
    const words = [
      `QoS ${one.qos}`,
      one.noLocal && 'no local',
      one.retainAsPublished && 'retain as published',
      ['', 'retained if new', 'no retained'][one.retainHandling],
      one.subscriptionIdentifier && `id ${one.subscriptionIdentifier}`,
    ];
    return h('li', null, h('span.mono.breaks', null, one.filter), words.filter(Boolean).map((word) => h('span.chip', null, word)));
  });
}

/** A tbody for each session, behind the head. */
function keyedBodies(table, head, list, make, update) {
  const old = new Map([...table.tBodies].map((body) => [body.dataset.session, body]));
  let previous = head;
  for (const info of list) {
    const body = old.get(info.clientId) ?? make(info);
    old.delete(info.clientId);
    update(body, info);
    if (previous.nextElementSibling !== body) previous.after(body);
    previous = body;
  }
  for (const body of old.values()) body.remove();
}
