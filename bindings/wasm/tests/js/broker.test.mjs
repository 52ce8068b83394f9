// The broker as a JavaScript program sees it, without a network.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';

import { Broker, Client, ReasonError, connectPort, decodePacket, encodePacket, explainPacket, toPcap } from 'columba';
import { started, until, within } from './support.mjs';

const next = (client, kind) =>
  within(new Promise((resolve) => { const end = client.on(kind, (event) => { end(); resolve(event); }); }), kind);

async function online(broker, options) {
  const client = new Client({ version: 5, ...options });
  await within(client.connect(broker.connect()), 'CONNACK');
  return client;
}

test('publish and subscribe from within', async (t) => {
  const broker = started(t);
  await broker.publish('door/front', 'open', { retain: true, qos: 1 });
  const messages = [];
  const subscription = broker.subscribe('door/#', (message) => messages.push(message));
  assert.equal(await subscription.ready, 2);
  await until(() => messages.length === 1, 'the retained message');
  assert.deepEqual([messages[0].topic, messages[0].text(), messages[0].retain], ['door/front', 'open', true]);
  await broker.publish('door/back', 'shut', { properties: { contentType: 'text/plain', userProperties: { by: 'me' } } });
  await until(() => messages.length === 2, 'the message');
  assert.equal(messages[1].properties.contentType, 'text/plain');
  assert.deepEqual({ ...messages[1].properties.userProperties }, { by: 'me' });
  subscription.close();
  await broker.publish('door/back', 'open');
  await until(() => broker.metrics().subscriptions === 0, 'the end of the subscription');
  assert.equal(messages.length, 2);
});

test('two subscriptions to one filter do not disturb each other', async (t) => {
  const broker = started(t);
  const seen = [[], []];
  const first = broker.subscribe('a', (message) => seen[0].push(message.text()));
  await first.ready;
  await broker.publish('a', '1', { retain: true, qos: 1 });
  await broker.subscribe('a', (message) => seen[1].push(message.text())).ready;
  await broker.publish('a', '2', { qos: 1 });
  await until(() => seen[1].length === 2, 'both');
  assert.deepEqual(seen, [['1', '2'], ['1', '2']]);
});

test('a client of each version, at each QoS, both ways', async (t) => {
  const broker = started(t);
  for (const version of [3, 4, 5]) {
    const client = await online(broker, { version, clientId: `client-${version}` });
    assert.deepEqual(await client.subscribe({ filter: 'echo', qos: 2 }), [2]);
    for (const qos of [0, 1, 2]) {
      const came = next(client, 'message');
      assert.equal(await client.publish('echo', `${version} ${qos}`, { qos }), 0);
      const message = await came;
      assert.deepEqual([message.text(), message.qos], [`${version} ${qos}`, qos]);
    }
    client.disconnect();
  }
});

test('hooks decide who comes in and who may do what', async (t) => {
  const broker = started(t, {
    authenticate: async ({ username, password }) =>
      username === 'ada' && new TextDecoder().decode(password) === 'lovelace'
        ? { accept: true, username: 'ada' }
        : { accept: false, reasonCode: 0x86, reason: 'no such user' },
    authorize: ({ type, topic, username }) => type === 'subscribe' || (username === 'ada' && topic.startsWith('own/')),
  });
  await assert.rejects(online(broker, { username: 'eve', password: 'x' }), (error) => {
    assert.ok(error instanceof ReasonError);
    assert.equal(error.reasonCode, 0x86);
    return true;
  });
  const ada = await online(broker, { username: 'ada', password: 'lovelace' });
  assert.equal(await ada.publish('own/a', '', { qos: 1 }), 0x10);
  await assert.rejects(ada.publish('other/a', '', { qos: 1 }), { reasonCode: 0x87 });
});

test('what a hook throws is reported and counts as no', async (t) => {
  const broker = started(t, {
    authenticate() { throw new Error('the database is down'); },
  });
  const errors = [];
  broker.on('error', ({ error }) => errors.push(error.message));
  await assert.rejects(online(broker, {}), { reasonCode: 0x87 });
  assert.deepEqual(errors, ['the database is down']);
});

test('a hook that calls the broker is told so', async (t) => {
  const errors = [];
  const broker = started(t, { authorize: () => broker.metrics() });
  broker.on('error', ({ error }) => errors.push(error.message));
  const client = await online(broker, {});
  await assert.rejects(client.publish('a', '', { qos: 1 }), { reasonCode: 0x87 });
  await until(() => errors.length > 0, 'the error');
  assert.deepEqual(errors, ['authorize must not call the broker']);
});

