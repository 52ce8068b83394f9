// The bridge of this tab's broker to another one: a form, and its state while it runs.

import { field, h, select, setText } from '../dom.js';
import { reasonText } from '../describe.js';
import { count, duration } from '../format.js';

const EVERY = 500;

export function bridgeForm(world) {
  const options = world.bridge?.options ?? {};
  const url = h('input.mono', { type: 'text', placeholder: 'ws://localhost:8080/mqtt', value: options.url ?? '', spellcheck: 'false', name: 'bridge-url' });
  const version = select([['5', 'MQTT 5.0'], ['4', 'MQTT 3.1.1']], { value: options.version ?? 5 });
  const username = h('input', { value: options.username ?? '', autocomplete: 'off' });
  const password = h('input', { type: 'password', autocomplete: 'new-password' });
  const incoming = routes('From there to here', options.in);
  const outgoing = routes('From here to there', options.out);
  const error = h('p.error-text', { role: 'alert' });
  const state = h('p.result', { role: 'status' });
  const counters = h('p.result');
  const toggle = h('button', { type: 'button', data: { action: 'bridge' }, onclick: switchBridge });
  const fields = h('div.stack', null,
    h('div.fields', null, field('Address', url, { wide: true }), field('Version', version), field('Username', username), field('Password', password)),
    incoming.element, outgoing.element);
  const element = h('fieldset', { data: { form: 'bridge' } }, h('legend', null, 'Bridge to another broker'),
    h('details', { open: Boolean(world.bridge) }, h('summary', null, 'Carry messages between this tab’s broker and one at an address'),
      h('div.stack', null, fields, h('div.row', null, toggle, state), counters, error)));

  function switchBridge() {
    error.textContent = '';
    try {
      if (world.bridge) world.unbridge();
      else world.startBridge(read());
    } catch (failure) {
      error.textContent = failure.message ?? String(failure);
    }
    draw();
  }

  function read() {
    if (!/^wss?:\/\/./.test(url.value.trim())) throw new Error('The address begins with ws:// or wss://.');
    const bridge = { url: url.value.trim(), version: Number(version.value), in: incoming.read(), out: outgoing.read() };
    if (!bridge.in.length && !bridge.out.length) throw new Error('A bridge needs a filter, in or out.');
    if (username.value) bridge.username = username.value;
    if (password.value) bridge.password = password.value;
    return bridge;
  }

  function draw() {
    const { bridge } = world;
    fields.hidden = Boolean(bridge);
    setText(toggle, bridge ? 'Remove the bridge' : 'Connect the bridge');
    if (!bridge) {
      setText(state, '');
      setText(counters, '');
      return;
    }
    const { state: name, reason, reasonCode, retryIn } = bridge.state;
    const words = [`${name} · ${bridge.options.url}`, reason, reasonCode !== undefined && reasonText(reasonCode), retryIn !== undefined && `again in ${duration(retryIn)}`];
    setText(state, words.filter(Boolean).join(' · '));
    const { received = 0, sent = 0, waiting = 0 } = bridge.handle ?? {};
    setText(counters, `${count(received)} received · ${count(sent)} sent · ${count(waiting)} waiting`);
  }

  const off = world.on('bridge', draw);
  const timer = setInterval(draw, EVERY);
  draw();
  return {
    element,
    end() {
      off();
      clearInterval(timer);
    },
  };
}

/** Routes, one a line; a line without a filter does not count. */
function routes(title, list = []) {
  const rows = h('div.stack');
  const add = h('button.small', { type: 'button', onclick: () => append({}) }, 'Add a filter');

  function append({ filter = '', qos = 0, localPrefix = '', remotePrefix = '' }) {
    const text = (value, placeholder, label) => h('input.mono', { value, placeholder, 'aria-label': `${title}: ${label}`, spellcheck: 'false', class: 'grow' });
    rows.append(h('div.inline', null,
      text(filter, 'filter', 'topic filter'),
      select([['0', 'QoS 0'], ['1', 'QoS 1'], ['2', 'QoS 2']], { value: qos, 'aria-label': `${title}: QoS` }),
      text(localPrefix, 'prefix here', 'prefix at this broker'),
      text(remotePrefix, 'prefix there', 'prefix at the other broker')));
  }

  function read() {
    return [...rows.children]
      .map((row) => [...row.children].map((input) => input.value.trim()))
      .filter(([filter]) => filter)
      .map(([filter, qos, localPrefix, remotePrefix]) => ({
        filter,
        qos: Number(qos),
        ...(localPrefix && { localPrefix }),
        ...(remotePrefix && { remotePrefix }),
      }));
  }

  for (const route of list.length ? list : [{}]) append(route);
  return { element: h('div.stack', null, h('h3', null, title), rows, h('div', null, add)), read };
}
