// Numbers over time: series of chosen topics, each with bounded memory however fast it grows.

import { numberIn, numericFields } from './format.js';

export const MAXIMUM_SERIES = 6;
const POINTS = 2048;
/** Milliseconds; values that are closer share a point. */
const FINE = 40;
/** Topics that are plotted without being asked for. */
const AUTOMATIC = 3;

/**
 * Points { time, low, high, last }. One buffer keeps the newest points as they are, the other the whole time, in which
 * neighbours are merged whenever it is full.
 */
class Series {
  fine = [];
  coarse = [];
  #coarseStep = FINE;
  last = Number.NaN;
  count = 0;

  constructor(key, topic, field, automatic) {
    Object.assign(this, { key, topic, field, automatic });
  }

  get label() {
    return this.field ? `${this.topic} → ${this.field}` : this.topic;
  }

  add(time, value) {
    this.last = value;
    this.count += 1;
    put(this.fine, time, value, FINE);
    if (this.fine.length > 2 * POINTS) this.fine = this.fine.slice(-POINTS);
    put(this.coarse, time, value, this.#coarseStep);
    if (this.coarse.length < POINTS) return;
    this.#coarseStep *= 2;
    this.coarse = merge(this.coarse);
  }

  /** The points since `from`, of the buffer that reaches so far. */
  since(from) {
    const enough = this.fine.length < POINTS || this.fine[0].time <= from;
    const points = enough ? this.fine : this.coarse;
    let start = points.findIndex(({ time }) => time >= from);
    if (start < 0) start = points.length;
    // One more, so that the line comes in from the edge.
    return points.slice(Math.max(0, start - 1));
  }
}

function put(points, time, value, step) {
  const newest = points.at(-1);
  if (newest && time - newest.time < step && time >= newest.time) {
    newest.low = Math.min(newest.low, value);
    newest.high = Math.max(newest.high, value);
    newest.last = value;
  } else {
    points.push({ time, low: value, high: value, last: value });
  }
}

function merge(points) {
  const merged = [];
  for (let i = 0; i < points.length; i += 2) {
    const [a, b = a] = [points[i], points[i + 1]];
    merged.push({ time: a.time, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high), last: b.last });
  }
  return merged;
}

export class PlotModel {
  #world;
  #keys = 0;
  #byTopic = new Map();
  /** False once a person has chosen: from then on nothing is added by itself. */
  #automatic = true;
  series = [];

  constructor(world) {
    this.#world = world;
    world.on('published', (message) => this.#take(message));
  }

  add(topic, field = '') {
    this.#automatic = false;
    this.#add(topic, field, false);
  }

  remove(series) {
    this.#automatic = false;
    this.series = this.series.filter((other) => other !== series);
    this.#index();
  }

  /** Forgets the points. */
  clear() {
    this.series = this.series.map((old) => new Series((this.#keys += 1), old.topic, old.field, old.automatic));
    this.#index();
  }

  spec() {
    return this.series.filter(({ automatic }) => !automatic).map(({ topic, field }) => ({ topic, field }));
  }

  load(list = []) {
    this.series = [];
    this.#automatic = list.length === 0;
    this.#index();
    for (const { topic, field } of list) this.#add(topic, field, false);
  }

  #add(topic, field, automatic) {
    if (this.series.length >= MAXIMUM_SERIES || this.series.some((other) => other.topic === topic && other.field === field)) return;
    const series = new Series((this.#keys += 1), topic, field, automatic);
    this.series.push(series);
    for (const { time, payload } of this.#world.topics.get(topic)?.history ?? []) record(series, time, payload);
    this.#index();
  }

  #index() {
    this.#byTopic = Map.groupBy(this.series, ({ topic }) => topic);
    this.#world.emit('plots');
  }

  #take(message) {
    const listening = this.#byTopic.get(message.topic);
    if (listening) {
      for (const series of listening) record(series, message.time, message.payload);
    } else if (this.#automatic && this.series.length < AUTOMATIC && message.payload.length < 4096) {
      const [field] = numericFields(message.payload);
      if (field !== undefined) this.#add(message.topic, field, true);
    }
  }
}

function record(series, time, payload) {
  const value = numberIn(payload, series.field);
  if (Number.isFinite(value)) series.add(time, value);
}
