// The clock of a world whose broker is elsewhere: real time, which nobody can stop.

export class RealClock {
  #start = performance.now();
  adjustable = false;

  now() {
    return performance.now() - this.#start;
  }
  get rate() {
    return 1;
  }
  set rate(_) {}
  async advance() {}
  setTimeout(callback, milliseconds) {
    return setTimeout(callback, milliseconds);
  }
  clearTimeout(timer) {
    clearTimeout(timer);
  }
}
