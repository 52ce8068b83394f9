// How fast the WebAssembly build is in Node: `node bench.mjs [folder of the built package] [rounds]`.
//
// Every figure is the median of some rounds, with the least and the greatest; the kinds take turns within a round, so that
// whatever else the machine does meets all of them. Senders keep a number of messages under way and no more. What a line
// says about the broker includes the client that it names, as both share one thread.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const PAYLOAD = new Uint8Array(64).fill(120);
const WINDOW = 64;
const WARM_UP = 5000;
const SUBSCRIBERS = 10;
/** Without a message for so long, in milliseconds, a measurement has failed. */
const PATIENCE = 5000;

const [folder = 'target/wasm/package', second = '5'] = process.argv.slice(2);
const entry = pathToFileURL(path.resolve(folder, 'node.js'));

if (second === '--start') {
  console.log(await startUp());
} else {
  await main(Number(second));
}
process.exit();

/** Milliseconds from nothing to the first CONNACK. Only the first in a process is one. */
async function startUp() {
  const start = performance.now();
  const { Broker, Client } = await import(entry);
  const broker = new Broker();
  await new Client({ keepAlive: 0 }).connect(broker.connect());
  return performance.now() - start;
}

async function main(rounds) {
  const columba = await import(entry);
  const kinds = kindsOf(columba);
  const found = new Map();
  const note = (name, figure) => found.set(name, [...(found.get(name) ?? []), figure]);
  const self = fileURLToPath(import.meta.url);
  for (let round = 0; round < rounds; round += 1) {
    note('start-up, ms', Number(execFileSync(process.execPath, [self, folder, '--start'], { encoding: 'utf8' })));
    for (const [name, count, kind] of kinds) {
      const broker = new columba.Broker();
      const { send, received, perMessage = 1 } = await kind(broker);
      await run(WARM_UP, send, received);
      note(name, (count * perMessage * 1000) / (await run(count, send, received)));
      await broker.close();
    }
  }
  const width = Math.max(...[...found.keys()].map((name) => name.length));
  console.log(`Node ${process.version}, ${rounds} rounds, ${PAYLOAD.length}-byte payloads; deliveries per second\n`);
  for (const [name, figures] of found) {
    figures.sort((a, b) => a - b);
    const [least, median, greatest] = [figures[0], figures[figures.length >> 1], figures.at(-1)].map(written);
    console.log(`${name.padEnd(width)}  ${median.padStart(9)}  (${least}–${greatest})`);
  }
}

function written(figure) {
  return Math.round(figure).toLocaleString('en');
}

/** Name, messages in a round, and what prepares a broker: how to send one message and how many have come everywhere. */
function kindsOf({ Client, connectPort, encodePacket }) {
  const inMemory = (broker) => broker.connect();
  const overPort = (broker) => {
    const { port1, port2 } = new MessageChannel();
    broker.attach(port1);
    return connectPort(port2);
  };
  /** The package's own client at both ends. */
  const clients = (qos, socketOf, subscribers = 1) => async (broker) => {
    const publisher = new Client({ clientId: 'publisher' });
    await publisher.connect(socketOf(broker));
    const counts = new Array(subscribers).fill(0);
    for (const index of counts.keys()) {
      const subscriber = new Client({ clientId: `subscriber-${index}` });
      await subscriber.connect(socketOf(broker));
      subscriber.on('message', () => (counts[index] += 1));
      await subscriber.subscribe({ filter: 'bench', qos });
    }
    return {
      send: () => void publisher.publish('bench', PAYLOAD, { qos }),
      received: () => Math.min(...counts),
      perMessage: subscribers,
    };
  };
  /** Packets that are ready, and subscribers that count bytes: next to nothing but the broker. */
  const bytes = (socketOf, subscribers = 1) => async (broker) => {
    const packet = encodePacket(4, { cmd: 'publish', topic: 'bench', payload: PAYLOAD, qos: 0, retain: false, dup: false });
    const socketWith = async (clientId) => {
      const socket = socketOf(broker);
      await new Promise((resolve) => (socket.onopen = resolve));
      const answer = new Promise((resolve) => (socket.onmessage = resolve));
      socket.send(encodePacket(4, { cmd: 'connect', protocolVersion: 4, clientId, clean: true, keepalive: 60 }));
      await answer;
      return socket;
    };
    const publisher = await socketWith('publisher');
    const counts = new Array(subscribers).fill(0);
    for (const index of counts.keys()) {
      const socket = await socketWith(`subscriber-${index}`);
      const answer = new Promise((resolve) => (socket.onmessage = resolve));
      socket.send(encodePacket(4, { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'bench', qos: 0 }] }));
      await answer;
      socket.onmessage = ({ data }) => (counts[index] += data.byteLength);
    }
    return {
      send: () => publisher.send(packet),
      received: () => Math.min(...counts) / packet.length,
      perMessage: subscribers,
    };
  };
  /** No client at all. */
  const inProcess = (qos) => async (broker) => {
    let count = 0;
    await broker.subscribe('bench', () => (count += 1), { qos }).ready;
    return { send: () => void broker.publish('bench', PAYLOAD, { qos }), received: () => count };
  };
  return [
    ['1 to 1, QoS 0, bytes', 200_000, bytes(inMemory)],
    [`1 to ${SUBSCRIBERS}, QoS 0, bytes`, 50_000, bytes(inMemory, SUBSCRIBERS)],
    ['1 to 1, QoS 0, bytes over a MessagePort', 50_000, bytes(overPort)],
    ['1 to 1, QoS 0, Client', 50_000, clients(0, inMemory)],
    ['1 to 1, QoS 1, Client', 50_000, clients(1, inMemory)],
    ['1 to 1, QoS 2, Client', 30_000, clients(2, inMemory)],
    [`1 to ${SUBSCRIBERS}, QoS 0, Client`, 10_000, clients(0, inMemory, SUBSCRIBERS)],
    ['1 to 1, QoS 0, Client over a MessagePort', 30_000, clients(0, overPort)],
    ['1 to 1, QoS 1, Client over a MessagePort', 20_000, clients(1, overPort)],
    ['publish and subscribe, QoS 0', 50_000, inProcess(0)],
    ['publish and subscribe, QoS 1', 50_000, inProcess(1)],
    ['publish and subscribe, QoS 2', 30_000, inProcess(2)],
  ];
}

/** Milliseconds until `count` more messages have come. */
async function run(count, send, received) {
  const base = Math.round(received());
  const start = performance.now();
  let last = start;
  let lastGot = 0;
  for (let sent = 0; ; ) {
    const got = Math.round(received()) - base;
    if (got >= count) return performance.now() - start;
    if (got > lastGot) {
      lastGot = got;
      last = performance.now();
    } else if (performance.now() - last > PATIENCE) {
      throw new Error(`${count - got} of ${count} messages have not come`);
    }
    for (; sent < count && sent - got < WINDOW; sent += 1) send();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
