// The panel of clients: each a card that opens to its subscriptions and a form to publish.

import { h, icon, iconButton, icons, keyed, later, setAttr, setText } from '../dom.js';
import { count, versionName } from '../format.js';
import { openClientDialog } from './clientdialog.js';
import { publishForm } from './publishform.js';
import { subscriptionsEditor } from './subscriptions.js';

export function create(world) {
  const list = h('div.cards');
  const empty = h('p.side-empty', null, 'No client yet. Add one, and let it subscribe and publish.');
  const add = h('button.small', { type: 'button', onclick: () => openClientDialog(world), data: { action: 'add-client' } },
    icon(icons.plus), 'Add');
  const element = h('section.side-section', { 'aria-labelledby': 'clients-title' },
    h('div.side-head', null, h('h2', { id: 'clients-title' }, 'Clients'), add), empty, list);
  const cards = new Map();
  /** Names of those that are open, so that a world that is loaded again looks as it did. */
  const opened = new Set();
  let untouched = true;

  const draw = () => {
    empty.hidden = world.clients.length > 0;
    if (untouched && world.clients.length) opened.add(world.clients[0].name);
    untouched &&= world.clients.length === 0;
    for (const [key, card] of cards) if (!world.clients.includes(card.client)) cards.delete(key);
    keyed(list, world.clients, (client) => client.key, (client) => {
      const card = clientCard(world, client, opened);
      cards.set(client.key, card);
      return card.element;
    }, (_, client) => cards.get(client.key).draw());
  };
  const counts = later(() => {
    for (const card of cards.values()) card.drawCounts();
  }, 250);

  return {
    element,
    show() {
      world.on('clients', draw);
      world.on('client', (client) => cards.get(client.key)?.draw());
      world.on('message', counts);
      world.on('publishers', counts);
      world.on('packet', counts);
      draw();
    },
    hide() {},
  };
}

function clientCard(world, client, opened) {
  const dot = h('span.dot');
  const name = h('span.client-name.mono');
  const toggle = h('button.client-toggle.quiet', { type: 'button', onclick: () => open(!opened.has(client.name)) },
    icon(icons.chevron), dot, name);
  const connect = h('button.small', { type: 'button', onclick: () => act(), data: { action: 'connect' } });
  const drop = iconButton('bolt', 'Drop the connection without DISCONNECT', () => client.drop(), { class: 'small', data: { action: 'drop' } });
  const edit = iconButton('edit', 'Edit the client', () => openClientDialog(world, client), { class: 'small', data: { action: 'edit' } });
  const line = h('p.client-line');
  const body = h('div.client-body', { hidden: true });
  const element = h('article.card', { data: { client: client.name } }, h('div.client-head', null, toggle, connect, drop, edit), line, body);
  let editor = null;

  function act() {
    if (client.state === 'offline') client.connect().catch(() => {});
    else client.disconnect();
  }

  function open(wanted) {
    if (wanted) opened.add(client.name);
    else opened.delete(client.name);
    draw();
  }

  function draw() {
    const isOpen = opened.has(client.name);
    if (isOpen && !editor) {
      editor = subscriptionsEditor(client);
      body.append(editor.element, publishForm(client));
    }
    body.hidden = !isOpen;
    setAttr(toggle, 'aria-expanded', String(isOpen));
    setAttr(dot, 'data-state', client.state);
    setAttr(element, 'data-state', client.state);
    setAttr(element, 'data-client', client.name);
    setText(name, client.name);
    setText(connect, client.state === 'offline' ? 'Connect' : 'Disconnect');
    setAttr(connect, 'aria-label', `${connect.textContent} ${client.name}`);
    setAttr(edit, 'aria-label', `Edit ${client.name}`);
    setAttr(drop, 'aria-label', `Drop the connection of ${client.name} without DISCONNECT`);
    drop.disabled = client.state === 'offline';
    editor?.draw();
    drawCounts();
  }

  function drawCounts() {
    const state = client.state === 'offline' && client.reason ? `offline: ${client.reason}` : client.state;
    const { inflight } = client.client;
    setText(line, [
      state,
      `MQTT ${versionName(client.version)}`,
      client.state !== 'offline' || client.received ? `${count(client.received)} in` : '',
      client.state !== 'offline' || client.sent ? `${count(client.sent)} out` : '',
      inflight ? `${inflight} in flight` : '',
    ].filter(Boolean).join(' · '));
    line.classList.toggle('bad', client.state === 'offline' && Boolean(client.reason));
  }

  return { element, draw, drawCounts, client };
}
