// Sockets, streams, and the end of a process.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import net from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Broker } from 'columba';
import mqtt from 'mqtt';
import { connected, listening, until, within } from './support.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
/** Of version 3.1.1, with the client id "c". */
const CONNECT = Buffer.from('\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c');
const run = (...args) => promisify(execFile)(process.execPath, args, { cwd: here, timeout: 60_000 });

test('the same package for require', async (t) => {
  const commonJs = createRequire(import.meta.url)('columba');
  const broker = new commonJs.Broker();
  t.after(() => broker.close());
  const { url } = await broker.listen({ port: 0 });
  const client = await connected(t, url, {});
  const messages = client.inbox;
  await client.subscribeAsync('a');
  await broker.publish('a', 'from CommonJS');
  assert.equal((await messages.next()).payload, 'from CommonJS');
});

const USES = {
  'a module': ['--input-type=module', "import { Broker } from 'columba'; import mqtt from 'mqtt';"],
  'a script': ['--input-type=commonjs', "const { Broker } = require('columba'); const mqtt = require('mqtt');"],
};
for (const [name, [type, imports]] of Object.entries(USES)) {
  test(`${name} ends when its broker is closed`, async () => {
    const program = `${imports} (async () => {
      const broker = new Broker();
      const { url, webSocketUrl } = await broker.listen({ port: 0 });
      const clients = [url, webSocketUrl].map((address) => mqtt.connect(address, { reconnectPeriod: 0 }));
      await Promise.all(clients.map((client) => new Promise((resolve) => client.on('connect', resolve))));
      const gone = clients.map((client) => new Promise((resolve) => client.on('close', resolve)));
      await broker.close();
      await Promise.all(gone);
      console.log('closed');
    })();`;
    const { stdout } = await run(type, '-e', program);
    assert.equal(stdout, 'closed\n');
  });
}

test('a broker without a port is no reason to go on', async () => {
  const program = "import { Broker } from 'columba'; const b = new Broker(); b.subscribe('a', () => {}); await b.publish('a');";
  await run('--input-type=module', '-e', program);
});

test('a program for aedes needs one other line', async (t) => {
  // `const broker = await Aedes.createBroker()` where this has `new Broker()`.
  const broker = new Broker();
  t.after(() => broker.close());
  const server = net.createServer((stream) => broker.handle(stream));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const client = await connected(t, `mqtt://127.0.0.1:${server.address().port}`, { protocolVersion: 5 });
  const messages = client.inbox;
  await client.subscribeAsync('hello', { qos: 1 });
  await client.publishAsync('hello', 'world', { qos: 1 });
  assert.equal((await messages.next()).payload, 'world');
});

test('a server of your own', async (t) => {
  const broker = new Broker();
  const server = net.createServer();
  t.after(() => broker.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = await broker.listen({ server });
  assert.equal(port, server.address().port);
  await connected(t, `mqtt://127.0.0.1:${port}`, {});
});

test('a stream that ends without DISCONNECT gets its answers, and is ended', async (t) => {
  const { broker, listener } = await listening(t);
  const answers = [];
  const ways = [() => broker.stream(), () => net.connect(listener.port, '127.0.0.1')];
  for (const [open, greeting] of ways.flatMap((open) => [[open, []], [open, [CONNECT]]])) {
    const stream = open();
    const closed = once(stream, 'close');
    stream.on('data', (bytes) => answers.push(bytes.toString('hex')));
    for (const packet of greeting) stream.write(packet);
    stream.end();
    await within(closed, 'the end');
  }
  assert.deepEqual(answers, ['20020000', '20020000']);
  await until(() => broker.metrics().connections === 0, 'the end of all connections');
});

test('a port that is taken is an error, and the broker goes on', async (t) => {
  const { broker, listener } = await listening(t);
  await assert.rejects(broker.listen({ port: listener.port }), { code: 'EADDRINUSE' });
  await broker.publish('a', 'b', { qos: 1 });
});

test('a listener closes, and its broker goes on', async (t) => {
  const { broker, listener } = await listening(t);
  await connected(t, listener.url, { reconnectPeriod: 0 });
  await within(listener.close(), 'the end of the port');
  await assert.rejects(once(net.connect(listener.port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' });
  await broker.publish('a', 'b', { qos: 1 });
});

test('a browser that asks for a page learns what this is', async (t) => {
  const { listener } = await listening(t);
  const response = await fetch(`http://127.0.0.1:${listener.port}/`);
  assert.equal(response.status, 426);
  assert.match(await response.text(), /MQTT broker/);
});

test('a wrong path and a wrong protocol are refused', async (t) => {
  const { default: WebSocket } = await import('ws');
  const { listener } = await listening(t);
  const wrong = new WebSocket(`ws://127.0.0.1:${listener.port}/elsewhere`, 'mqtt');
  const [, response] = await within(once(wrong, 'unexpected-response'), 'the refusal');
  assert.equal(response.statusCode, 404);
  response.destroy();
  const text = new WebSocket(listener.webSocketUrl, 'mqtt');
  await within(once(text, 'open'), 'the opening');
  text.send('MQTT is binary');
  const [code] = await within(once(text, 'close'), 'the end');
  assert.equal(code, 1003);
});

test('an address that is none, in a handshake, disturbs nobody', async (t) => {
  const { broker, listener } = await listening(t);
  for (const target of ['//', '//:', 'http://[', '/%']) {
    const socket = net.connect(listener.port, '127.0.0.1');
    const key = Buffer.from('sixteen bytes ok').toString('base64');
    socket.write(
      `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    const [answer] = await within(once(socket, 'data'), `an answer to ${target}`);
    assert.match(answer.toString(), /^HTTP\/1\.1 404 /);
    socket.destroy();
  }
  await broker.publish('a', 'b', { qos: 1 });
});

test('connections that come and go leave nothing behind', async (t) => {
  const { broker, listener } = await listening(t);
  for (let round = 0; round < 20; round += 1) {
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => mqtt.connectAsync(listener.url, { protocolVersion: 4 })),
    );
    await Promise.all(clients.map((client) => client.subscribeAsync('a')));
    await Promise.all(clients.map((client) => client.endAsync()));
  }
  const gone = new Promise((resolve) => {
    const check = () => (broker.metrics().connections === 0 ? resolve() : setImmediate(check));
    check();
  });
  await within(gone, 'the end of all connections');
  const { sessions, subscriptions, stored } = broker.metrics();
  assert.deepEqual({ sessions, subscriptions, stored }, { sessions: 0, subscriptions: 0, stored: 0 });
});
