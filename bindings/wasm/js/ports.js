// Connections from other tabs, frames and workers: over a MessagePort, or over a BroadcastChannel that many share. Bytes are moved
// here and counted, so that neither side sends without end what the other does not take.

import { Socket, toBytes } from './socket.js';

/** Bytes under way and not acknowledged, after which a sender waits. */
const WINDOW = 1 << 20;
/** Acknowledged in portions of this many bytes. */
const PORTION = WINDOW / 4;
/** How long a broker may take to answer on a channel, in milliseconds. */
const PATIENCE = 2000;

/** The broker's end of a port. */
export function attachPort(broker, port, options) {
  const post = (message, transfer = []) => port.postMessage(message, transfer);
  const end = brokerEnd(broker, post, () => port.close(), { transport: 'port', ...options });
  port.onmessage = ({ data }) => end.take(data);
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
export function serveSharedWorker(broker, scope) {
  scope.onconnect = ({ ports }) => attachPort(broker, ports[0], {});
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

  constructor(broker, name, onend) {
    this.name = name;
    this.#onend = onend;
    this.#channel = new BroadcastChannel(channelName(name));
    this.#channel.onmessage = ({ data }) => this.#take(broker, data);
    // Who was connected to a broker that this one replaces connects anew.
    this.#channel.postMessage({ to: 'all', host: this.#host, kind: 'host' });
  }

  close() {
    for (const end of this.#ends.values()) end.close();
    this.#ends.clear();
    this.#channel.close();
    this.#onend?.();
  }

  #take(broker, { to, from, host, kind, name, message }) {
    if (to !== 'host' || typeof from !== 'string') return;
    if (kind === 'open' && !this.#ends.has(from)) {
      const post = (message) => this.#channel.postMessage({ to: from, host: this.#host, kind: 'message', message });
      const end = brokerEnd(broker, post, () => this.#ends.delete(from), { transport: 'channel', name });
      this.#ends.set(from, end);
      end.take({ columba: 'open' });
      this.#channel.postMessage({ to: from, host: this.#host, kind: 'opened' });
    } else if (kind === 'message' && host === this.#host) {
      this.#ends.get(from)?.take(message);
    }
  }
}

export function connectShared(name) {
  return new Socket(`mqtt://${encodeURIComponent(name)}/`, 'mqtt', (ends) => {
    const self = unique();
    const channel = new BroadcastChannel(channelName(name));
    let host;
    const post = (message) => channel.postMessage({ to: 'host', from: self, host, kind: 'message', message });
    const stop = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.('pagehide', leave);
      channel.close();
    };
    const end = clientEnd(post, ends, stop);
    const leave = () => end.close();
    const timer = setTimeout(() => {
      stop();
      ends.close(false, `no tab shares a broker under the name ${name}`);
    }, PATIENCE);
    channel.onmessage = ({ data }) => {
      if (data.kind === 'host' && host !== undefined && data.host !== host) {
        stop();
        ends.close(false, 'the broker was started anew');
      }
      if (data.to !== self) return;
      if (data.kind === 'opened' && host === undefined) {
        host = data.host;
        clearTimeout(timer);
        ends.open();
      } else if (data.kind === 'message' && data.host === host) {
        end.take(data.message);
      }
    };
    globalThis.addEventListener?.('pagehide', leave);
    channel.postMessage({ to: 'host', from: self, kind: 'open', name: 'tab' });
    return end;
  });
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
