// A bridge to another broker, over a real WebSocket.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import WebSocket from 'ws';
import { connected, listening, started, until } from './support.mjs';

// Node before 22 has none of its own.
globalThis.WebSocket ??= WebSocket;

test('messages go in and out, under other names, and back when the other broker was away', async (t) => {
  const { broker: far, listener } = await listening(t);
  const near = started(t);
  const states = [];
  const bridge = near.bridge({
    url: listener.webSocketUrl,
    clientId: 'bridge',
    in: [{ filter: 'news/#', localPrefix: 'far/' }],
    out: [{ filter: 'sensor/#', remotePrefix: 'near/' }],
    backoff: [1, 10],
    onstate: ({ state }) => states.push(state),
  });
  const messages = [];
  await near.subscribe('far/#', (message) => messages.push(`${message.topic}=${message.text()}`)).ready;
  await far.subscribe('near/#', (message) => messages.push(`${message.topic}=${message.text()}`)).ready;
  await until(() => far.metrics().subscriptions === 2 && near.metrics().subscriptions === 2, 'the routes');
  await far.publish('news/today', 'sun', { qos: 1 });
  await near.publish('sensor/1', '21', { qos: 2 });
  await until(() => messages.length === 2, 'both messages');
  assert.deepEqual(messages.sort(), ['far/news/today=sun', 'near/sensor/1=21']);
  // A message that is not acknowledged yet would come again.
  await until(() => bridge.received === 1 && bridge.sent === 1, 'the acknowledgements');

  far.disconnect('bridge');
  for (let n = 0; n < 100; n += 1) await near.publish('sensor/2', String(n), { qos: 1 });
  await until(() => messages.filter((text) => text.startsWith('near/sensor/2')).length >= 100, 'what waited');
  assert.deepEqual(states.slice(0, 2), ['connecting', 'connected']);
  assert.ok(states.includes('waiting'));
  await until(() => bridge.sent >= 101, 'the acknowledgements');
  assert.equal(bridge.received, 1);
  bridge.close();
  assert.equal(bridge.state, 'closed');
  await until(() => near.client('local.bridge') === undefined, 'the end of its session');
});

test('a broker that refuses is told, and tried again', async (t) => {
  const { listener } = await listening(t, { authenticate: () => false });
  const near = started(t);
  const states = [];
  near.bridge({ url: listener.webSocketUrl, backoff: [1, 5], onstate: (state) => states.push(state) });
  await until(() => states.filter(({ state }) => state === 'refused').length >= 2, 'two refusals');
  const { reasonCode, retryIn } = states.find(({ state }) => state === 'refused');
  assert.equal(reasonCode, 0x87);
  assert.ok(retryIn > 0 && retryIn <= 5);
});

test('a broker that cannot be reached is tried again, and left alone when the bridge is closed', async (t) => {
  const { listener } = await listening(t);
  const url = listener.webSocketUrl;
  await listener.close();
  const near = started(t);
  let attempts = 0;
  const bridge = near.bridge({
    url,
    backoff: [1, 5],
    onstate({ state }) {
      attempts += state === 'connecting';
      // In the midst of the next one.
      if (attempts === 4) bridge.close();
    },
  });
  await until(() => bridge.state === 'closed', 'the end of the bridge');
  assert.equal(attempts, 4);
});

test('an address that is none is an error at once', async (t) => {
  const near = started(t);
  assert.throws(() => near.bridge({ url: 'http://localhost/' }), TypeError);
  assert.throws(() => near.bridge({ url: 'ws://localhost', in: [{ filter: 'a/#/b' }] }), /a\/#\/b/);
});

test('a client of the far broker does not notice the bridge', async (t) => {
  const { broker: far, listener } = await listening(t);
  const near = started(t);
  near.bridge({ url: listener.webSocketUrl, in: ['#'], out: ['#'] });
  const client = await connected(t, listener.url, { protocolVersion: 5 });
  await client.subscribeAsync('a');
  await until(() => far.metrics().subscriptions === 2 && near.metrics().subscriptions === 1, 'the routes');
  await near.publish('a', 'once', { qos: 1 });
  assert.equal((await client.inbox.next()).payload, 'once');
  await client.publishAsync('b', 'also once', { qos: 1 });
  await near.publish('a', 'last', { qos: 1 });
  assert.equal((await client.inbox.next()).payload, 'last');
});