test('time that is moved by hand', async (t) => {
  const broker = started(t, { clock: 'manual' });
  const watch = await online(broker, { clientId: 'watch', keepAlive: 0, clock: broker.clock });
  const messages = [];
  watch.on('message', (message) => messages.push(`${message.topic}=${message.text()}`));
  await watch.subscribe('#');
  const device = await online(broker, {
    clientId: 'device',
    clock: broker.clock,
    keepAlive: 60,
    properties: { sessionExpiryInterval: 3600 },
    will: { topic: 'device', payload: 'gone', delay: 30 },
  });
  // With its clock moved too, it pings in time.
  await broker.clock.advance(600_000);
  assert.equal(device.state, 'online');
  device.drop();
  await broker.clock.advance(29_000);
  assert.deepEqual(messages, []);
  await broker.clock.advance(1_000);
  assert.deepEqual(messages, ['device=gone']);
  assert.equal(Math.round(broker.client('device').expiresIn / 1000), 3570);
  await broker.clock.advance(3_570_000);
  assert.equal(broker.client('device'), undefined);
  assert.equal(Math.round(broker.clock.now()), 4_200_000);
});

test('a snapshot brings everything back, and time has gone on', async (t) => {
  const before = new Broker({ clock: 'manual' });
  const sleeper = await online(before, { clientId: 'sleeper', properties: { sessionExpiryInterval: 100 } });
  await sleeper.subscribe({ filter: 'post', qos: 2 });
  sleeper.drop();
  await before.publish('post', 'letter', { qos: 2 });
  await before.publish('state', 'kept', { retain: true, qos: 1 });
  const snapshot = before.snapshot();
  await before.close();

  const after = Broker.restore(snapshot, { clock: 'manual' }, 60_000);
  t.after(() => after.close());
  assert.equal(after.client('sleeper').queued, 1);
  assert.equal(Math.round(after.client('sleeper').expiresIn), 40_000);
  assert.deepEqual(after.retained().map(({ topic }) => topic), ['state']);
  const again = new Client({ version: 5, clientId: 'sleeper', cleanStart: false, properties: { sessionExpiryInterval: 100 } });
  const message = next(again, 'message');
  const { sessionPresent } = await again.connect(after.connect());
  assert.equal(sessionPresent, true);
  assert.equal((await message).text(), 'letter');

  assert.throws(() => Broker.restore(new Uint8Array([1, 2, 3])), /snapshot/);
});

test('packets are told with bytes and meaning, and only while somebody listens', async (t) => {
  const broker = started(t);
  const early = await online(broker, { clientId: 'early' });
  const packets = [];
  const end = broker.on('packet', (packet) => packets.push(packet));
  await early.publish('a', 'hello', { qos: 1 });
  const [publish, ack] = packets;
  assert.deepEqual(
    [publish.client, publish.direction, publish.packet.cmd, publish.packet.topic],
    ['early', 'to-broker', 'publish', 'a'],
  );
  assert.deepEqual([ack.direction, ack.packet.cmd], ['to-client', 'puback']);
  assert.deepEqual(decodePacket(5, encodePacket(5, publish.packet)), publish.packet);
  const fields = explainPacket(5, publish.bytes);
  assert.equal(fields[0].start, 0);
  assert.equal(fields.at(-1).end, publish.bytes.length);
  const capture = toPcap(packets);
  assert.deepEqual([...capture.subarray(0, 4)], [0xd4, 0xc3, 0xb2, 0xa1]);
  end();
  await early.publish('a', 'quiet', { qos: 1 });
  assert.equal(packets.length, 2);
});

test('a fault happens to the packets it is for', async (t) => {
  const broker = started(t);
  const client = await online(broker, { clientId: 'client', cleanStart: false, properties: { sessionExpiryInterval: 60 } });
  const packets = [];
  broker.on('packet', ({ packet, fate }) => packets.push([packet.cmd, fate]));
  const fault = broker.fault({ packet: 'PUBACK', direction: 'to-client', client: 'client', when: 'once', action: 'lose' });
  const published = client.publish('a', 'b', { qos: 1 });
  await until(() => fault.hits === 1, 'the fault');
  assert.deepEqual(packets, [['publish', undefined], ['puback', 'lost']]);
  client.drop();
  await client.connect(broker.connect());
  await published;
  assert.equal(packets.filter(([cmd]) => cmd === 'publish').length, 2);
  assert.throws(() => broker.fault({ action: 'explode' }), /action/);
});

