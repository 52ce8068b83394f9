/**
 * An MQTT 3.1, 3.1.1 and 5.0 broker in a browser tab, a worker or Node. All of it runs where your code runs: there is no
 * server and no native code.
 *
 * ```js
 * import { init, Broker } from 'columba';
 * await init();                                  // not needed in Node
 * const broker = new Broker();
 * broker.subscribe('door/#', (message) => console.log(message.topic, message.text()));
 * broker.publish('door/front', 'open', { retain: true });
 * ```
 */

/** Loads the WebAssembly module; once, before the first broker. In Node it is loaded by the import itself. */
export function init(module?: URL | string | Response | BufferSource | WebAssembly.Module): Promise<void>;

/** Protocol level: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
export type Version = 3 | 4 | 5;
export type QoS = 0 | 1 | 2;
export type Payload = string | Uint8Array | ArrayBuffer | ArrayBufferView;

/** What a broker allows. Everything has a default; sizes are in bytes, times in seconds. */
export interface BrokerOptions {
  limits?: Partial<Limits>;
  /** What happens when a session's queue is full. Default `drop-newest`. */
  fullQueue?: 'drop-newest' | 'drop-oldest' | 'disconnect-consumer' | 'refuse-publisher';
  /** Default 2. */
  maximumQos?: QoS;
  /** Default true. */
  retainAvailable?: boolean;
  /** Default true. */
  wildcardSubscriptions?: boolean;
  /** Default true. */
  subscriptionIds?: boolean;
  /** Default true. */
  sharedSubscriptions?: boolean;
  /** Whether the broker invents a client id for a client that has none. Default true. */
  assignClientIds?: boolean;
  /** Seconds; replaces the keep alive of every MQTT 5 client. */
  serverKeepAlive?: number;
  /** Seconds that a session may outlive its connection at the most. */
  maximumSessionExpiry?: number;
  /** Keep QoS 0 messages too for a client that is away. Default false. */
  queueQos0Offline?: boolean;
  /** The basis for response topics, returned to MQTT 5 clients that ask. */
  responseInformation?: string;
  /** Who may come in. Without it everybody may. It may take its time; nobody else waits. */
  authenticate?: (request: AuthRequest) => Verdict | Promise<Verdict>;
  /** Who may do what. Synchronous, and it must not call the broker. What it throws counts as no. */
  authorize?: (action: Action) => boolean;
  /** `manual`: time moves by `clock.advance` alone. Default `real`. */
  clock?: 'real' | 'manual';
  /** Makes everything that is random repeat itself, client ids included. Default: the system's random source. */
  seed?: number | bigint;
}

export interface Limits {
  connections: number;
  pendingHandshakes: number;
  /** Seconds. */
  connectTimeout: number;
  /** Seconds. */
  closeTimeout: number;
  sessions: number;
  clientIdLength: number;
  packetSize: number;
  controlSize: number;
  connectSize: number;
  receiveMaximum: number;
  inflight: number;
  queuedMessages: number;
  queuedBytes: number;
  /** All messages the broker holds. Default 256 MiB. */
  storedBytes: number;
  subscriptions: number;
  wildcardLevels: number;
  topicLevels: number;
  retainedMessages: number;
  retainedLevels: number;
  /** Default 128 MiB. */
  retainedBytes: number;
  retainedPayload: number;
  topicAliasesIn: number;
  topicAliasesOut: number;
  outputBacklog: number;
}

export interface AuthRequest {
  stage: 'connect' | 'continue' | 're-authenticate';
  /** Empty if the broker is to assign one. */
  clientId: string;
  version: Version;
  username?: string;
  password?: Uint8Array;
  method?: string;
  data?: Uint8Array;
  transport: string;
  address?: string;
}

/** `true`: come in. `false`: not authorised (0x87). `continue`: another round of enhanced authentication. */
export type Verdict =
  | boolean
  | { accept: true; username?: string; data?: Uint8Array }
  | { accept: false; reasonCode?: number; reason?: string }
  | { continue: Uint8Array };

export type Action = { clientId: string; username?: string; transport: string; address?: string } & (
  | { type: 'publish'; topic: string; qos: QoS; retain: boolean }
  | { type: 'subscribe'; filter: string; qos: QoS }
);

/** A broker. It lives until `close`, or until nothing refers to it. */
export class Broker {
  constructor(options?: BrokerOptions);

