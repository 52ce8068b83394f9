import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { Broker as CoreBroker, BrokerOptions, Connection, ConnectionOptions } from './columba.js';

export * from './columba.js';

/** The broker, with sockets. */
export class Broker extends CoreBroker {
  static restore(snapshot: Uint8Array, options?: BrokerOptions, away?: number): Broker;

  /**
   * Serves MQTT over TCP and, where the package `ws` is installed, over WebSocket, both on one port. Resolves when clients can
   * connect; rejects if the port is taken.
   */
  listen(options?: ListenOptions): Promise<Listener>;
  /** A client speaks MQTT over this stream. */
  handle(stream: Duplex, options?: ConnectionOptions): Connection;
  /** A stream that is connected to this broker: `new mqtt.MqttClient(() => broker.stream(), options)`. */
  stream(options?: ConnectionOptions): Duplex;
  /** Sends all clients away, closes all ports and lets the process end. */
  close(): Promise<void>;
}

export interface ListenOptions {
  /** Default 1883; 0 takes a free one. */
  port?: number;
  /** Default 127.0.0.1. */
  host?: string;
  /** Where WebSocket is served, beside `/`. Default `/mqtt`. */
  path?: string;
  /** Whether WebSocket is served on the same port. Default true; false leaves a port that speaks nothing but MQTT. */
  webSocket?: boolean;
  /** A server of your own, with TLS for example. */
  server?: Server;
}

export interface Listener {
  readonly port: number;
  readonly address: string;
  /** `mqtt://127.0.0.1:49152` */
  readonly url: string;
  /** `ws://127.0.0.1:49152/mqtt`; undefined without the package `ws`. */
  readonly webSocketUrl?: string;
  /** Closes the port and its connections; the broker goes on. */
  close(): Promise<void>;
}
