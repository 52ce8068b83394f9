// Events without DOM ceremony: on(kind, fn) returns what ends it. A listener that throws does not silence the others.

export class Emitter {
  #listeners = new Map();

  on(kind, fn) {
    if (!this.#listeners.has(kind)) this.#listeners.set(kind, new Set());
    this.#listeners.get(kind).add(fn);
    return () => this.#listeners.get(kind).delete(fn);
  }

  emit(kind, event) {
    const listeners = this.#listeners.get(kind);
    if (!listeners) return;
    for (const fn of listeners) {
      try {
        fn(event);
      } catch (error) {
        reportError(error);
      }
    }
  }
}
