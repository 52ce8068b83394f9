// Unmodified MQTT.js, at both versions of the protocol that it speaks, over every way into the broker.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connected, listening, until, within } from './support.mjs';

const WAYS = {
  'TCP': ({ listener }) => listener.url,
  'WebSocket': ({ listener }) => listener.webSocketUrl,
  'a duplex stream': ({ broker }) => () => broker.stream(),
};

for (const [name, way] of Object.entries(WAYS)) {
  for (const protocolVersion of [4, 5]) {
    const label = `MQTT.js ${protocolVersion === 5 ? '5.0' : '3.1.1'} over ${name}`;

    test(`${label}: messages at each QoS`, async (t) => {
      const server = await listening(t);
      const subscriber = await connected(t, way(server), { protocolVersion, clientId: 'subscriber' });
      const publisher = await connected(t, way(server), { protocolVersion, clientId: 'publisher' });
      const messages = subscriber.inbox;
      await subscriber.subscribeAsync('room/+/temperature', { qos: 2 });
      for (const qos of [0, 1, 2]) {
        await publisher.publishAsync('room/kitchen/temperature', `at ${qos}`, { qos });
        const { topic, payload, packet } = await messages.next();
        assert.equal(topic, 'room/kitchen/temperature');
        assert.equal(payload, `at ${qos}`);
        assert.equal(packet.qos, qos);
      }
      assert.deepEqual(messages.waiting, []);
    });

    test(`${label}: retained message and will`, async (t) => {
      const server = await listening(t);
      const device = await connected(t, way(server), {
        protocolVersion,
        clientId: 'device',
        reconnectPeriod: 0,
        will: { topic: 'device/state', payload: Buffer.from('gone'), qos: 1, retain: true },
      });
      await device.publishAsync('device/state', 'here', { qos: 1, retain: true });
      const watch = await connected(t, way(server), { protocolVersion, clientId: 'watch' });
      const messages = watch.inbox;
      await watch.subscribeAsync('device/state', { qos: 1 });
      const first = await messages.next();
      assert.deepEqual([first.payload, first.packet.retain], ['here', true]);
      device.stream.destroy();
      const second = await messages.next();
      assert.deepEqual([second.payload, second.packet.retain], ['gone', false]);
    });

    test(`${label}: a session waits for its client`, async (t) => {
      const server = await listening(t);
      const options = {
        protocolVersion,
        clientId: 'sleeper',
        clean: false,
        properties: protocolVersion === 5 ? { sessionExpiryInterval: 60 } : undefined,
      };
      const first = await connected(t, way(server), options);
      await first.subscribeAsync('post', { qos: 1 });
      await first.endAsync();
      await until(() => server.broker.client('sleeper')?.connection === undefined, 'the end of the connection');
      await server.broker.publish('post', 'a letter', { qos: 1 });
      const second = await connected(t, way(server), options);
      assert.equal((await second.inbox.next()).payload, 'a letter');
    });
  }
}

test('a large message in both directions, in one piece', async (t) => {
  const { listener } = await listening(t);
  const client = await connected(t, listener.url, { protocolVersion: 5 });
  await client.subscribeAsync('large', { qos: 1 });
  const payload = Buffer.alloc(4 << 20, 'columba');
  const came = new Promise((resolve) => client.once('message', (_, payload) => resolve(payload)));
  await client.publishAsync('large', payload, { qos: 1 });
  assert.ok((await within(came, 'the message')).equals(payload));
});

test('a subscriber that does not read costs bounded memory, and nobody else anything', async (t) => {
  const { broker, listener } = await listening(t, { limits: { queuedBytes: 1 << 20 } });
  const slow = await connected(t, listener.url, { clientId: 'slow' });
  await slow.subscribeAsync('flood');
  slow.stream.pause();
  const other = await connected(t, listener.url, { clientId: 'other' });
  const messages = other.inbox;
  await other.subscribeAsync('news');
  const payload = 'x'.repeat(1 << 16);
  for (let sent = 0; sent < 500; sent += 1) await broker.publish('flood', payload, { qos: 1 });
  const { queuedBytes } = broker.client('slow');
  assert.ok(queuedBytes <= 1 << 20, `${queuedBytes} bytes wait`);
  assert.ok(broker.metrics().droppedQueueFull > 0);
  await broker.publish('news', 'all well');
  assert.equal((await messages.next()).payload, 'all well');
});
