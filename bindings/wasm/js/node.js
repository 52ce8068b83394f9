// The package for Node: the same broker, with sockets.

import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { Broker as CoreBroker } from './broker.js';
import { initSync } from './columba_wasm.js';

export { Client, ReasonError } from './client.js';
export { decodePacket, encodePacket, explainPacket, toPcap } from './codec.js';
export { connectPort, connectShared, connectWorker } from './ports.js';

const here = typeof __dirname === 'string' ? __dirname : dirname(fileURLToPath(import.meta.url));
initSync({ module: new WebAssembly.Module(readFileSync(join(here, 'columba_wasm_bg.wasm'))) });

/** Input that waits for the broker, in bytes, after which a stream is not read. */
const BACKLOG = 256 << 10;
/** The broker's default limit, which is one for WebSocket messages, too: they are held until they are whole. */
const PACKET_SIZE = 16 << 20;
/** The first byte of an HTTP request that may become a WebSocket: the G of GET. MQTT begins with 0x10. */
const HTTP = 'G'.charCodeAt(0);

/** Everything is loaded when the module is. */
export async function init() {}

export class Broker extends CoreBroker {
  #listeners = new Set();
  #packetSize;

  constructor(options = {}, ...snapshot) {
    super(options, ...snapshot);
    this.#packetSize = options.limits?.packetSize ?? PACKET_SIZE;
  }

  handle(stream, options = {}) {
    return handle(this, stream, options);
  }

  stream(options = {}) {
    const [near, far] = pair();
    this.handle(far, options);
    return near;
  }

