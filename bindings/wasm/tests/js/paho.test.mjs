// Paho's JavaScript client, which makes its own sockets: it finds the broker by an address that stands for it.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { started, until, within } from './support.mjs';

test('Paho connects to an address that stands for the broker', async (t) => {
  const broker = started(t);
  const network = globalThis.WebSocket;
  globalThis.WebSocket = broker.webSocketClass('ws://in-tab/mqtt');
  t.after(() => (globalThis.WebSocket = network));
  const { Client, Message } = createRequire(import.meta.url)('paho-mqtt');
  const client = new Client('ws://in-tab/mqtt', 'paho');
  const messages = [];
  client.onMessageArrived = (message) => messages.push(message);
  await within(new Promise((onSuccess, onFailure) => client.connect({ onSuccess, onFailure })), 'CONNACK');
  await within(new Promise((onSuccess) => client.subscribe('a', { qos: 2, onSuccess })), 'SUBACK');
  for (const qos of [0, 1, 2]) {
    const message = new Message(`at ${qos}`);
    message.destinationName = 'a';
    message.qos = qos;
    client.send(message);
  }
  await until(() => messages.length === 3, 'the messages');
  assert.deepEqual(messages.map((message) => [message.payloadString, message.qos]), [['at 0', 0], ['at 1', 1], ['at 2', 2]]);
  client.disconnect();
  await until(() => broker.client('paho') === undefined, 'the end');
});
