// Connections from other tabs, frames and workers: over a MessagePort, or over a BroadcastChannel that many share. Bytes are moved
// here and counted, so that neither side sends without end what the other does not take.

import { Socket, toBytes } from './socket.js';

/** Bytes under way and not acknowledged, after which a sender waits. */
const WINDOW = 1 << 20;
/** Acknowledged in portions of this many bytes. */
const PORTION = WINDOW / 4;
/** There are none in Node before 24, and on pages without HTTPS. */
const locks = globalThis.navigator?.locks;
/** How long a guest waits for a broker that nobody shares yet, in milliseconds. */
const PATIENCE = 2000;
/** How many times as long for the answer of a tab that is there: a busy one, or one that the browser runs in the background. */
const TIMES_FOR_BUSY = 15;

/** Pages that came to this SharedWorker before the broker: a worker hears of each once, as soon as its modules are loaded. */
const early = [];
let welcome = (port) => early.push(port);
if ('onconnect' in globalThis) globalThis.addEventListener('connect', ({ ports }) => welcome(ports[0]));

/** The broker's end of a port. */
export function attachPort(broker, port, options) {
  const post = (message, transfer = []) => port.postMessage(message, transfer);
  const end = brokerEnd(broker, post, () => port.close(), { transport: 'port', ...options });
  port.onmessage = ({ data }) => end.take(data);
  // Node and some browsers tell when the other side is gone.
  port.addEventListener?.('close', () => end.take(null));
  port.start?.();
  return { number: end.number, close: () => end.close() };
}

export function connectPort(port, name = '') {
  return new Socket('mqtt://port/', 'mqtt', (ends) => {
    const end = clientEnd((message, transfer = []) => port.postMessage(message, transfer), ends, () => port.close());
    port.onmessage = ({ data }) => end.take(data);
    port.start?.();
    port.postMessage({ columba: 'open', name });
    queueMicrotask(() => ends.open());
    return end;
  });
}

/** Serves each page that connects to a SharedWorker. */
export function serveSharedWorker(broker) {
  welcome = (port) => attachPort(broker, port, {});
  early.splice(0).forEach(welcome);
}

export function connectWorker(worker) {
  return connectPort(worker.port);
}

/** The broker's end of a channel that other tabs know by name. */
export class Share {
  #channel;
  #ends = new Map();
  #onend;
  #host = unique();
  #leave = () => this.#post({ to: 'all', kind: 'gone' });
  #release;