  /**
   * A broker that goes on where `snapshot` was taken. `away`: milliseconds since then, which count for everything that
   * expires. Throws if the bytes are no snapshot.
   */
  static restore(snapshot: Uint8Array, options?: BrokerOptions, away?: number): Broker;

  /** A new connection, in the shape of a browser's WebSocket. */
  connect(options?: ConnectionOptions): Socket;
  /**
   * A class in the shape of `WebSocket` whose objects connect to this broker if their address is `url` (or any, if none is
   * given), and over the network otherwise. For clients that cannot be handed a socket: `globalThis.WebSocket = …`.
   */
  webSocketClass(url?: string): typeof WebSocket;
  /**
   * A client speaks MQTT over this port, from a frame or a worker: each message is bytes (ArrayBuffer or a view of one), `null`
   * ends the connection. `connectPort` is the other end.
   */
  attach(port: MessagePort, options?: ConnectionOptions): Connection;
  /** Serves other tabs, frames and workers of this origin under a name; `connectShared(name)` is the other end. */
  share(name: string): Share;
  /**
   * Serves the pages that connect to this SharedWorker; call it in the worker, which has to import this package statically, so
   * that no page comes before it. `connectWorker` is the other end.
   */
  serveSharedWorker(): void;

  /** Publishes from within. Resolves with the reason code when the broker has taken the message; at QoS 0 when it is on its way. */
  publish(topic: string, payload?: Payload, options?: PublishOptions): Promise<number>;
  /** Calls `listener` for each message that matches, retained ones first. */
  subscribe(filter: string, listener: (message: Message) => void, options?: SubscribeOptions): Subscription;

  /** All sessions, with or without a connection. */
  clients(): ClientInfo[];
  client(clientId: string): ClientInfo | undefined;
  subscriptions(clientId: string): SubscriptionInfo[];
  /** Retained messages that match, in order of their topics; at most `limit` (default 1,000). */
  retained(filter?: string, limit?: number): RetainedMessage[];
  metrics(): Metrics;

  /** Sends a client away. False if it has no connection. Default reason: 0x98, administrative action. */
  disconnect(clientId: string, reasonCode?: number): boolean;

  /** From now on this happens to packets on all connections, after the faults that were added before. */
  fault(fault: FaultRule): Fault;
  clearFaults(): void;
  /** Cuts the connection without a word to either side. False if the client has none; so with the next three. */
  cut(clientId: string): boolean;
  /** The client notices that the connection is gone, the broker does not. */
  halfOpen(clientId: string): boolean;
  /** From now on everything either side sends is lost. */
  blackhole(clientId: string): boolean;
  /** From now on the client gets so many bytes a second. 0: none. */
  slow(clientId: string, bytesPerSecond: number): boolean;

  readonly clock: Clock;

  /**
   * Calls `listener` for each event of this kind; returns a function that ends that. Kinds that nobody listens to cost
   * nothing.
   */
  on<K extends keyof BrokerEvents>(kind: K, listener: (event: BrokerEvents[K]) => void): () => void;

  /** Sessions, subscriptions, queued and retained messages as bytes, for `restore`. */
  snapshot(): Uint8Array;

  /** Connects this broker with another one over a WebSocket. */
  bridge(options: BridgeOptions): Bridge;

  /** Sends all clients away and ends everything. */
  close(): Promise<void>;
}

export interface ConnectionOptions {
  /** For packet events, until the client has told its id. */
  name?: string;
  /** For hooks. Default `memory`, `port`, `channel`, `tcp`, `websocket`. */
  transport?: string;
  address?: string;
}

/** A connection of the broker's, however it came. */
export interface Connection {
  /** Counts up from 1; packet events name it. */
  readonly number: number;
  /** Ends it without DISCONNECT. */
  close(): void;
}

/** What `Broker.connect` returns: a WebSocket, but for the network. */
export interface Socket extends EventTarget {
  readonly number: number;
  readonly url: string;
  readonly protocol: string;
  readonly extensions: string;
  readonly readyState: 0 | 1 | 2 | 3;
  /** Bytes that the broker has not taken yet. */
  readonly bufferedAmount: number;
  /** Default `arraybuffer`. */
  binaryType: BinaryType;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: Event) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(data: ArrayBuffer | ArrayBufferView | Blob): void;
  close(code?: number, reason?: string): void;
}

