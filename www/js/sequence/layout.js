// Where everything in a sequence diagram goes. Numbers in, numbers out: no page, no colours.

export const BROKER = Symbol('broker');

const ARROW = 38;
const FATE = 14;
const SLOPE = 16;
const MARK = 28;
const GAP = 28;
/** Room for the times at the left, and beside the first and last lane, in a wide page and in a narrow one. */
const WIDE = { time: 64, edge: 40 };
const NARROW = { time: 58, edge: 32 };
/** Silence from here on, in milliseconds, is drawn as a gap of one size. */
const LONG = 1000;
const EXCHANGE_COLOURS = 5;

/**
 * `entries`: of a packet log, in order. `order`: the lanes from left to right, with BROKER among them; others come behind. `laneOf`
 * names the lane of an entry. `narrowest`: room between two lanes at least.
 */
export function layout(entries, { width, order = [], laneOf = (entry) => entry.who, narrowest = 110 }) {
  const room = width < 500 ? NARROW : WIDE;
  const lanes = placeLanes(entries, { width, order, laneOf, narrowest, room });
  const byKey = new Map(lanes.map((lane) => [lane.key, lane]));
  const broker = byKey.get(BROKER);
  const state = new LinkState(entries, laneOf);
  const items = [];
  let y = 4;
  let last;
  const push = (item, height) => {
    items.push({ ...item, top: y, height, index: items.length });
    y += height;
  };
  for (const entry of entries) {
    if (last !== undefined && entry.time - last >= LONG) push({ kind: 'gap', before: state.open(), after: state.open(), milliseconds: entry.time - last }, GAP);
    last = entry.time;
    const lane = byKey.get(laneOf(entry));
    const before = state.open();
    const words = state.take(entry);
    const after = state.open();
    if (entry.isLink) push({ kind: 'mark', entry, lane, before, after, words, isBreak: words !== 'opened' }, MARK);
    else {
      const arrow = arrowOf(entry, lane, broker, state.isGone(entry));
      push({ kind: 'arrow', entry, before, after, ...arrow }, ARROW + (arrow.fate ? FATE : 0) + arrow.slope);
    }
  }
  return { lanes, items, height: y + 12, width: Math.max(width, lanes.at(-1).x + room.edge), left: room.time };
}

/** The broker stands in the middle, unless `order` has a place for it. */
function placeLanes(entries, { width, order, laneOf, narrowest, room: { time, edge } }) {
  const keys = order.filter((key) => key !== BROKER);
  for (const entry of entries) if (!keys.includes(laneOf(entry))) keys.push(laneOf(entry));
  const at = order.includes(BROKER) ? order.indexOf(BROKER) : Math.ceil(keys.length / 2);
  keys.splice(at, 0, BROKER);
  const step = keys.length > 1 ? Math.max(narrowest, (width - time - 2 * edge) / (keys.length - 1)) : 0;
  return keys.map((key, index) => ({
    key,
    index,
    name: key === BROKER ? 'broker' : String(key),
    x: Math.round(time + edge + index * step),
  }));
}

function arrowOf(entry, lane, broker, isGone) {
  const toBroker = entry.direction === 'to-broker';
  // A half-open connection: the broker speaks to someone who has gone.
  const fate = entry.fate ?? (isGone ? 'nobody is there' : '');
  const isLost = isGone || /^lost|^cut before|blackhole|half-open/.test(fate);
  const slope = /delay|held|slow|bytes\/s/.test(fate) ? SLOPE : 0;
  return {
    lane,
    from: toBroker ? lane.x : broker.x,
    to: toBroker ? broker.x : lane.x,
    isLost,
    fate,
    slope,
    exchange: exchangeOf(entry, lane),
  };
}

/** The colour, counted from 0, of a QoS 2 exchange: the same for its four packets. */
function exchangeOf(entry, lane) {
  const { bytes, name } = entry;
  const isPublish = name === 'PUBLISH' && (bytes[0] >> 1 & 3) === 2;
  if (!isPublish && !['PUBREC', 'PUBREL', 'PUBCOMP'].includes(name)) return undefined;
  const id = entry.packet?.messageId;
  if (id === undefined) return undefined;
  const isFromClient = (entry.direction === 'to-broker') === (isPublish || name === 'PUBREL');
  return (id * 2 + (isFromClient ? 0 : 1) + lane.index * 3) % EXCHANGE_COLOURS;
}

/** Which connections are open, as far as the entries tell. */
class LinkState {
  #open = new Map();
  #laneOf;

  constructor(entries, laneOf) {
    this.#laneOf = laneOf;
    // What speaks without having been opened in sight has been open from the start.
    const known = new Set();
    for (const entry of entries) {
      if (known.has(entry.connection)) continue;
      known.add(entry.connection);
      if (entry.what !== 'opened') this.#note(entry);
    }
  }

  #note(entry) {
    this.#open.set(entry.connection, { lane: this.#laneOf(entry), who: entry.who });
  }

  isGone(entry) {
    return !this.#open.has(entry.connection);
  }

  /** The lanes with an open connection. */
  open() {
    return new Set([...this.#open.values()].map(({ lane }) => lane));
  }

  /** What a link event is called: an end that another connection of the same client brings about is a takeover. */
  take(entry) {
    if (!entry.isLink) return '';
    const { connection, what, who } = entry;
    if (what === 'opened') {
      this.#note(entry);
      return what;
    }
    if (/^(closed|cut)/.test(what)) this.#open.delete(connection);
    const isTakeover = what === 'closed by the broker' && [...this.#open].some(([other, open]) => open.who === who && other > connection);
    return isTakeover ? 'closed by the broker: taken over' : what;
  }
}
