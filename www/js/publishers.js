// Scripted publishers: they make traffic by the world's clock, so that stopped time stops them and fast time hurries them.

export const SHAPES = ['interval', 'random walk', 'sine', 'counter'];

export const MAXIMUM_RATE = 10_000;
/** Real milliseconds between batches of a fast publisher. */
const BATCH = 20;
/** Messages on their way with QoS 1 and 2 above which a publisher waits. */
const INFLIGHT = 1000;
/** Ticks of one publisher during `advance`. */
const ADVANCE_TICKS = 200;

export const DEFAULTS = {
  client: '',
  topic: 'demo/value',
  shape: 'sine',
  /** Messages a second. */
  rate: 1,
  qos: 0,
  retain: false,
  /** number | json */
  format: 'number',
  /** The text an interval publisher sends. */
  text: 'tick',
  minimum: 0,
  maximum: 100,
  /** The largest step of the random walk, the step of the counter. */
  step: 1,
  /** Seconds of one wave. */
  period: 60,
  running: true,
};

const encoder = new TextEncoder();

class Publisher {
  #world;
  #timer = null;
  #clock = null;
  #last = 0;
  #owed = 0;
  #stretch = 0;
  count = 0;
  /** Not sent since the client was offline or had too much on its way. */
  held = 0;
  last = '';

  constructor(world, key, spec) {
    this.#world = world;
    this.key = key;
    this.spec = { ...DEFAULTS, ...structuredClone(spec) };
    this.spec.rate = Math.min(MAXIMUM_RATE, Math.max(0.001, Number(this.spec.rate) || 1));
    this.value = this.spec.shape === 'counter' ? this.spec.minimum : (this.spec.minimum + this.spec.maximum) / 2;
  }

  get running() {
    return this.spec.running;
  }

  start() {
    this.spec.running = true;
    this.#begin();
    this.#world.emit('publishers');
  }

  stop() {
    this.spec.running = false;
    this.halt();
    this.#world.emit('publishers');
  }

  /** Ends the timer without a word. */
  halt() {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  resume() {
    if (this.spec.running) this.#begin();
  }

  /** At most one message a tick, and `milliseconds` between ticks; 0: as usual. */
  stretch(milliseconds) {
    this.#stretch = milliseconds;
    if (this.#timer === null) return;
    this.halt();
    this.#schedule();
  }

  #begin() {
    this.halt();
    this.#clock = this.#world.clock;
    this.#last = this.#clock.now();
    // The first message comes at once.
    this.#owed = 1;
    this.#timer = this.#clock.setTimeout(() => this.#tick(), 0);
  }

  #schedule() {
    const interval = 1000 / this.spec.rate;
    const batch = BATCH * (this.#clock.rate || 1);
    const wait = this.#last + Math.max(interval, this.#stretch || batch) - this.#clock.now();
    this.#timer = this.#clock.setTimeout(() => this.#tick(), Math.max(0, wait));
  }

  #tick() {
    this.#timer = null;
    const now = this.#clock.now();
    this.#owed += ((now - this.#last) * this.spec.rate) / 1000;
    this.#last = now;
    // Half a message of tolerance, or a timer that is a hair early would skip one. After a long gap what is owed is forgiven.
    let due = Math.min(Math.floor(this.#owed + 0.5), this.#stretch ? 1 : Math.ceil(this.spec.rate / 4) + 1);
    this.#owed = Math.min(this.#owed - due, 1);
    for (; due > 0; due -= 1) this.#publish(now);
    if (this.spec.running) this.#schedule();
  }

  #publish(now) {
    const { client: name, topic, qos, retain } = this.spec;
    const client = name && this.#world.client(name);
    if (name ? client?.state !== 'online' || client.client.inflight > INFLIGHT : !this.#world.broker) {
      this.held += 1;
      return;
    }
    this.last = this.#next(now);
    this.count += 1;
    const publisher = client || this.#world.broker;
    publisher.publish(topic, encoder.encode(this.last), { qos, retain }).catch(() => (this.held += 1));
  }

  #next(now) {
    const { shape, minimum, maximum, step, period, text, format } = this.spec;
    if (shape === 'interval') return text;
    if (shape === 'counter') {
      this.value = this.count ? this.value + step : minimum;
    } else if (shape === 'sine') {
      this.value = minimum + ((maximum - minimum) * (1 + Math.sin((2 * Math.PI * now) / (period * 1000)))) / 2;
    } else {
      const moved = this.value + (Math.random() * 2 - 1) * step;
      this.value = Math.min(maximum, Math.max(minimum, moved));
    }
    const value = Math.round(this.value * 100) / 100;
    return format === 'json' ? JSON.stringify({ value, n: this.count, t: Math.round(now) }) : String(value);
  }
}

export class Publishers {
  #world;
  #keys = 0;
  list = [];

  constructor(world) {
    this.#world = world;
  }

  [Symbol.iterator]() {
    return this.list[Symbol.iterator]();
  }

  /** `spec`: see DEFAULTS; `client` is a name, empty for the broker itself. */
  add(spec) {
    const publisher = new Publisher(this.#world, `p${(this.#keys += 1)}`, spec);
    this.list.push(publisher);
    publisher.resume();
    this.#world.emit('publishers');
    return publisher;
  }

  edit(publisher, spec) {
    publisher.halt();
    const next = new Publisher(this.#world, publisher.key, { ...publisher.spec, ...spec });
    this.list[this.list.indexOf(publisher)] = next;
    next.resume();
    this.#world.emit('publishers');
  }

  remove(publisher) {
    publisher.halt();
    this.list = this.list.filter((other) => other !== publisher);
    this.#world.emit('publishers');
  }

  clear() {
    for (const publisher of this.list) publisher.halt();
    this.list = [];
  }

  beginAdvance(milliseconds) {
    for (const publisher of this.list) publisher.stretch(milliseconds / ADVANCE_TICKS);
  }

  endAdvance() {
    for (const publisher of this.list) publisher.stretch(0);
  }

  spec() {
    return this.list.map((publisher) => structuredClone(publisher.spec));
  }
}
