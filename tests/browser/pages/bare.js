// What functions that tests run in the bare page find there: the package, and clients that keep what they get.

import * as columba from '../columba/columba.js';

const PATIENCE = 15_000;

Object.assign(globalThis, columba, { mqttClient, playClient, inbox, within });
await columba.init();
globalThis.isReady = true;

/** MQTT.js as it is, over sockets that `open` gives; connected. */
async function mqttClient(open, options) {
  const client = globalThis.mqtt.connect('ws://in-tab/mqtt', { reconnectPeriod: 0, ...options, createWebsocket: open });
  client.on('error', () => {});
  client.inbox = inbox();
  client.on('message', (topic, payload, { qos, retain }) => client.inbox.push({ topic, payload: payload.toString(), qos, retain }));
  await within(new Promise((resolve) => client.once('connect', resolve)), 'the connection');
  return client;
}

/** The package's own client, connected over `socket`. */
async function playClient(socket, options) {
  const client = new columba.Client(options);
  client.inbox = inbox();
  client.on('message', (message) => client.inbox.push(message));
  await within(client.connect(socket), 'the connection');
  return client;
}

/** What comes, one after the other. */
function inbox() {
  const waiting = [];
  const takers = [];
  return {
    waiting,
    push: (message) => (takers.length > 0 ? takers.shift()(message) : waiting.push(message)),
    next: () => within(waiting.length > 0 ? Promise.resolve(waiting.shift()) : new Promise((resolve) => takers.push(resolve)), 'a message'),
  };
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