test('messages that the program acknowledges itself', async (t) => {
  const broker = started(t);
  const options = { clientId: 'slow', cleanStart: false, manualAcks: true, properties: { sessionExpiryInterval: 60, receiveMaximum: 1 } };
  const slow = await online(broker, options);
  const messages = [];
  slow.on('message', (message) => messages.push(message));
  await slow.subscribe({ filter: 'job', qos: 1 });
  await broker.publish('job', '1', { qos: 1 });
  await broker.publish('job', '2', { qos: 1 });
  await until(() => messages.length === 1, 'the first');
  assert.equal(broker.client('slow').queued, 1);
  slow.acknowledge(messages[0]);
  await until(() => messages.length === 2, 'the second');
  assert.throws(() => slow.acknowledge(messages[0]), /no such message/);
  // Not acknowledged, it comes again.
  slow.drop();
  await slow.connect(broker.connect());
  await until(() => messages.length === 3, 'the second again');
  assert.deepEqual(messages.map((message) => [message.text(), message.dup]), [['1', false], ['2', false], ['2', true]]);
});

test('a connection that never comes to be is told', async (t) => {
  const broker = started(t);
  const client = new Client({ version: 5 });
  const socket = broker.connect();
  const gone = next(client, 'disconnected');
  const connecting = client.connect(socket);
  socket.close();
  await assert.rejects(connecting, /cannot be reached/);
  await gone;
  assert.equal(client.state, 'offline');
});

test('a connection is cut, half-open, or silent', async (t) => {
  const broker = started(t, { clock: 'manual' });
  const connect = async (clientId) => {
    const client = await online(broker, { clientId, keepAlive: 10, clock: broker.clock });
    return { client, gone: next(client, 'disconnected') };
  };
  const cut = await connect('cut');
  assert.equal(broker.cut('cut'), true);
  await cut.gone;
  assert.equal(broker.cut('nobody'), false);
  const half = await connect('half');
  broker.halfOpen('half');
  await half.gone;
  assert.ok(broker.client('half').connection, 'the broker has not noticed');
  await broker.clock.advance(15_000);
  assert.equal(broker.client('half')?.connection, undefined);
  const silent = await connect('silent');
  broker.blackhole('silent');
  await broker.clock.advance(30_000);
  await silent.gone;
});

test('a client at the other end of a port', async (t) => {
  const broker = started(t);
  const { port1, port2 } = new MessageChannel();
  broker.attach(port1);
  const client = new Client({ version: 5, clientId: 'other side' });
  await within(client.connect(connectPort(port2)), 'CONNACK');
  await client.subscribe('a');
  const message = next(client, 'message');
  await broker.publish('a', 'through a port');
  assert.equal((await message).text(), 'through a port');
  client.disconnect();
  await until(() => broker.client('other side') === undefined, 'the end');
});

test('a client at the other end of a channel that many share', async (t) => {
  const { connectShared } = await import('columba');
  const broker = started(t);
  broker.share('test');
  const clients = await Promise.all(['one', 'two'].map(async (clientId) => {
    const client = new Client({ version: 5, clientId });
    await within(client.connect(connectShared('test')), 'CONNACK');
    return client;
  }));
  await clients[0].subscribe({ filter: 'a', qos: 1 });
  const message = next(clients[0], 'message');
  await clients[1].publish('a', 'x'.repeat(3 << 20), { qos: 1 });
  assert.equal((await message).payload.length, 3 << 20);
  clients.forEach((client) => client.disconnect());
  await until(() => broker.clients().length === 0, 'the end');
});

