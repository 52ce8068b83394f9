// What the tests share: the package as it was built, and waiting for what should happen.

import { once } from 'node:events';
import { Broker } from 'columba';
import mqtt from 'mqtt';

/** How long anything may take, in milliseconds. */
const PATIENCE = 20_000;

/** A broker that ends with the test, listening on a port of its own. */
export async function listening(test, options) {
  const broker = new Broker(options);
  const listener = await broker.listen({ port: 0 });
  test.after(() => broker.close());
  return { broker, listener };
}

/** A broker that ends with the test. */
export function started(test, options) {
  const broker = new Broker(options);
  test.after(() => broker.close());
  return broker;
}

/** An MQTT.js client that is connected and ends with the test. */
export async function connected(test, url, options) {
  const client = typeof url === 'string' ? mqtt.connect(url, options) : new mqtt.MqttClient(url, options);
  test.after(() => client.endAsync(true));
  client.on('error', () => {});
  // From the start: what waits in a session comes right behind CONNACK.
  client.inbox = inbox(client);
  await within(once(client, 'connect'), 'the client to connect');
  return client;
}

/** What a client gets, one after the other. */
function inbox(client) {
  const waiting = [];
  const takers = [];
  client.on('message', (topic, payload, packet) => {
    const message = { topic, payload: payload.toString(), packet };
    if (takers.length > 0) takers.shift()(message);
    else waiting.push(message);
  });
  const next = () =>
    within(
      waiting.length > 0 ? Promise.resolve(waiting.shift()) : new Promise((resolve) => takers.push(resolve)),
      'a message',
    );
  return { next, waiting };
}

export function within(promise, what) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Waits until `condition` returns something. */
export async function until(condition, what) {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (performance.now() > end) throw new Error(`${what} did not come to be`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
