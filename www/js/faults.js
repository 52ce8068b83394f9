// Faults that were set by hand, so that they can be shown and taken away again.

export class Faults {
  #world;
  #keys = 0;
  /** { key, label, client, once, ofConnection, hits(), remove() } */
  list = [];

  constructor(world) {
    this.#world = world;
  }

  /** `rule`: a FaultRule. */
  add(label, rule) {
    const fault = this.#world.broker.fault(rule);
    return this.#add({
      label,
      client: rule.client,
      once: rule.when === 'once',
      hits: () => fault.hits,
      remove: () => fault.remove(),
    });
  }

  /** `what`: cut, halfOpen or blackhole. Null if the client has no connection. It ends with the connection, and not before. */
  connection(label, what, client) {
    const { broker } = this.#world;
    if (!broker[what](client)) return null;
    if (what === 'cut') return {};
    return this.#add({ label, client, ofConnection: true, hits: () => 0, remove: () => broker.cut(client) });
  }

  /** What has had its one hit needs no place on the page. */
  prune() {
    this.#keep((fault) => !(fault.once && fault.hits() > 0));
  }

  /** A connection of the client's is gone. */
  ended(client) {
    this.#keep((fault) => !(fault.ofConnection && fault.client === client));
  }

  clear() {
    this.#world.broker?.clearFaults();
    this.#keep(() => false);
  }

  #add({ remove, ...fault }) {
    const entry = {
      key: (this.#keys += 1),
      ...fault,
      remove: () => {
        remove();
        this.#keep((other) => other !== entry);
      },
    };
    this.list.push(entry);
    this.#world.emit('faults');
    return entry;
  }

  #keep(test) {
    const left = this.list.filter(test);
    if (left.length === this.list.length) return;
    this.list = left;
    this.#world.emit('faults');
  }
}
