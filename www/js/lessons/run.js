// A lesson at work: a broker of its own with a clock that only the lesson moves, real clients, and all their packets. It leaves
// nothing behind. It knows nothing of the page.

import { Broker, Client, encodePacket } from '../../columba/columba.js';
import { PacketLog } from '../log.js';

/** Real milliseconds that a step may take. */
const PATIENCE = 10_000;
/** Rounds without a packet after which nothing more is under way. */
const QUIET = 3;
/** Between steps, so that the diagram has a gap there. */
const BETWEEN = 1000;

export class LessonFailure extends Error {
  name = 'LessonFailure';
}

/** What `run` and `check` of a step get. */
class Context {
  #begin = 0;
  #off;

  constructor() {
    this.broker = new Broker({ clock: 'manual', seed: 1 });
    this.log = new PacketLog({ entries: 2000, bytes: 4 * 1024 * 1024 });
    /** Received messages of each client, by its name in the lesson. */
    this.messages = {};
    this.clients = {};
    /** Connection number → the name in the lesson: two clients may share a client id. */
    this.names = new Map();
    this.#off = [
      this.broker.on('packet', (event) => this.log.add(event)),
      this.broker.on('link', (event) => this.log.add(event)),
    ];
  }

  get clock() {
    return this.broker.clock;
  }

  /** A client that is not connected yet. No keep alive: pings would only be in the way. */
  client(name, options = {}) {
    const client = new Client({ clientId: name, keepAlive: 0, ...options, clock: this.clock });
    this.messages[name] ??= [];
    client.on('message', (message) => this.messages[name].push(message));
    this.clients[name] = client;
    return client;
  }

  /** Connects a client by its name; resolves with CONNACK. */
  async connect(name) {
    const socket = this.broker.connect({ name });
    this.names.set(socket.number, name);
    const connack = await this.clients[name].connect(socket);
    await this.settle();
    return connack;
  }

  /** A connection that sends these packets and listens to nothing. */
  raw(name, packets) {
    const socket = this.broker.connect({ name });
    this.names.set(socket.number, name);
    socket.onopen = () => {
      for (const packet of packets) socket.send(encodePacket(5, packet));
    };
  }

  /** For clients that need no options of their own. */
  async join(...names) {
    for (const name of names) {
      this.client(name);
      await this.connect(name);
    }
  }

  /** Waits until nothing is under way any more, without time going on. */
  async settle() {
    let [quiet, last] = [0, -1];
    while (quiet < QUIET) {
      await this.clock.advance(0);
      await new Promise((resolve) => setTimeout(resolve));
      quiet = this.log.next === last ? quiet + 1 : 0;
      last = this.log.next;
    }
  }

  /** Lets so many seconds pass. */
  async wait(seconds) {
    await this.clock.advance(seconds * 1000);
    await this.settle();
  }

  beginStep() {
    this.#begin = this.log.next;
  }

  /**
   * The packets of this step, oldest first, that match: `name`, `client` (in the lesson), `way` (`in`: to the broker, `out`), and
   * `where`, a test of the packet. Each is an entry of the log.
   */
  packets({ name, client, way, where } = {}) {
    return this.log.slice(this.#begin).filter((entry) =>
      !entry.isLink
      && (!name || entry.name === name)
      && (!client || this.names.get(entry.connection) === client)
      && (!way || (way === 'in') === (entry.direction === 'to-broker'))
      && (!where || where(entry.packet, entry)));
  }

  /** The one packet that matches; it is an error if there is none or another. */
  one(query) {
    const found = this.packets(query);
    this.expect(found.length === 1, `one ${spell(query)}, not ${found.length}`);
    return found[0].packet;
  }

  none(query) {
    this.expect(this.packets(query).length === 0, `no ${spell(query)}`);
  }

  expect(holds, words) {
    if (!holds) throw new LessonFailure(`Expected ${words}.`);
  }

  /** Payloads that a client has received since the lesson began, as text. */
  texts(name) {
    return this.messages[name].map((message) => message.text());
  }

  expectTexts(name, texts) {
    const got = this.texts(name);
    this.expect(got.join('|') === texts.join('|'), `${name} to have received ${texts.join(', ') || 'nothing'}, not ${got.join(', ') || 'nothing'}`);
  }

  async close() {
    for (const off of this.#off) off();
    for (const client of Object.values(this.clients)) if (client.state !== 'offline') client.disconnect();
    await this.broker.close();
  }
}

function spell({ name = 'packet', client, way }) {
  return [name, client && `${way === 'out' ? 'to' : way === 'in' ? 'from' : 'of'} ${client}`].filter(Boolean).join(' ');
}

/** A lesson from its first step to its last. */
export class LessonRun {
  constructor(lesson) {
    this.lesson = lesson;
    this.context = new Context();
    this.done = 0;
    /** What was seen, step by step. */
    this.seen = [];
    this.error = undefined;
  }

  get log() {
    return this.context.log;
  }

  get isOver() {
    return this.done === this.lesson.steps.length || this.error !== undefined;
  }

  /** One step. Resolves with whether it went as it should. */
  async next() {
    const { context: c } = this;
    const step = this.lesson.steps[this.done];
    try {
      if (this.done) await c.clock.advance(BETWEEN);
      c.beginStep();
      await within(PATIENCE, step.run(c));
      await c.settle();
      this.seen.push(step.check(c) ?? '');
      this.done += 1;
      return true;
    } catch (error) {
      this.error = error;
      console.error(`Lesson ${this.lesson.id}, step ${this.done + 1}:`, error);
      return false;
    }
  }

  close() {
    return this.context.close().catch(() => {});
  }
}

/** A lesson from end to end: { id, ok, error }. */
export async function runLesson(lesson) {
  const run = new LessonRun(lesson);
  while (!run.isOver) await run.next();
  await run.close();
  const error = run.error === undefined ? undefined : String(run.error.message ?? run.error);
  return { id: lesson.id, ok: error === undefined, error };
}

function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new LessonFailure(`The step took more than ${milliseconds / 1000} seconds.`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