/** The other end of `Broker.attach`. */
export function connectPort(port: MessagePort, name?: string): Socket;
/**
 * The other end of `Broker.share`: a connection to the broker of another tab. Needs no `init`. The connection is lost, with a
 * reason, when nobody shares a broker under this name within 2 s, or when the tab that does answers nothing for 30 s.
 */
export function connectShared(name: string): Socket;
/** The other end of `Broker.serveSharedWorker`. */
export function connectWorker(worker: SharedWorker): Socket;

export interface Share {
  readonly name: string;
  close(): void;
}

export interface PublishOptions {
  qos?: QoS;
  retain?: boolean;
  properties?: MessageProperties;
}

export interface SubscribeOptions {
  /** The highest QoS to be delivered with. Default 2. */
  qos?: QoS;
  noLocal?: boolean;
  retainAsPublished?: boolean;
  /** 0: send retained messages; 1: only if the subscription is new; 2: do not. Default 0. */
  retainHandling?: 0 | 1 | 2;
}

export interface Subscription {
  readonly filter: string;
  /** Resolves with the granted QoS, rejects with a `ReasonError`. */
  readonly ready: Promise<QoS>;
  close(): void;
}

export class ReasonError extends Error {
  readonly reasonCode: number;
}

export interface Message {
  topic: string;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  dup: boolean;
  properties: MessageProperties;
  /** The payload as UTF-8. */
  text(): string;
}

export interface MessageProperties {
  payloadFormatIndicator?: boolean;
  /** Seconds. */
  messageExpiryInterval?: number;
  topicAlias?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  userProperties?: Record<string, string | string[]>;
  subscriptionIdentifier?: number | number[];
}

export interface ClientInfo {
  clientId: string;
  /** While it is online. */
  connection?: {
    version: Version;
    username?: string;
    transport: string;
    address?: string;
    /** Seconds; 0: none. */
    keepAlive: number;
  };
  /** Seconds that the session outlives its connection; 0xFFFFFFFF is for ever. */
  sessionExpiry: number;
  /** Milliseconds until the session ends, while the client is away. */
  expiresIn?: number;
  subscriptions: number;
  /** Messages that wait. */
  queued: number;
  /** Messages sent and not acknowledged. */
  inflight: number;
  queuedBytes: number;
  /** QoS 2 messages received and not released. */
  incoming: number;
  hasWill: boolean;
}

export interface SubscriptionInfo {
  filter: string;
  qos: QoS;
  noLocal: boolean;
  retainAsPublished: boolean;
  retainHandling: 0 | 1 | 2;
  subscriptionIdentifier?: number;
}

export interface RetainedMessage {
  topic: string;
  payload: Uint8Array;
}

/** Counters since the start and gauges; the names are those of `Metrics` in the Rust crate. */
export interface Metrics {
  connections: number;
  sessions: number;
  subscriptions: number;
  retained: number;
  retainedBytes: number;
  stored: number;
  storedBytes: number;
  connectionsOpened: number;
  packetsReceived: number;
  packetsSent: number;
  bytesReceived: number;
  bytesSent: number;
  published: number;
  delivered: number;
  dropped: number;
  [counter: string]: number;
}

/** Time as the broker and everything that belongs to it sees it. */
export interface Clock {
  /** Milliseconds since this object was made; after `restore` it counts from 0 again. */
  now(): number;
  /** How fast time goes: 1 real, 10 ten times, 0 stopped. Default 1; with a manual clock 0. */
  rate: number;
  /**
   * Lets time pass; whatever falls due on the way happens at its instant, and clients in this program get the chance to react
   * before the next. Resolves when it has passed.
   */
  advance(milliseconds: number): Promise<void>;
  setTimeout(callback: () => void, milliseconds: number): number;
  clearTimeout(timer: number): void;
}

