// What is known of topics: the last value, how many messages, whether one is retained, and the last few messages of each.

const TOPICS = 5000;
const HISTORY = 20;
/** Of one payload in the history; the last value of a topic is kept whole. */
const KEPT = 16 * 1024;
const HISTORY_BYTES = 32 * 1024 * 1024;

class Node {
  children = new Map();
  count = 0;
  /** Of this topic and all below it. */
  total = 0;
  last = null;
  retained = false;
  history = [];
  version = 0;

  constructor(name, parent) {
    this.name = name;
    this.parent = parent;
    this.topic = parent?.parent ? `${parent.topic}/${name}` : name;
  }
}

export class TopicModel {
  #nodes = new Map();
  #historyBytes = 0;
  /** Topics that found no room. */
  refused = 0;
  /** Counts changes of the shape of the tree, so that a view knows whether to lay it out again. */
  shape = 0;

  constructor() {
    this.root = new Node('', null);
  }

  get size() {
    return this.#nodes.size;
  }

  get(topic) {
    return this.#nodes.get(topic);
  }

  /** All topics that had a message, in the order they came. */
  values() {
    return this.#nodes.values();
  }

  /** `published`: the broker's own word, where the retain flag stores or deletes; else a message as a client received it. */
  add(message, published) {
    const node = this.#node(message.topic);
    if (!node) return;
    node.count += 1;
    for (let at = node; at; at = at.parent) at.total += 1;
    if (message.retain) {
      const retained = message.payload.length > 0;
      if (node.retained !== retained) this.shape += 1;
      node.retained = retained || (!published && node.retained);
    }
    this.#remember(node, message);
  }

  /** A message the broker had when the page began. */
  retained(topic, payload, time) {
    const node = this.#node(topic);
    if (!node) return;
    node.retained = true;
    this.#remember(node, { time, topic, payload, qos: 0, retain: true, client: '' });
  }

  /** All that is retained, as the broker has it now: some expire without a word. */
  setRetained(topics) {
    const now = new Set(topics);
    for (const node of this.#nodes.values()) node.retained = now.has(node.topic);
  }

  forgetRetained(topic) {
    const node = this.#nodes.get(topic);
    if (node) node.retained = false;
  }

  clear() {
    this.#nodes.clear();
    this.#historyBytes = 0;
    this.refused = 0;
    this.shape += 1;
    this.root = new Node('', null);
  }

  #remember(node, message) {
    node.version += 1;
    node.last = message;
    const kept = message.payload.length > KEPT ? { ...message, payload: message.payload.slice(0, KEPT), size: message.payload.length } : message;
    node.history.push(kept);
    this.#historyBytes += kept.payload.length;
    if (node.history.length > HISTORY) this.#historyBytes -= node.history.shift().payload.length;
    if (this.#historyBytes > HISTORY_BYTES) this.#trim();
  }

  #trim() {
    this.#historyBytes = 0;
    for (const node of this.#nodes.values()) {
      node.history = node.history.slice(-1);
      for (const { payload } of node.history) this.#historyBytes += payload.length;
    }
  }

  #node(topic) {
    const known = this.#nodes.get(topic);
    if (known) return known;
    if (this.#nodes.size >= TOPICS) {
      this.refused += 1;
      return null;
    }
    let node = this.root;
    for (const level of topic.split('/')) {
      let child = node.children.get(level);
      if (!child) {
        child = new Node(level, node);
        node.children.set(level, child);
      }
      node = child;
    }
    this.#nodes.set(topic, node);
    this.shape += 1;
    return node;
  }
}
