// The time of one broker: the real one, faster, stopped, or moved by hand. It owns timers of programs that want to live in the
// broker's time, and never touches MQTT.

/** A task of its own: whatever is due in the page comes first. */
export const later =
  globalThis.setImmediate ??
  (() => {
    const waiting = [];
    const channel = new MessageChannel();
    channel.port1.onmessage = () => waiting.shift()();
    return (callback) => {
      waiting.push(callback);
      channel.port2.postMessage(null);
    };
  })();

/** The longest that setTimeout understands. */
const LONGEST = 2 ** 31 - 1;
/** Instants at which something may happen within one call of `advance`; more means that something does not end. */
const MOST_STEPS = 1_000_000;

export class Clock {
  #base;
  #elapsed = 0;
  #rate;
  #timers = new Map();
  #lastTimer = 0;
  #alarm;
  /** When it rings, on this clock. */
  #alarmAt = Infinity;
  #broker;

  /** `broker`: `{ turn(), deadline(), isBusy() }`. */
  constructor(rate, broker) {
    this.#base = performance.now();
    this.#rate = rate;
    this.#broker = broker;
  }

  now() {
    return this.#elapsed + (performance.now() - this.#base) * this.#rate;
  }

  get rate() {
    return this.#rate;
  }

  set rate(rate) {
    if (!(rate >= 0 && rate < Infinity)) throw new RangeError('rate has to be a number that is not negative');
    this.#rebase();
    this.#rate = rate;
    this.#disarm();
    this.arm();
  }

  async advance(milliseconds) {
    if (!(milliseconds >= 0)) throw new RangeError('time goes forward only');
    const target = this.now() + milliseconds;
    for (let step = 0; ; step += 1) {
      if (step > MOST_STEPS) throw new Error('time does not pass: something is due again and again');
      await this.#settle();
      const next = this.#next();
      if (next === undefined || next > target) break;
      this.#moveTo(next);
      this.fire();
      this.#broker.turn();
    }
    this.#moveTo(target);
    this.fire();
    this.#broker.turn();
    await this.#settle();
    this.arm();
  }

  setTimeout(callback, milliseconds) {
    this.#lastTimer += 1;
    this.#timers.set(this.#lastTimer, { at: this.now() + Math.max(0, milliseconds), callback });
    this.arm();
    return this.#lastTimer;
  }

  clearTimeout(timer) {
    this.#timers.delete(timer);
  }

  /** Calls what is due. */
  fire() {
    if (this.#timers.size === 0) return;
    const now = this.now();
    const due = [...this.#timers].filter(([, timer]) => timer.at <= now).sort(([, a], [, b]) => a.at - b.at);
    for (const [number, timer] of due) {
      // An earlier one may have cleared it.
      if (this.#timers.delete(number)) timer.callback();
    }
  }

  /**
   * Sees to it that the one real timer rings when the next thing is due. One that rings earlier is left alone: to set it costs more
   * than to find nothing to do.
   */
  arm() {
    const next = this.#next();
    if (next === undefined || this.#rate === 0 || next >= this.#alarmAt) return;
    this.#disarm();
    this.#alarmAt = next;
    const delay = Math.max(0, (next - this.now()) / this.#rate);
    this.#alarm = setTimeout(() => this.#ring(), Math.min(Math.ceil(delay), LONGEST));
    // A broker alone is no reason for a Node process to go on.
    this.#alarm?.unref?.();
  }

  stop() {
    this.#disarm();
    this.#timers.clear();
    this.#rate = 0;
  }

  #disarm() {
    clearTimeout(this.#alarm);
    this.#alarm = undefined;
    this.#alarmAt = Infinity;
  }

  #ring() {
    this.#disarm();
    this.fire();
    this.#broker.turn();
    this.arm();
  }

  #next() {
    let next = this.#broker.deadline();
    for (const { at } of this.#timers.values()) {
      if (next === undefined || at < next) next = at;
    }
    return next;
  }

  #moveTo(instant) {
    this.#disarm();
    this.#rebase();
    this.#elapsed = Math.max(this.#elapsed, instant);
  }

  #rebase() {
    this.#elapsed = this.now();
    this.#base = performance.now();
  }

  /** Lets clients in this program react until nobody has anything to say. */
  async #settle() {
    for (let quiet = 0, rounds = 0; quiet < 2 && rounds < 1000; rounds += 1) {
      await new Promise((resolve) => later(resolve));
      quiet = this.#broker.isBusy() ? 0 : quiet + 1;
    }
  }
}