export interface BrokerEvents {
  /** Every packet, in both directions, at the client's end: also those that a fault keeps from arriving. */
  packet: PacketEvent;
  /** A connection was opened, closed or cut. */
  link: LinkEvent;
  connected: { clientId: string; connection: number; version: Version; sessionPresent: boolean };
  refused: { connection: number; cause: string };
  disconnected: { clientId: string; connection: number; cause: string; sessionKept: boolean };
  sessionended: { clientId: string; expired: boolean };
  subscribed: { clientId: string; filter: string; qos: QoS };
  unsubscribed: { clientId: string; filter: string };
  published: { clientId: string; topic: string; payload: Uint8Array; qos: QoS; retain: boolean };
  delivered: { clientId: string; topic: string; qos: QoS; dup: boolean };
  dropped: { clientId: string; topic: string; qos: QoS; cause: string };
  queuefull: { clientId: string; messages: number; bytes: number };
  storefull: { clientId: string };
  /** A hook of yours threw. */
  error: { error: unknown };
}

export interface PacketEvent {
  /** Milliseconds on the broker's clock. */
  time: number;
  connection: number;
  /** The client id, or the connection's name before it is known. */
  client: string;
  direction: 'to-broker' | 'to-client';
  version: Version;
  /** The whole packet. May be several bytes that are none, if the client sends no MQTT. */
  bytes: Uint8Array;
  /** What a fault did to it. */
  fate?: string;
  /** Decoded when first asked for; undefined if it is malformed. */
  readonly packet: Packet | undefined;
}

export interface LinkEvent {
  time: number;
  connection: number;
  client: string;
  /** `opened`, `closed by the client`, `closed by the broker`, `cut`, … */
  what: string;
}

/** What happens to which packets. */
export interface FaultRule {
  /** Only packets of this kind; default all. */
  packet?: PacketName;
  direction?: 'to-broker' | 'to-client';
  client?: string;
  /** A topic filter, for PUBLISH. */
  topic?: string;
  /** The first, the nth, the first so many, every nth, with probability `p`; default every one. */
  when?: 'once' | { nth: number } | { times: number } | { every: number } | { probability: number };
  /** Milliseconds on the broker's clock, from and to. */
  between?: [number, number];
  action: FaultAction;
}

export type FaultAction =
  | 'lose'
  | 'duplicate'
  /** One bit is wrong. */
  | 'corrupt'
  /** It comes in single bytes. */
  | 'split'
  /** The connection ends for both sides, before the packet or after it. */
  | 'cut'
  | 'cut-after'
  /** The client notices that the connection is gone, the broker does not. */
  | 'half-open'
  /** From here on everything both sides send is lost. */
  | 'blackhole'
  /** It waits for `Fault.release`, and what comes after it on its connection, too. */
  | 'hold'
  /** Milliseconds. */
  | { delay: number }
  /** So many bytes of it arrive. */
  | { truncate: number }
  /** It waits until so many packets have arrived on other connections. */
  | { behind: number }
  /** From here on so many bytes a second; 0: none. */
  | { slow: number }
  /** It does not arrive; its sender gets the answer with this reason code instead. */
  | { answer: number };

export interface Fault {
  readonly hits: number;
  /** It happens to no packet any more; what it holds goes on. */
  remove(): void;
  /** What it holds goes on. */
  release(): void;
}

export interface BridgeOptions {
  /** `ws://` or `wss://`. */
  url: string;
  clientId?: string;
  version?: 4 | 5;
  username?: string;
  password?: string | Uint8Array;
  cleanStart?: boolean;
  /** Seconds. Default 60. */
  keepAlive?: number;
  /** From the other broker into this one. */
  in?: BridgeRoute[];
  /** From this broker into the other one. */
  out?: BridgeRoute[];
  /** Milliseconds before connecting again: the first, doubled each time up to the second. Default [1000, 60000]. */
  backoff?: [number, number];
  onstate?: (state: BridgeState) => void;
}

export interface BridgeRoute {
  filter: string;
  qos?: QoS;
  /** Put in front of the topic at this broker. With `in: [{filter: 'a/#', localPrefix: 'x/'}]`, `a/b` becomes `x/a/b`. */
  localPrefix?: string;
  /** Taken off, or put in front, at the other broker. */
  remotePrefix?: string;
}

export interface BridgeState {
  state: 'connecting' | 'connected' | 'waiting' | 'refused' | 'closed';
  /** Why, for a person. */
  reason?: string;
  reasonCode?: number;
  /** Milliseconds until the next attempt. */
  retryIn?: number;
}

export interface Bridge {
  readonly state: BridgeState['state'];
  readonly received: number;
  readonly sent: number;
  /** Messages that wait for the connection. */
  readonly waiting: number;
  close(): void;
}