test('the shape of a WebSocket', async (t) => {
  const broker = started(t);
  const socket = broker.connect();
  const events = [];
  socket.onopen = () => events.push('open');
  socket.addEventListener('close', ({ wasClean, code }) => events.push(`close ${wasClean} ${code}`));
  assert.equal(socket.readyState, 0);
  assert.throws(() => socket.send(new Uint8Array(1)), { name: 'InvalidStateError' });
  await until(() => socket.readyState === 1, 'the opening');
  assert.equal(socket.protocol, 'mqtt');
  assert.throws(() => socket.send('text'), TypeError);
  socket.close();
  assert.equal(socket.readyState, 2);
  await until(() => socket.readyState === 3, 'the end');
  assert.deepEqual(events, ['open', 'close true 1000']);
  await until(() => broker.metrics().connections === 0, 'the end at the broker');

  const rude = broker.connect();
  const closed = new Promise((resolve) => (rude.onclose = resolve));
  rude.onopen = () => rude.send(new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n'));
  await within(closed, 'the end of what is no MQTT');
});

test('Blobs keep their place among what is sent', async (t) => {
  const broker = started(t);
  const socket = broker.connect();
  await until(() => socket.readyState === 1, 'the opening');
  const bytes = encodePacket(4, { cmd: 'connect', clientId: 'blob', protocolVersion: 4, clean: true, keepalive: 0 });
  const came = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(new Uint8Array(data))));
  socket.send(new Blob([bytes.subarray(0, 5)]));
  socket.send(bytes.subarray(5));
  assert.equal(decodePacket(4, await within(came, 'CONNACK')).cmd, 'connack');
});

test('a burst of a hundred thousand messages loses none', async (t) => {
  const broker = started(t);
  const publisher = await online(broker, { clientId: 'publisher' });
  const subscriber = await online(broker, { clientId: 'subscriber' });
  let came = 0;
  subscriber.on('message', () => (came += 1));
  await subscriber.subscribe('burst');
  const sent = [];
  for (let n = 0; n < 100_000; n += 1) sent.push(publisher.publish('burst', `message ${n}`));
  await Promise.all(sent);
  await until(() => came === 100_000, `all messages (${came} came)`);
});

test('twenty thousand acknowledgements at once hold nobody up', async (t) => {
  for (const transport of ['memory', 'port']) {
    const broker = started(t);
    const { port1, port2 } = new MessageChannel();
    if (transport === 'port') broker.attach(port1);
    const socket = transport === 'port' ? connectPort(port2) : broker.connect();
    await until(() => socket.readyState === 1, 'the opening');
    let bytes = 0;
    let last;
    socket.onmessage = ({ data }) => {
      bytes += data.byteLength;
      last = new Uint8Array(data).slice(-2);
    };
    socket.send(encodePacket(4, { cmd: 'connect', clientId: transport, protocolVersion: 4, clean: true, keepalive: 0 }));
    for (let id = 1; id <= 20_000; id += 1) {
      socket.send(encodePacket(4, { cmd: 'publish', topic: 'a', payload: 'b', qos: 1, messageId: id }));
    }
    socket.send(encodePacket(4, { cmd: 'pingreq' }));
    await until(() => bytes === 4 + 20_000 * 4 + 2, `all answers (${bytes} bytes came)`);
    assert.deepEqual([...last], [0xd0, 0]);
    assert.equal(broker.metrics().publishesRefused, 0);
    socket.close();
  }
});

test('a client that sends without end has it wait outside, and in order', async (t) => {
  const broker = started(t);
  const subscriber = await online(broker, { clientId: 'subscriber' });
  const numbers = [];
  subscriber.on('message', (message) => numbers.push(Number(message.text())));
  await subscriber.subscribe('a');
  const socket = broker.connect();
  await until(() => socket.readyState === 1, 'the opening');
  socket.send(encodePacket(4, { cmd: 'connect', clientId: 'sender', protocolVersion: 4, clean: true, keepalive: 0 }));
  for (let n = 0; n < 60_000; n += 1) {
    socket.send(encodePacket(4, { cmd: 'publish', topic: 'a', payload: String(n), qos: 0 }));
  }
  assert.ok(socket.bufferedAmount > 400_000, `${socket.bufferedAmount} bytes wait`);
  // What it sent before it closed counts.
  socket.close();
  await until(() => numbers.length === 60_000, 'all messages');
  assert.ok(numbers.every((number, n) => number === n));
});

test('options that make no sense say so', () => {
  assert.throws(() => new Broker({ maximumQos: 3 }), /maximumQos/);
  assert.throws(() => new Broker({ limits: { inflight: -1 } }), /inflight/);
  assert.throws(() => new Broker({ fullQueue: 'explode' }), /fullQueue/);
});

test('a closed broker has sent its clients away, and says that it is closed', async () => {
  const broker = new Broker();
  const client = await online(broker, { clientId: 'client' });
  const gone = next(client, 'disconnected');
  await broker.close();
  assert.equal((await gone).packet.reasonCode, 0x8b);
  assert.throws(() => broker.connect(), /closed/);
  await broker.close();
});
