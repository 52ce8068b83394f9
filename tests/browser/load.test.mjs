// The playground under load: ten thousand messages a second, counted and not timed.

import assert from 'node:assert/strict';

import { VIEWS, openView } from './playground.mjs';
import { stages, until } from './support.mjs';

const check = stages();

const RATE = 10_000;
/** Messages for each view that is looked at meanwhile. */
const PORTION = 8_000;
/** What the page keeps at the most, and what it may hold of it. */
const MOST_PACKETS = 20_000;
const MOST_MESSAGES = 5_000;
const MOST_ELEMENTS = 4_000;
/** With hundreds of rows in each of the views that list what there is. */
const MOST_ELEMENTS_OF_MANY = 16_000;
const MEBIBYTE = 1 << 20;
/** By which the heap may grow once everything that is bounded is full. */
const GROWTH = 24 * MEBIBYTE;

/** What the page holds when it has cleaned up. */
async function held(devtools, page) {
  await devtools.send('HeapProfiler.collectGarbage');
  const { usedSize, backingStorageSize = 0 } = await devtools.send('Runtime.getHeapUsage');
  const { nodes } = await devtools.send('Memory.getDOMCounters');
  return { bytes: usedSize + backingStorageSize, nodes, ...(await page.evaluate(() => {
    const { log, messages, topics } = window.columba.world;
    return { packets: log.length, messages: messages.length, topics: topics.size, elements: document.querySelectorAll('*').length };
  })) };
}

check('ten thousand messages a second in every view: it goes on drawing, and keeps no more than it should', async (stage) => {
  const page = await stage.emptyPlayground();
  const devtools = await page.context().newCDPSession(page);
  await page.evaluate(async (rate) => {
    const { world } = window.columba;
    const clients = ['publisher', 'subscriber'].map((name) => world.addClient({ name, options: { version: 5 } }));
    await Promise.all(clients.map((client) => client.connect()));
    await clients[1].subscribe({ filter: 'load/#', qos: 0 });
    const spec = { client: 'publisher', shape: 'random walk', format: 'json', rate: rate / 4 };
    for (let i = 0; i < 4; i += 1) world.publishers.add({ ...spec, topic: `load/${i}` });
    globalThis.frames = 0;
    const count = () => requestAnimationFrame(count, (globalThis.frames += 1));
    count();
  }, RATE);
  const after = (messages) => until(page, (messages) => window.columba.world.client('subscriber').received >= messages, messages);
  // Until all that is bounded is full.
  await after(MOST_PACKETS);
  const full = await held(devtools, page);
  const faults = [];
  for (const name of VIEWS) {
    const before = await page.evaluate(() => ({ frames: globalThis.frames, received: window.columba.world.client('subscriber').received }));
    await openView(page, name);
    await after(before.received + PORTION);
    const frames = (await page.evaluate(() => globalThis.frames)) - before.frames;
    const { elements, packets, messages } = await held(devtools, page);
    if (frames < 5) faults.push(`${name}: ${frames} frames`);
    if (elements > MOST_ELEMENTS) faults.push(`${name}: ${elements} elements`);
    if (packets > MOST_PACKETS) faults.push(`${name}: ${packets} packets`);
    if (messages > MOST_MESSAGES) faults.push(`${name}: ${messages} messages`);
  }
  assert.deepEqual(faults, []);
  const end = await held(devtools, page);
  assert.ok(end.bytes - full.bytes < GROWTH, `it grew by ${((end.bytes - full.bytes) / MEBIBYTE).toFixed(1)} MiB`);
  assert.ok(end.nodes < 5 * MOST_ELEMENTS, `${end.nodes} nodes are kept`);
  const { sent, received, heldBack, dropped } = await page.evaluate(async () => {
    const { world } = window.columba;
    for (const publisher of world.publishers) publisher.stop();
    const [publisher, subscriber] = ['publisher', 'subscriber'].map((name) => world.client(name));
    const counts = () => ({
      sent: publisher.sent,
      received: subscriber.received,
      heldBack: world.publishers.list.reduce((sum, { held }) => sum + held, 0),
      dropped: world.broker.metrics().dropped,
    });
    await publisher.client.publish('load/end', '', { qos: 1 });
    for (let last = -1; last !== subscriber.received; await world.advance(0)) last = subscriber.received;
    return counts();
  });
  assert.deepEqual({ received, heldBack, dropped }, { received: sent + 1, heldBack: 0, dropped: 0 });
});

check('many topics, many clients and large payloads are bounded, too', async (stage) => {
  const page = await stage.emptyPlayground();
  const devtools = await page.context().newCDPSession(page);
  await page.evaluate(async () => {
    const { world } = window.columba;
    const client = world.addClient({ name: 'all', options: { version: 5, properties: { topicAliasMaximum: 10 } } });
    await client.connect();
    await client.subscribe({ filter: '#', qos: 0 });
    for (let i = 0; i < 8000; i += 1) await world.broker.publish(`wide/${i % 100}/${i}`, String(i), { retain: true });
    const large = new Uint8Array(1 << 20).fill(120);
    for (let i = 0; i < 100; i += 1) await world.broker.publish(`large/${i}`, large);
    for (let i = 0; i < 400; i += 1) {
      const socket = world.broker.connect({ name: `visitor ${i}` });
      await new window.columba.Client({ clientId: `visitor ${i}`, cleanStart: false, properties: { sessionExpiryInterval: 60 } }).connect(socket);
    }
  });
  const faults = [];
  for (const name of VIEWS) {
    await openView(page, name);
    await page.evaluate(async () => {
      for (let frames = 0; frames < 10; frames += 1) await new Promise((resolve) => requestAnimationFrame(resolve));
    });
    const { elements, topics, packets } = await held(devtools, page);
    if (elements > MOST_ELEMENTS_OF_MANY) faults.push(`${name}: ${elements} elements`);
    if (topics > 5_000 || packets > MOST_PACKETS) faults.push(`${name}: ${topics} topics, ${packets} packets`);
  }
  assert.deepEqual(faults, []);
  const { bytes } = await held(devtools, page);
  // 32 MiB of packets, 16 of messages, 4 for the client, 32 of topics, 8 for the broker's retained ones, and the page itself.
  assert.ok(bytes < 200 * MEBIBYTE, `${(bytes / MEBIBYTE).toFixed(1)} MiB are kept`);
});
