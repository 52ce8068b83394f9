// The package in a page: clients as others made them, and all the ways to a broker that lives in a browser.

import assert from 'node:assert/strict';

import { stages, until } from './support.mjs';

const check = stages();

for (const protocolVersion of [4, 5]) {
  const label = `MQTT.js ${protocolVersion === 5 ? '5.0' : '3.1.1'}`;

  check(`${label}: messages at each QoS`, async (stage) => {
    const page = await stage.bare();
    const seen = await page.evaluate(async (protocolVersion) => {
      const broker = new Broker();
      const open = () => broker.connect();
      const subscriber = await mqttClient(open, { protocolVersion, clientId: 'subscriber' });
      const publisher = await mqttClient(open, { protocolVersion, clientId: 'publisher' });
      await subscriber.subscribeAsync('room/+/temperature', { qos: 2 });
      const messages = [];
      for (const qos of [0, 1, 2]) {
        await publisher.publishAsync('room/kitchen/temperature', `at ${qos}`, { qos });
        messages.push(await subscriber.inbox.next());
      }
      const versions = broker.clients().map(({ connection }) => connection.version);
      return { messages, versions, more: subscriber.inbox.waiting.length };
    }, protocolVersion);
    const topic = 'room/kitchen/temperature';
    assert.deepEqual(seen.messages, [0, 1, 2].map((qos) => ({ topic, payload: `at ${qos}`, qos, retain: false })));
    assert.deepEqual(seen.versions, [protocolVersion, protocolVersion]);
    assert.equal(seen.more, 0);
  });

  check(`${label}: retained message and will`, async (stage) => {
    const page = await stage.bare();
    const seen = await page.evaluate(async (protocolVersion) => {
      const broker = new Broker();
      const open = () => broker.connect();
      const will = { topic: 'device/state', payload: 'gone', qos: 1, retain: true };
      const device = await mqttClient(open, { protocolVersion, clientId: 'device', will });
      await device.publishAsync('device/state', 'here', { qos: 1, retain: true });
      const watch = await mqttClient(open, { protocolVersion, clientId: 'watch' });
      await watch.subscribeAsync('device/state', { qos: 1 });
      const first = await watch.inbox.next();
      device.stream.destroy();
      const second = await watch.inbox.next();
      const retained = broker.retained().map(({ payload }) => new TextDecoder().decode(payload));
      return { first, second, retained };
    }, protocolVersion);
    assert.deepEqual(seen.first, { topic: 'device/state', payload: 'here', qos: 1, retain: true });
    assert.deepEqual(seen.second, { topic: 'device/state', payload: 'gone', qos: 1, retain: false });
    assert.deepEqual(seen.retained, ['gone']);
  });

  check(`${label}: it notices that the connection is cut, and comes back to its session`, async (stage) => {
    const page = await stage.bare();
    const seen = await page.evaluate(async (protocolVersion) => {
      const broker = new Broker();
      const properties = protocolVersion === 5 ? { sessionExpiryInterval: 60 } : undefined;
      const options = { protocolVersion, clientId: 'sleeper', clean: false, properties };
      const client = await mqttClient(() => broker.connect(), { ...options, reconnectPeriod: 1 });
      await client.subscribeAsync('post', { qos: 1 });
      const back = new Promise((resolve) => client.once('connect', ({ sessionPresent }) => resolve(sessionPresent)));
      const wasOnline = broker.cut('sleeper');
      await broker.publish('post', 'a letter', { qos: 1 });
      return { wasOnline, sessionPresent: await within(back, 'the connection'), message: await client.inbox.next() };
    }, protocolVersion);
    assert.equal(seen.wasOnline, true);
    assert.equal(seen.sessionPresent, true);
    assert.equal(seen.message.payload, 'a letter');
  });
}

