// Publishing and subscribing from within the program: clients like any other, but that their connection is not asked who it is.

import { Client, ReasonError } from './client.js';

/** Reason codes from here on say no. */
const FAILURE = 0x80;

export class Local {
  #broker;
  #members = [];

  constructor(broker) {
    this.#broker = broker;
  }

  publish(topic, payload, options) {
    return this.#member(0).client.publish(topic, payload, options);
  }

  subscribe(filter, listener, options) {
    // A client has a filter once; whoever subscribes to it again needs another one, or would take the first one's place.
    const free = this.#members.findIndex((member) => !member.filters.has(filter));
    const member = this.#member(free === -1 ? this.#members.length : free);
    const id = (member.lastId += 1);
    const entry = { id, filter, listener, options };
    member.filters.set(filter, entry);
    member.byId.set(id, entry);
    const forget = () => {
      if (member.filters.get(filter) === entry) member.filters.delete(filter);
      member.byId.delete(id);
    };
    const ready = subscribe(member.client, entry);
    // Whoever does not look at it gets no messages; that is not a failure of the program.
    ready.catch(forget);
    const close = () => {
      if (!member.byId.has(id)) return;
      forget();
      member.client.unsubscribe(filter).catch(() => {});
    };
    return { filter, ready, close };
  }

  #member(index) {
    this.#members[index] ??= this.#create(index);
    return this.#members[index];
  }

  #create(index) {
    const clientId = index === 0 ? 'in-process' : `in-process-${index + 1}`;
    const client = new Client({ version: 5, clientId, cleanStart: true, keepAlive: 0, clock: this.#broker.clock });
    const member = { client, filters: new Map(), byId: new Map(), lastId: 0 };
    client.on('message', (message) => {
      for (const id of [message.properties.subscriptionIdentifier ?? []].flat()) {
        member.byId.get(id)?.listener(message);
      }
    });
    let isFirst = true;
    client.on('connected', () => {
      if (!isFirst) for (const entry of member.filters.values()) subscribe(client, entry).catch(() => {});
      isFirst = false;
    });
    // Somebody sent it away: it comes back, unless the broker is closing.
    client.on('disconnected', () => this.#broker.clock.setTimeout(() => this.#connect(client), 0));
    this.#connect(client);
    return member;
  }

  #connect(client) {
    try {
      client.connect(this.#broker.connect({ name: 'in-process', transport: 'in-process', isTrusted: true }));
    } catch {
      // The broker is closed.
    }
  }
}

async function subscribe(client, { filter, id, options }) {
  const [code] = await client.subscribe({ filter, qos: 2, ...options }, { subscriptionIdentifier: id });
  if (code >= FAILURE) throw new ReasonError(code, filter);
  return code;
}
