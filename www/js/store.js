// What outlives a reload: the broker's snapshot and the world's spec, in IndexedDB, a record for each tab.

const NAME = 'columba-playground';
const TABLE = 'tabs';
const TAB = 'columba-tab';
/** Milliseconds between saves while something happens, at the least; a save that takes long makes it longer. */
const EVERY = 1000;
/** How soon what somebody has set up is saved: a page that goes may not live to see its last save end. */
const SOON = 100;
const SHARE_OF_TIME = 40;
/** Records of closed tabs that are kept. */
const RECORDS = 8;

export class Store {
  #world;
  #database = null;
  #id = '';
  #dirty = false;
  #due = 0;
  #soon;
  /** Counts up with each clear: what began to be saved before does not come back. */
  #age = 0;

  constructor(world) {
    this.#world = world;
  }

  get shortId() {
    return this.#id.slice(0, 4);
  }

  /** Without IndexedDB, as in some private windows, nothing is kept and nothing fails. */
  async open() {
    try {
      this.#database = await request(upgraded(indexedDB.open(NAME, 1)));
      await this.#chooseRecord();
    } catch {
      this.#id ||= newId();
      this.#database = null;
    }
  }

  /** { spec, restore } or null. */
  async read() {
    const record = this.#database && (await request(this.#table('readonly').get(this.#id)));
    if (!record) return null;
    const { spec, snapshot, savedAt, rate } = record;
    // Time that was stopped stays where it was.
    const away = rate === 0 ? 0 : Math.max(0, Date.now() - savedAt);
    return { spec, restore: snapshot ? { snapshot, away, rate } : null };
  }

  /** Saves from now on. */
  watch() {
    for (const kind of ['packet', 'link', 'published', 'client']) this.#world.on(kind, () => (this.#dirty = true));
    for (const kind of ['clients', 'publishers', 'plots', 'time', 'target', 'bridge']) this.#world.on(kind, () => this.#saveSoon());
    setInterval(() => this.#dirty && performance.now() >= this.#due && this.save(), EVERY);
    addEventListener('pagehide', () => this.save());
    document.addEventListener('visibilitychange', () => document.hidden && this.save());
    this.#dirty = true;
  }

  #saveSoon() {
    this.#dirty = true;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      if (performance.now() >= this.#due) this.save();
    }, SOON);
  }

  async save() {
    if (!this.#database) return;
    this.#dirty = false;
    const began = performance.now();
    const age = this.#age;
    try {
      const { broker, clock } = this.#world;
      const record = { id: this.#id, spec: this.#world.spec(), snapshot: broker?.snapshot() ?? null, rate: clock.rate, savedAt: Date.now() };
      this.#due = performance.now() + (performance.now() - began) * SHARE_OF_TIME;
      if (age !== this.#age) return;
      const table = this.#table('readwrite');
      const written = request(table.put(record));
      // A page that is going does not live to see the transaction end by itself.
      table.transaction.commit();
      await written;
    } catch (error) {
      console.warn('The playground was not saved:', error);
      this.#due = performance.now() + 60_000;
    }
  }

  async clear() {
    this.#age += 1;
    this.#dirty = false;
    if (this.#database) await request(this.#table('readwrite').delete(this.#id));
  }

  /** The tab's own record; for a new tab the newest one that no open tab has. */
  async #chooseRecord() {
    this.#id = remembered();
    if (this.#id && (await hold(this.#id))) return;
    // A tab that was duplicated has the id of a tab that is open, and a new tab none.
    const records = await request(this.#table('readonly').getAll());
    records.sort((a, b) => b.savedAt - a.savedAt);
    this.#id = '';
    for (const { id } of records) {
      if (this.#id || !(await hold(id))) continue;
      this.#id = id;
    }
    this.#id ||= newId();
    await hold(this.#id);
    remember(this.#id);
    for (const { id } of records.slice(RECORDS)) if (id !== this.#id) await request(this.#table('readwrite').delete(id));
  }

  #table(mode) {
    return this.#database.transaction(TABLE, mode).objectStore(TABLE);
  }
}

/** True if no other tab has this record; it is ours until the page goes. Where there are no locks, one record is for all. */
function hold(id) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request(`columba-tab-${id}`, { ifAvailable: true }, (lock) => {
      resolve(Boolean(lock));
      return lock && new Promise(() => {});
    }).catch(() => resolve(true));
  });
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function remembered() {
  try {
    return sessionStorage.getItem(TAB) ?? '';
  } catch {
    return '';
  }
}

function remember(id) {
  try {
    sessionStorage.setItem(TAB, id);
  } catch {
    // Then a reload takes the newest record.
  }
}

function upgraded(opening) {
  opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE, { keyPath: 'id' });
  return opening;
}

function request(pending) {
  return new Promise((resolve, reject) => {
    pending.onsuccess = () => resolve(pending.result);
    pending.onerror = () => reject(pending.error);
    pending.onblocked = () => reject(new Error('blocked'));
  });
}