check('Paho’s client, which takes whatever is called WebSocket', async (stage) => {
  const page = await stage.bare();
  const seen = await page.evaluate(async () => {
    const broker = new Broker();
    globalThis.WebSocket = broker.webSocketClass('ws://in-tab/mqtt');
    const connected = async (clientId, options) => {
      const client = new Paho.Client('ws://in-tab/mqtt', clientId);
      client.inbox = inbox();
      client.onMessageArrived = ({ destinationName, payloadString, qos, retained }) => {
        client.inbox.push({ topic: destinationName, payload: payloadString, qos, retain: retained });
      };
      await within(new Promise((onSuccess, onFailure) => client.connect({ onSuccess, onFailure, ...options })), 'the connection');
      return client;
    };
    const message = (topic, payload, qos, retained = false) => {
      return Object.assign(new Paho.Message(payload), { destinationName: topic, qos, retained });
    };
    const subscribed = (client, filter) => new Promise((onSuccess) => client.subscribe(filter, { qos: 2, onSuccess }));
    const watch = await connected('watch');
    await subscribed(watch, 'paho/#');
    const device = await connected('device', { willMessage: message('paho/will', 'gone', 1) });
    const messages = [];
    for (const qos of [0, 1, 2]) {
      device.send(message('paho/a', `at ${qos}`, qos));
      messages.push(await watch.inbox.next());
    }
    device.send(message('paho/kept', 'still here', 1, true));
    await watch.inbox.next();
    const late = await connected('late');
    await subscribed(late, 'paho/kept');
    const retained = await late.inbox.next();
    broker.cut('device');
    return { messages, retained, will: await watch.inbox.next(), versions: broker.clients().map(({ connection }) => connection?.version) };
  });
  assert.deepEqual(seen.messages, [0, 1, 2].map((qos) => ({ topic: 'paho/a', payload: `at ${qos}`, qos, retain: false })));
  assert.deepEqual(seen.retained, { topic: 'paho/kept', payload: 'still here', qos: 1, retain: true });
  assert.deepEqual(seen.will, { topic: 'paho/will', payload: 'gone', qos: 1, retain: false });
  assert.ok(seen.versions.includes(4));
});

check('a WebSocket to any other address is a real one', async (stage) => {
  const page = await stage.bare();
  const seen = await page.evaluate(() => {
    const Real = globalThis.WebSocket;
    const WebSocket = new Broker().webSocketClass('ws://in-tab/mqtt');
    const inTab = new WebSocket('ws://in-tab/mqtt', ['mqtt']);
    const address = `${location.origin.replace('http', 'ws')}/elsewhere`;
    const real = new WebSocket(address, ['mqtt']);
    const kinds = [inTab instanceof Real, real instanceof Real, inTab instanceof WebSocket];
    // Before it is refused, which the console would tell.
    real.close();
    return { kinds, constants: [WebSocket.CONNECTING, WebSocket.OPEN, WebSocket.CLOSING, WebSocket.CLOSED], url: real.url === address };
  });
  stage.expect(/elsewhere/);
  assert.deepEqual(seen, { kinds: [false, true, true], constants: [0, 1, 2, 3], url: true });
});

check('a broker in a worker, by ports', async (stage) => {
  const page = await stage.bare();
  const seen = await page.evaluate(async () => {
    const worker = new Worker('worker.js', { type: 'module' });
    const open = () => {
      const { port1, port2 } = new MessageChannel();
      worker.postMessage(port2, [port2]);
      return connectPort(port1, 'page');
    };
    const large = new Uint8Array(1 << 20).map((_, i) => i);
    const own = await playClient(open(), { clientId: 'own' });
    const other = await mqttClient(open, { protocolVersion: 5, clientId: 'other' });
    await other.subscribeAsync('to/other', { qos: 2 });
    await own.subscribe({ filter: 'to/own', qos: 2 });
    const messages = [];
    for (const qos of [0, 1, 2]) {
      await own.publish('to/other', `at ${qos}`, { qos });
      messages.push((await other.inbox.next()).payload);
    }
    await other.publishAsync('to/own', large, { qos: 1 });
    const { payload } = await own.inbox.next();
    const same = payload.length === large.length && payload.every((byte, i) => byte === large[i]);
    const gone = new Promise((resolve) => other.once('close', resolve));
    // The same client id: the one before has to go, and hears why.
    const taken = new Promise((resolve) => other.once('disconnect', ({ reasonCode }) => resolve(reasonCode)));
    await playClient(open(), { clientId: 'other' });
    await within(gone, 'the end');
    return { messages, same, reasonCode: await within(taken, 'DISCONNECT') };
  });
  assert.deepEqual(seen, { messages: ['at 0', 'at 1', 'at 2'], same: true, reasonCode: 0x8e });
});