  constructor(broker, name, onend) {
    this.name = name;
    this.#onend = onend;
    this.#channel = new BroadcastChannel(channelName(name));
    globalThis.addEventListener?.('pagehide', this.#leave);
    const [presence, life] = [hold(presenceOf(name), 'shared'), hold(lifeOf(this.#host))];
    this.#release = () => [presence, life].forEach(({ release }) => release());
    life.held.then(() => {
      if (!this.#channel) return;
      this.#channel.onmessage = ({ data }) => this.#take(broker, data);
      // Who was connected to a broker that this one replaces connects anew; who asked before this one listened asks again.
      this.#post({ to: 'all', kind: 'host' });
    });
  }

  close() {
    if (!this.#channel) return;
    for (const end of this.#ends.values()) end.close();
    this.#ends.clear();
    this.#leave();
    globalThis.removeEventListener?.('pagehide', this.#leave);
    this.#channel.close();
    this.#channel = undefined;
    this.#release();
    this.#onend?.();
  }

  #post(message) {
    this.#channel?.postMessage({ ...message, host: this.#host });
  }

  #take(broker, { to, from, host, kind, name, message }) {
    if (to !== 'host' || typeof from !== 'string') return;
    if (kind === 'open' && !this.#ends.has(from)) {
      const forget = whenGone(lifeOf(from), () => this.#ends.get(from)?.take(null));
      const post = (message) => this.#post({ to: from, kind: 'message', message });
      const stop = () => {
        forget();
        this.#ends.delete(from);
      };
      const end = brokerEnd(broker, post, stop, { transport: 'channel', name });
      this.#ends.set(from, end);
      end.take({ columba: 'open' });
      this.#post({ to: from, kind: 'opened' });
    } else if (kind === 'message' && host === this.#host) {
      this.#ends.get(from)?.take(message);
    }
  }
}

export function connectShared(name) {
  return new Socket(`mqtt://${encodeURIComponent(name)}/`, 'mqtt', (ends) => {
    const self = unique();
    const channel = new BroadcastChannel(channelName(name));
    const life = hold(lifeOf(self));
    let host;
    let waits = 0;
    let forget = () => {};
    let isOver = false;
    const post = (message) => channel.postMessage({ to: 'host', from: self, host, kind: 'message', message });
    const stop = () => {
      isOver = true;
      clearTimeout(timer);
      forget();
      globalThis.removeEventListener?.('pagehide', leave);
      channel.close();
      life.release();
    };
    const lose = (reason) => {
      if (isOver) return;
      stop();
      ends.close(false, reason);
    };
    const end = clientEnd(post, ends, stop);
    const leave = () => end.close();
    const ask = () => {
      if (!isOver) channel.postMessage({ to: 'host', from: self, kind: 'open', name: 'tab' });
    };
    const wait = async () => {
      waits += 1;
      const isShared = await isHeld(presenceOf(name));
      if (isOver || host !== undefined) return;
      if (!isShared) lose(`no tab shares a broker under the name ${name}`);
      else if (waits >= TIMES_FOR_BUSY) lose(`the tab that shares a broker under the name ${name} does not answer`);
      else timer = setTimeout(wait, PATIENCE);
    };
    let timer = setTimeout(wait, PATIENCE);
    channel.onmessage = ({ data }) => {
      if (host === undefined && data.kind === 'host') life.held.then(ask);
      if (host !== undefined && data.kind === 'gone' && data.host === host) lose('the tab with the broker is gone');
      if (host !== undefined && data.kind === 'host' && data.host !== host) lose('the broker was started anew');
      if (data.to !== self || isOver) return;
      if (data.kind === 'opened' && host === undefined) {
        host = data.host;
        clearTimeout(timer);
        forget = whenGone(lifeOf(host), () => lose('the tab with the broker is gone'));
        ends.open();
      } else if (data.kind === 'message' && data.host === host) {
        end.take(data.message);
      }
    };
    globalThis.addEventListener?.('pagehide', leave);
    life.held.then(ask);
    return end;
  });
}

/**
 * A lock that goes with the page, however that ends: whoever waits for it learns of the end. Without locks only a page that
 * ends in good order is missed.
 */
function hold(name, mode = 'exclusive') {
  if (!locks) return { held: Promise.resolve(), release() {} };
  let release;
  const over = new Promise((resolve) => (release = resolve));
  const held = new Promise((resolve) => {
    locks.request(name, { mode }, () => (resolve(), over)).catch(resolve);
  });
  return { held, release };
}

/** Whether somebody holds the lock; where there are no locks, nobody is known to. */
async function isHeld(name) {
  const { held } = (await locks?.query().catch(() => {})) ?? { held: [] };
  return held.some((lock) => lock.name === name);
}

/** Calls back when nobody holds the lock any more; returns what ends the waiting. */
function whenGone(name, callback) {
  if (!locks) return () => {};
  const waiting = new AbortController();
  locks.request(name, { signal: waiting.signal }, () => callback()).catch(() => {});
  return () => waiting.abort();
}

function lifeOf(id) {
  return `columba:life:${id}`;
}

function presenceOf(name) {
  return `columba:share:${name}`;
}

/** What both kinds have in common at the broker's side. */
function brokerEnd(broker, post, stop, options) {
  let isCounting = false;
  let unacknowledged = 0;
  let taken = 0;
  const pipe = broker.open(
    {
      data(bytes) {
        unacknowledged += bytes.length;
        if (isCounting && unacknowledged >= WINDOW) pipe.block(true);
        post(bytes);
      },
      close() {
        post(null);
        stop();
      },
      drained: () => acknowledge(),
    },
    options,
  );
  const acknowledge = () => {
    if (isCounting && taken > 0) post({ columba: 'taken', bytes: taken });
    taken = 0;
  };
  return {
    number: pipe.number,
    take(message) {
      if (message === null) {
        pipe.close();
        stop();
      } else if (message?.columba === 'open') {
        isCounting = true;
      } else if (message?.columba === 'taken') {
        unacknowledged = Math.max(0, unacknowledged - Number(message.bytes));
        if (unacknowledged < WINDOW) pipe.block(false);
      } else {
        const bytes = bytesOrNothing(message);
        if (!bytes) return;
        taken += bytes.length;
        pipe.send(bytes);
        if (taken >= PORTION) pipe.wantDrain();
      }
    },
    close() {
      pipe.close();
      post(null);
      stop();
    },
  };
}

/** What both kinds have in common at the client's side. */
function clientEnd(post, ends, stop) {
  let underWay = 0;
  let taken = 0;
  return {
    number: 0,
    take(message) {
      if (message === null) {
        stop();
        ends.close(true);
      } else if (message?.columba === 'taken') {
        underWay = Math.max(0, underWay - Number(message.bytes));
      } else {
        const bytes = bytesOrNothing(message);
        if (!bytes) return;
        taken += bytes.length;
        if (taken >= PORTION) {
          post({ columba: 'taken', bytes: taken });
          taken = 0;
        }
        ends.message(bytes);
      }
    },
    send(bytes) {
      underWay += bytes.length;
      // A view would bring its whole buffer along.
      post(bytes.slice());
    },
    close() {
      post(null);
      stop();
    },
    buffered: () => (underWay < PORTION ? 0 : underWay),
  };
}

function bytesOrNothing(message) {
  try {
    return toBytes(message);
  } catch {
    return undefined;
  }
}

function channelName(name) {
  return `columba:${name}`;
}

function unique() {
  return crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint32Array(4))].join('-');
}
