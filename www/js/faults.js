// Faults that were set by hand, so that they can be shown and taken away again. Those of a connection end with it.

export class Faults {
  #world;
  #keys = 0;
  /** { key, label, client, remove?, hits() } */
  list = [];

  constructor(world) {
    this.#world = world;
    world.on('link', (event) => {
      if (!/closed|cut/.test(event.what)) return;
      this.#keep((fault) => fault.connection !== event.connection);
    });
  }

  /** `rule`: a FaultRule. */
  add(label, rule) {
    const fault = this.#world.broker.fault(rule);
    const entry = {
      key: (this.#keys += 1),
      label,
      client: rule.client,
      once: rule.when === 'once',
      hits: () => fault.hits,
      remove: () => {
        fault.remove();
        this.#keep((other) => other !== entry);
      },
    };
    this.list.push(entry);
    this.#world.emit('faults');
    return entry;
  }

  /** `what`: cut, halfOpen or blackhole. False if the client has no connection. */
  connection(what, client) {
    return this.#world.broker[what](client);
  }

  /** What has had its one hit needs no place on the page. */
  prune() {
    this.#keep((fault) => !(fault.once && fault.hits() > 0));
  }

  clear() {
    this.#world.broker?.clearFaults();
    if (!this.list.length) return;
    this.list = [];
    this.#world.emit('faults');
  }

  #keep(test) {
    const left = this.list.filter(test);
    if (left.length === this.list.length) return;
    this.list = left;
    this.#world.emit('faults');
  }
}