check('a broker in a SharedWorker, for two pages', async (stage) => {
  const pages = [await stage.bare(), await stage.bare()];
  for (const [i, page] of pages.entries()) {
    await page.evaluate(async (clientId) => {
      const worker = new SharedWorker('shared-worker.js', { type: 'module' });
      globalThis.client = await playClient(connectWorker(worker), { clientId });
      await client.subscribe({ filter: `to/${clientId}`, qos: 2 });
    }, `page-${i}`);
  }
  for (const qos of [0, 1, 2]) {
    await pages[0].evaluate((qos) => client.publish('to/page-1', `at ${qos}`, { qos }), qos);
    const message = await pages[1].evaluate(async () => {
      const { payload, qos } = await client.inbox.next();
      return [new TextDecoder().decode(payload), qos];
    });
    assert.deepEqual(message, [`at ${qos}`, qos]);
  }
  await pages[1].evaluate(() => client.publish('to/page-0', 'and back', { qos: 1 }));
  assert.equal(await pages[0].evaluate(async () => (await client.inbox.next()).text()), 'and back');
});

check('another tab joins by name, with messages of a mebibyte', async (stage) => {
  const [host, guest] = [await stage.bare(), await stage.bare()];
  await host.evaluate(async () => {
    globalThis.broker = new Broker();
    broker.share('hall');
    globalThis.client = await playClient(broker.connect(), { clientId: 'host' });
    await client.subscribe({ filter: 'to/host', qos: 2 });
  });
  const joined = await guest.evaluate(async () => {
    globalThis.client = await playClient(connectShared('hall'), { clientId: 'guest' });
    await client.subscribe({ filter: 'to/guest', qos: 2 });
    return client.state;
  });
  assert.equal(joined, 'online');
  assert.equal(await host.evaluate(() => broker.client('guest').connection.transport), 'channel');
  const send = (page, topic) => page.evaluate(async (topic) => {
    const payload = new Uint8Array(1 << 20).map((_, i) => i * 7);
    for (const qos of [0, 1, 2]) await client.publish(topic, payload, { qos });
  }, topic);
  const receive = (page) => page.evaluate(async () => {
    const seen = [];
    for (let i = 0; i < 3; i += 1) {
      const { payload, qos } = await client.inbox.next();
      seen.push([payload.length, qos, payload.every((byte, i) => byte === ((i * 7) & 255))]);
    }
    return seen;
  });
  const whole = [0, 1, 2].map((qos) => [1 << 20, qos, true]);
  await send(host, 'to/guest');
  assert.deepEqual(await receive(guest), whole);
  await send(guest, 'to/host');
  assert.deepEqual(await receive(host), whole);
});

check('a tab that asks for a broker before another shares it', async (stage) => {
  const [host, guest] = [await stage.bare(), await stage.bare()];
  await guest.evaluate(async () => {
    const asked = new Promise((resolve) => (new BroadcastChannel('columba:hall').onmessage = resolve));
    globalThis.joined = playClient(connectShared('hall'), { clientId: 'guest' });
    await within(asked, 'the question');
  });
  await host.evaluate(() => {
    globalThis.broker = new Broker();
    broker.share('hall');
  });
  assert.equal(await guest.evaluate(async () => (await joined).state), 'online');
});

check('a broker whose tab is busy for longer than a guest waits for one that is not there', async (stage) => {
  const [host, guest] = [await stage.bare(), await stage.bare()];
  await host.evaluate(async () => {
    globalThis.broker = new Broker();
    broker.share('hall');
    await playClient(connectShared('hall'), { clientId: 'host' });
    setTimeout(() => {
      for (const end = performance.now() + 5000; performance.now() < end; );
    });
  });
  const joined = await guest.evaluate(async () => (await playClient(connectShared('hall'), { clientId: 'guest' })).state);
  assert.equal(joined, 'online');
});

