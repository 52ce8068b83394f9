// The newest entries of a stream, limited in number and, if told how to weigh them, in bytes.

export class Ring {
  #items;
  #start = 0;
  #length = 0;
  #weigh;
  #bytes = 0;
  #maximumBytes;
  /** How many were ever added. */
  total = 0;

  constructor(capacity, { weigh = null, bytes = Infinity } = {}) {
    this.#items = new Array(capacity);
    this.#weigh = weigh;
    this.#maximumBytes = bytes;
  }

  get length() {
    return this.#length;
  }

  push(item) {
    if (this.#length === this.#items.length) this.#shift();
    this.#items[(this.#start + this.#length) % this.#items.length] = item;
    this.#length += 1;
    this.total += 1;
    if (!this.#weigh) return;
    this.#bytes += this.#weigh(item);
    while (this.#bytes > this.#maximumBytes && this.#length > 1) this.#shift();
  }

  /** 0 is the oldest, -1 the newest. */
  at(index) {
    const i = index < 0 ? this.#length + index : index;
    return i < 0 || i >= this.#length ? undefined : this.#items[(this.#start + i) % this.#items.length];
  }

  /** The newest first, at most `limit` of those that pass `test`. */
  newest(limit = Infinity, test = null) {
    const found = [];
    for (let i = this.#length - 1; i >= 0 && found.length < limit; i -= 1) {
      const item = this.at(i);
      if (!test || test(item)) found.push(item);
    }
    return found;
  }

  clear() {
    this.#items.fill(undefined);
    this.#start = 0;
    this.#length = 0;
    this.#bytes = 0;
  }

  *[Symbol.iterator]() {
    for (let i = 0; i < this.#length; i += 1) yield this.at(i);
  }

  #shift() {
    const item = this.#items[this.#start];
    this.#items[this.#start] = undefined;
    this.#start = (this.#start + 1) % this.#items.length;
    this.#length -= 1;
    if (this.#weigh) this.#bytes -= this.#weigh(item);
  }
}