export type PacketName =
  | 'CONNECT' | 'CONNACK' | 'PUBLISH' | 'PUBACK' | 'PUBREC' | 'PUBREL' | 'PUBCOMP' | 'SUBSCRIBE' | 'SUBACK'
  | 'UNSUBSCRIBE' | 'UNSUBACK' | 'PINGREQ' | 'PINGRESP' | 'DISCONNECT' | 'AUTH';

/** A packet in the form that mqtt-packet has made common: `cmd` is the name in lower case. */
export interface Packet {
  cmd: Lowercase<PacketName>;
  [field: string]: any;
}

/** Throws with the reason if the bytes are not one whole well-formed packet. */
export function decodePacket(version: Version, bytes: Uint8Array): Packet;
export function encodePacket(version: Version, packet: Packet): Uint8Array;
/** Explains every byte of a packet, well-formed or not. */
export function explainPacket(version: Version, bytes: Uint8Array): Field[];

export interface Field {
  /** Offset of the first byte. */
  start: number;
  /** Offset after the last. */
  end: number;
  /** The bits of the byte, if the field is less than one. */
  mask?: number;
  name: string;
  value: string;
  note: string;
  /** This is where the packet is malformed; `note` says why. */
  isWrong?: boolean;
  /** Parts of it: bits first, then bytes. */
  children: Field[];
}

/** A capture of packets that Wireshark opens. */
export function toPcap(packets: Iterable<Pick<PacketEvent, 'time' | 'connection' | 'direction' | 'bytes'>>): Uint8Array;

/**
 * An MQTT client over any WebSocket, this broker's or a real one, with every option of the protocol; made for the playground
 * and for tests that need to see packets and acknowledgements. It keeps its session over reconnections.
 */
export class Client {
  constructor(options?: ClientOptions);
  /**
   * Speaks over `socket` from now on, beginning with CONNECT when it is open. Resolves with CONNACK; rejects with a `ReasonError`
   * if the broker refuses, and with another error if the connection ends first.
   */
  connect(socket: Socket | WebSocket): Promise<Packet>;
  publish(topic: string, payload?: Payload, options?: PublishOptions): Promise<number>;
  subscribe(filters: SubscribeFilter | SubscribeFilter[], properties?: Record<string, any>): Promise<number[]>;
  unsubscribe(filters: string | string[]): Promise<number[]>;
  /** Acknowledges a message, with `manualAcks`. */
  acknowledge(message: Message & { packetId?: number }, reasonCode?: number): void;
  /** AUTH, for enhanced and re-authentication. */
  authenticate(reasonCode: 0x18 | 0x19, data?: Uint8Array): void;
  /** DISCONNECT and the end of the connection; the session may live on. */
  disconnect(options?: { reasonCode?: number; sessionExpiryInterval?: number; reasonString?: string }): void;
  /** Drops the connection without a word, so that the will is published. */
  drop(): void;
  readonly state: 'offline' | 'connecting' | 'online';
  readonly clientId: string;
  /** Sent and not acknowledged. */
  readonly inflight: number;
  on<K extends keyof ClientEvents>(kind: K, listener: (event: ClientEvents[K]) => void): () => void;
}

export interface ClientEvents {
  connected: Packet;
  /** With the packet or the words that tell why. */
  disconnected: { packet?: Packet; reason: string };
  message: Message & { packetId?: number };
  /** AUTH from the broker. */
  auth: Packet;
}

export interface ClientOptions {
  version?: Version;
  clientId?: string;
  cleanStart?: boolean;
  /** Seconds. Default 60; 0: none. */
  keepAlive?: number;
  username?: string;
  password?: string | Uint8Array;
  will?: { topic: string; payload: Payload; qos?: QoS; retain?: boolean; delay?: number; properties?: MessageProperties };
  /** Properties of CONNECT (MQTT 5): sessionExpiryInterval, receiveMaximum, maximumPacketSize, topicAliasMaximum, … */
  properties?: Record<string, any>;
  /** Messages are acknowledged by `acknowledge` and not before. */
  manualAcks?: boolean;
  /** Whose time keep alive goes by; a broker's `clock`, say. Default the real one. */
  clock?: Pick<Clock, 'setTimeout' | 'clearTimeout' | 'now'>;
}

export interface SubscribeFilter extends SubscribeOptions {
  filter: string;
}