check('a guest’s tab that closes ends its connection, and its will is published', async (stage) => {
  const [host, guest] = [await stage.bare(), await stage.bare()];
  await host.evaluate(() => {
    globalThis.broker = new Broker();
    globalThis.heard = [];
    broker.subscribe('wills', (message) => heard.push(message.text()));
    broker.share('hall');
  });
  await guest.evaluate(async () => {
    await playClient(connectShared('hall'), { clientId: 'guest', will: { topic: 'wills', payload: 'guest is gone' } });
  });
  await guest.close({ runBeforeUnload: true });
  await until(host, () => heard.length > 0);
  assert.deepEqual(await host.evaluate(() => heard), ['guest is gone']);
});

check('the host’s tab that closes ends the connections of its guests', async (stage) => {
  const [host, guest] = [await stage.bare(), await stage.bare()];
  await host.evaluate(() => {
    globalThis.broker = new Broker();
    broker.share('hall');
  });
  await guest.evaluate(async () => {
    const socket = connectShared('hall');
    globalThis.ended = new Promise((resolve) => socket.addEventListener('close', () => resolve(true)));
    await playClient(socket, { clientId: 'guest' });
  });
  await host.close({ runBeforeUnload: true });
  assert.equal(await guest.evaluate(() => within(ended, 'the end')), true);
});

check('a name that nobody shares a broker under', async (stage) => {
  const page = await stage.bare();
  const seen = await page.evaluate(async () => {
    const socket = connectShared('nobody');
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    const { wasClean, reason } = await within(closed, 'the end');
    return { wasClean, reason };
  });
  assert.deepEqual(seen, { wasClean: false, reason: 'no tab shares a broker under the name nobody' });
});

const BURSTS = {
  'all at once': { portion: 100_000, qos: 0 },
  'all at once, to MQTT.js': { portion: 100_000, qos: 0, isTheirs: true },
  'at QoS 1': { portion: 1000, qos: 1 },
  'in portions, while the page goes on': { portion: 500, qos: 0, frames: 5 },
};

for (const [name, { portion, qos, isTheirs = false, frames = 1 }] of Object.entries(BURSTS)) {
  check(`a burst of 100,000 messages ${name}`, async (stage) => {
    const page = await stage.bare();
    const seen = await page.evaluate(async ({ total, portion, qos, isTheirs }) => {
      const broker = new Broker();
      let next = 0;
      let outOfOrder = 0;
      let frames = 0;
      let done;
      const all = new Promise((resolve) => (done = resolve));
      const take = (payload) => {
        if (new DataView(payload.buffer, payload.byteOffset).getUint32(0) !== next) outOfOrder += 1;
        next += 1;
        if (next === total) done();
      };
      if (isTheirs) {
        const subscriber = await mqttClient(() => broker.connect(), { protocolVersion: 5 });
        subscriber.removeAllListeners('message').on('message', (_, payload) => take(payload));
        await subscriber.subscribeAsync('burst', { qos });
      } else {
        const subscriber = await playClient(broker.connect(), { clientId: 'subscriber' });
        subscriber.inbox.push = ({ payload }) => take(payload);
        await subscriber.subscribe({ filter: 'burst', qos });
      }
      const publisher = await playClient(broker.connect(), { clientId: 'publisher' });
      const count = () => {
        frames += 1;
        if (next < total) requestAnimationFrame(count);
      };
      requestAnimationFrame(count);
      const payload = new Uint8Array(4);
      const channel = new MessageChannel();
      let sent = 0;
      // Behind what is due in the page, unlike a microtask; and at once, unlike a timer.
      channel.port1.onmessage = async () => {
        let acknowledged;
        for (const end = Math.min(sent + portion, total); sent < end; sent += 1) {
          new DataView(payload.buffer).setUint32(0, sent);
          acknowledged = publisher.publish('burst', payload, { qos });
        }
        await acknowledged;
        if (sent < total) channel.port2.postMessage(null);
      };
      channel.port2.postMessage(null);
      await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 60_000))]);
      const { dropped } = broker.metrics();
      return { received: next, outOfOrder, dropped, frames };
    }, { total: 100_000, portion, qos, isTheirs });
    const { frames: drawn, ...rest } = seen;
    assert.deepEqual(rest, { received: 100_000, outOfOrder: 0, dropped: 0 });
    assert.ok(drawn >= frames, `only ${drawn} frames were drawn meanwhile`);
  });
}
