// Where the broker is: a button in the header that says it, and the dialog that changes it, shares it and bridges it.

import { h, setAttr, setText, uniqueId } from '../dom.js';
import { answerNeighbours, askNeighbours } from '../neighbours.js';
import { bridgeForm } from './bridge.js';
import { openDialog } from './dialog.js';

/** Milliseconds to wait for the server of this page to answer. */
const PROBE = 3000;

export function create(world) {
  const dot = h('span.dot', { data: { state: 'online' } });
  const text = h('span');
  const bridge = h('span.chip', { hidden: true });
  const element = h('button.target-button', { type: 'button', 'aria-haspopup': 'dialog', title: 'Where the broker is', data: { action: 'target' }, onclick: () => openTargetDialog(world) },
    dot, text, bridge);
  answerNeighbours(world);

  function draw() {
    setText(text, describe(world.target));
    const online = world.broker || world.clients.some(({ state }) => state === 'online');
    setAttr(dot, 'data-state', online ? 'online' : 'offline');
    bridge.hidden = !world.bridge;
    if (!world.bridge) return;
    const { state } = world.bridge.state;
    setText(bridge, `bridge ${state}`);
    bridge.className = `chip ${{ connected: 'ok', refused: 'bad', closed: 'bad' }[state] ?? 'warn'}`;
  }

  for (const kind of ['target', 'clients', 'client', 'bridge']) world.on(kind, draw);
  draw();
  return { element };
}

export function describe(target) {
  if (target.kind === 'shared') return `Broker of another tab: ${target.name}`;
  if (target.kind === 'url') return target.url;
  return target.share ? `Broker in this tab, shared as ${target.share}` : 'Broker in this tab';
}

function serverUrl() {
  if (!/^https?:$/.test(location.protocol)) return null;
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/mqtt`;
}

function openTargetDialog(world) {
  const { target } = world;
  const server = serverUrl();
  const isServer = target.kind === 'url' && target.url === server;
  const current = isServer ? 'server' : target.kind;

  const other = h('input.mono', { placeholder: 'name', value: target.kind === 'shared' ? target.name : '', 'aria-label': 'Name the other tab shares its broker under', spellcheck: 'false', class: 'grow', name: 'shared-name' });
  const found = h('div.row');
  const url = h('input.mono', { type: 'url', placeholder: 'wss://test.example.org:8884/mqtt', pattern: 'wss?://.+', value: target.kind === 'url' && !isServer ? target.url : '', 'aria-label': 'Address of the broker', class: 'grow', name: 'url' });
  const radios = {};
  const option = (kind, label, hint, ...body) => {
    const radio = h('input', { type: 'radio', name: 'target', value: kind, checked: kind === current, id: uniqueId('target') });
    radios[kind] = radio;
    const inner = body.length ? h('div.option-body', null, body) : null;
    inner?.addEventListener('focusin', () => (radio.checked = true));
    return h('div.option', null, radio, h('label', { for: radio.id }, label), hint && h('span.hint', null, hint), inner);
  };
  const serverOption = server && option('server', 'The server this page came from', server);
  if (serverOption && !isServer) serverOption.hidden = true;
  const elements = h('div.options', { role: 'radiogroup', 'aria-label': 'Where the broker is' },
    option('tab', 'In this tab', 'Runs in the page itself; nothing leaves it. Time and faults are yours.'),
    option('shared', 'In another tab of this browser', 'Which has to share its broker under a name.', other, found),
    serverOption,
    option('url', 'At an address', 'Any broker that speaks MQTT over WebSocket.', url));

  const stopAsking = askNeighbours((name) => {
    if ([...found.children].some((button) => button.textContent === name)) return;
    found.append(h('button.small', { type: 'button', onclick: () => {
      other.value = name;
      radios.shared.checked = true;
    } }, name));
  });
  const stopProbe = serverOption && !isServer ? probe(server, () => (serverOption.hidden = false)) : () => {};
  const bridge = world.broker ? bridgeForm(world) : null;

  const { dialog } = openDialog({
    title: 'Where the broker is',
    body: [elements, world.broker && shareForm(world), bridge?.element],
    submit: 'Use this broker',
    async onsubmit() {
      const kind = Object.keys(radios).find((name) => radios[name].checked);
      const next = {
        tab: { kind: 'tab', ...(target.share && { share: target.share }) },
        shared: { kind: 'shared', name: other.value.trim() },
        server: { kind: 'url', url: server },
        url: { kind: 'url', url: url.value.trim() },
      }[kind];
      if (kind === 'shared' && !next.name) throw new Error('The other tab’s name is missing.');
      if (kind === 'url' && !/^wss?:\/\/./.test(next.url)) throw new Error('The address begins with ws:// or wss://.');
      if (location.protocol === 'https:' && next.url?.startsWith('ws:') && !isLocal(next.url)) throw new Error('From an https page, browsers allow wss:// only.');
      if (JSON.stringify(next) !== JSON.stringify(world.target)) world.setTarget(next);
    },
  });
  dialog.addEventListener('close', () => {
    stopAsking();
    stopProbe();
    bridge?.end();
  });
}

function isLocal(url) {
  return ['localhost', '127.0.0.1', '[::1]'].includes(new URL(url).hostname);
}

/** Only when the dialog is open: browsers write a failure on the console. */
function probe(url, answered) {
  let socket;
  try {
    socket = new WebSocket(url, ['mqtt']);
  } catch {
    return () => {};
  }
  const timer = setTimeout(() => socket.close(), PROBE);
  socket.onopen = () => {
    answered();
    socket.close();
  };
  return () => {
    clearTimeout(timer);
    socket.close();
  };
}

function shareForm(world) {
  const name = h('input.mono', { value: world.target.share ?? 'playground', 'aria-label': 'Name to share the broker under', spellcheck: 'false', name: 'share-name' });
  const toggle = h('button', { type: 'button', data: { action: 'share-broker' }, onclick: () => {
    if (world.target.share) world.unshare();
    else if (name.value.trim()) world.share(name.value.trim());
    draw();
  } });
  const link = h('a', { target: '_blank', rel: 'noopener' }, 'Open a tab that joins');
  const hint = h('p.hint', null, 'Other tabs of this browser at this address can connect to this tab’s broker then.');

  function draw() {
    const { share } = world.target;
    setText(toggle, share ? 'Stop sharing' : 'Share');
    name.disabled = Boolean(share);
    link.hidden = !share;
    if (share) link.href = `?join=${encodeURIComponent(share)}`;
  }
  draw();
  return h('fieldset', null, h('legend', null, 'Share this tab’s broker'), h('div.row', null, name, toggle, link), hint);
}