  async listen({ port = 1883, host = '127.0.0.1', path = '/mqtt', webSocket = true, server } = {}) {
    const WebSocketServer = webSocket ? await webSocketServer() : undefined;
    const web = webSocket && { path, WebSocketServer, maxPayload: this.#packetSize };
    const listener = new Listener(this, web, () => this.#listeners.delete(listener));
    await listener.start(server, port, host);
    this.#listeners.add(listener);
    return listener;
  }

  async close() {
    // Nobody comes any more, who is here is told, and then the sockets go.
    const stopping = [...this.#listeners].map((listener) => listener.stop());
    await super.close();
    for (const listener of [...this.#listeners]) listener.cut();
    await Promise.all(stopping);
  }
}

class Listener {
  #broker;
  #server;
  #http;
  #path;
  #sockets = new Set();
  #webSockets;
  #onend;
  #address;
  /** Who was accepted before, and begins to speak now, comes too late. */
  #isStopped = false;

  /** `web`: `{ path, WebSocketServer, maxPayload }`, or false for a port that speaks nothing but MQTT. */
  constructor(broker, web, onend) {
    this.#broker = broker;
    this.#onend = onend;
    if (!web) return;
    this.#path = web.path;
    this.#http = createHttpServer((request, response) => {
      response.writeHead(426, { 'content-type': 'text/plain', connection: 'close' });
      response.end('This is an MQTT broker. It takes MQTT over TCP, and over WebSocket with the subprotocol mqtt.\n');
    });
    if (web.WebSocketServer) {
      // A protocol that was not offered must not be chosen.
      const handleProtocols = (offered) => ['mqtt', 'mqttv3.1'].find((known) => offered.has(known)) ?? false;
      this.#webSockets = new web.WebSocketServer({
        noServer: true,
        handleProtocols,
        perMessageDeflate: false,
        maxPayload: web.maxPayload,
      });
    }
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  get address() {
    return this.#address.address;
  }

  get port() {
    return this.#address.port;
  }

  /** For clients that take an address. */
  get url() {
    return `mqtt://${this.#authority()}`;
  }

  get webSocketUrl() {
    return this.#webSockets && `ws://${this.#authority()}${this.#path}`;
  }

  start(server, port, host) {
    // Who ends his side may wait for the answers.
    this.#server = server ?? createServer({ allowHalfOpen: true });
    const accept = (socket) => this.#accept(socket);
    // A TLS server hands out its connections by another event.
    this.#server.on('secureConnection', accept);
    if (!this.#server.addContext) this.#server.on('connection', accept);
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#server.off('error', reject);
        this.#address = this.#server.address();
        resolve();
      };
      this.#server.once('error', reject);
      if (this.#server.listening) done();
      else this.#server.listen({ port, host }, done);
    });
  }

  /** Accepts nobody any more; resolves when all connections are gone. */
  stop() {
    this.#isStopped = true;
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  cut() {
    for (const socket of this.#sockets) socket.destroy();
    this.#http?.close();
    this.#onend();
  }

  async close() {
    const stopped = this.stop();
    this.cut();
    await stopped;
  }

  #authority() {
    const { address, family } = this.#address;
    return `${family === 'IPv6' ? `[${address}]` : address}:${this.port}`;
  }

  #accept(socket) {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setNoDelay?.(true);
    // Who says nothing holds a place for as long as a CONNECT may take.
    const limit = setTimeout(() => socket.destroy(), 10_000);
    limit.unref();
    socket.once('close', () => clearTimeout(limit));
    const leave = () => socket.end();
    socket.once('end', leave);
    socket.once('data', (first) => {
      clearTimeout(limit);
      socket.off('end', leave);
      if (this.#isStopped) return socket.destroy();
      socket.pause();
      socket.unshift(first);
      if (this.#http && first[0] === HTTP) {
        this.#http.emit('connection', socket);
        socket.resume();
      } else {
        const address = `${socket.remoteAddress}:${socket.remotePort}`;
        handle(this.#broker, socket, { transport: 'tcp', address });
      }
    });
  }

  #upgrade(request, socket, head) {
    const refuse = (status, text) => socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\n\r\n${text}\n`);
    // Not by URL, which throws at what a stranger may send.
    const [pathname] = request.url.split('?');
    if (pathname !== this.#path && pathname !== '/') return refuse('404 Not Found', `MQTT is at ${this.#path}`);
    if (!this.#webSockets) {
      return refuse('501 Not Implemented', 'WebSocket needs the package ws: npm install ws');
    }
    if (this.#isStopped) return socket.destroy();
    const address = `${socket.remoteAddress}:${socket.remotePort}`;
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      handleWebSocket(this.#broker, webSocket, { transport: 'websocket', address });
    });
  }
}

function handle(broker, stream, options) {
  const pipe = broker.open(
    {
      data(bytes) {
        if (!stream.write(bytes)) pipe.block(true);
      },
      close(isCut) {
        if (isCut) stream.destroy();
        else stream.end();
      },
      drained: () => stream.resume(),
    },
    { transport: 'stream', ...options },
  );
  stream.on('data', (bytes) => {
    pipe.send(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
    if (pipe.buffered() > BACKLOG) {
      stream.pause();
      pipe.wantDrain();
    }
  });
  stream.on('drain', () => pipe.block(false));
  // Not every stream ends its own side with the other.
  stream.on('end', () => pipe.end());
  for (const end of ['close', 'error']) stream.on(end, () => pipe.close());
  stream.resume();
  return { number: pipe.number, close: () => stream.destroy() };
}

function handleWebSocket(broker, webSocket, options) {
  const pipe = broker.open(
    {
      data(bytes) {
        if (webSocket.bufferedAmount > BACKLOG) pipe.block(true);
        webSocket.send(bytes, () => {
          if (webSocket.bufferedAmount <= BACKLOG) pipe.block(false);
        });
      },
      close: (isCut) => (isCut ? webSocket.terminate() : webSocket.close()),
      drained: () => webSocket.resume(),
    },
    options,
  );
  webSocket.on('message', (data, isBinary) => {
    // [MQTT-6.0.0-1]: MQTT is binary.
    if (!isBinary) {
      pipe.close();
      return webSocket.close(1003);
    }
    pipe.send(data);
    if (pipe.buffered() > BACKLOG) {
      webSocket.pause();
      pipe.wantDrain();
    }
  });
  for (const end of ['close', 'error']) webSocket.on(end, () => pipe.close());
}

async function webSocketServer() {
  try {
    return (await import('ws')).WebSocketServer;
  } catch {
    return undefined;
  }
}

/** Two streams, each of which reads what the other is written, and ends with it; Node's own pair does not do the latter. */
function pair() {
  const ends = [];
  for (const index of [0, 1]) {
    let proceed;
    const end = new Duplex({
      read() {
        proceed?.();
        proceed = undefined;
      },
      write: (chunk, _, done) => ends[1 - index].give(chunk, done),
      final: (done) => ends[1 - index].give(null, done),
      destroy(error, done) {
        const other = ends[1 - index].end;
        if (!other.destroyed) setImmediate(() => other.destroy());
        done(error);
      },
    });
    const give = (chunk, done) => {
      if (end.push(chunk) || chunk === null) done();
      else proceed = done;
    };
    ends.push({ end, give });
  }
  return ends.map(({ end }) => end);
}
