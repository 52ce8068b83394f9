// Faults for one client, as buttons; those that are active, to be taken away again.

import { h, iconButton, keyed, select, setText, uniqueId } from '../dom.js';

const SLOW = 64;

/** What each button does; `connection` faults last as long as the connection. */
const FAULTS = [
  { name: 'cut', label: 'Cut', title: 'The connection ends without a word to either side', connection: 'cut' },
  { name: 'delay', label: 'Delay 1 s', title: 'Every packet arrives a second late', rule: { action: { delay: 1000 } } },
  { name: 'lose-puback', label: 'Lose next PUBACK', title: 'The next PUBACK gets lost', rule: { packet: 'PUBACK', when: 'once', action: 'lose' } },
  { name: 'lose-publish', label: 'Lose next PUBLISH', title: 'The next PUBLISH gets lost', rule: { packet: 'PUBLISH', when: 'once', action: 'lose' } },
  { name: 'half-open', label: 'Half-open', title: 'The client notices that the connection is gone, the broker does not', connection: 'halfOpen' },
  { name: 'blackhole', label: 'Blackhole', title: 'From now on everything either side sends is lost', connection: 'blackhole' },
  { name: 'slow', label: 'Slow reader', title: `The client gets ${SLOW} bytes a second`, rule: { direction: 'to-client', action: { slow: SLOW } } },
];

export function faultsPanel(world) {
  const who = select([], { 'aria-label': 'Client that the faults are for', name: 'fault-client' });
  const buttons = FAULTS.map((fault) => h('button.small', { type: 'button', title: fault.title, data: { fault: fault.name }, onclick: () => set(fault) }, fault.label));
  const list = h('ul.fault-list', { 'aria-label': 'Active faults' });
  const message = h('p.result', { role: 'status' });
  const element = h('section.faults', { id: uniqueId('faults'), 'aria-label': 'Faults', hidden: true },
    h('div.row', null, h('h2', null, 'Faults for'), who, h('div.row', { role: 'group', 'aria-label': 'Add a fault' }, buttons)), list, message);

  function set({ label, rule, connection }) {
    const client = world.client(who.value);
    if (!client) return;
    const { clientId } = client;
    const name = `${clientId}: ${label.toLowerCase()}`;
    const done = rule
      ? world.faults.add(name, { ...rule, client: clientId })
      : world.faults.connection(name, connection, clientId);
    setText(message, done ? '' : `${clientId} has no connection.`);
  }

  function draw() {
    if (element.hidden) return;
    keyed(who, world.clients, ({ key }) => key, ({ name }) => h('option', { value: name }, name));
    for (const button of buttons) button.disabled = world.clients.length === 0;
    list.hidden = world.faults.list.length === 0;
    keyed(list, world.faults.list, ({ key }) => key, (fault) => h('li', null, h('span'),
      iconButton('close', `Remove ${fault.label}${fault.ofConnection ? ' by cutting the connection' : ''}`, () => fault.remove(), { class: 'small', data: { action: 'remove-fault' } })), drawFault);
  }

  function drawFault(item, fault) {
    const hits = fault.hits();
    setText(item.firstChild, hits && !fault.once ? `${fault.label} (${hits} packets)` : fault.label);
  }

  return {
    element,
    draw,
    /** Also the counters of hits. */
    prune() {
      world.faults.prune();
      draw();
    },
  };
}
