// The packet log with its filters, and the inspector of the packet that is chosen.

import { toPcap } from '../../columba/columba.js';
import { announce, checkbox, field, h, later, select, setText } from '../dom.js';
import { asText, exactTime, hex, size } from '../describe.js';
import { download, fileName } from '../download.js';
import { Inspector } from '../inspector.js';
import { GROUPS, makeFilter } from '../log.js';
import { VirtualList } from '../virtual.js';
import { PACKET_NAMES } from '../wire.js';

/** Milliseconds of looking through packets in one frame. */
const BUDGET = 10;

const ARROWS = { 'to-broker': ['→', 'to broker'], 'to-client': ['←', 'to client'] };

/** Which colour a packet's name has. */
const FAMILIES = {
  PUBLISH: 'publish', PUBACK: 'ack', PUBREC: 'ack', PUBREL: 'ack', PUBCOMP: 'ack', CONNECT: 'connect', CONNACK: 'connect',
  DISCONNECT: 'connect', AUTH: 'connect', SUBSCRIBE: 'subscribe', SUBACK: 'subscribe', UNSUBSCRIBE: 'subscribe',
  UNSUBACK: 'subscribe', PINGREQ: 'ping', PINGRESP: 'ping',
};

export function create(world) {
  return new PacketsView(world);
}

class PacketsView {
  #visible = false;
  #filter = undefined;
  /** Sequence numbers of what passed the filter, up to `seen`; unused without one. */
  #found = [];
  #foundGone = 0;
  #seen = 0;
  /** The entries as they were when the view was paused. */
  #frozen = null;
  #chosen = null;
  #later;

  constructor(world) {
    this.world = world;
    this.log = world.log;
    this.list = new VirtualList({
      label: 'Packets, oldest first',
      columns: ['Time', 'Client', 'Way', 'Packet', 'Size', 'Fate'],
      render: (row, index) => drawRow(row, this.#entryAt(index)),
      key: (index) => this.#entryAt(index)?.seq,
      onselect: (index) => this.#choose(index),
      onopen: () => this.inspector.tree.querySelector('[tabindex="0"]')?.focus(),
    });
    this.inspector = new Inspector({ onclose: () => this.list.select(-1) });
    this.element = h('div.packets', null, this.#bar(), this.list.element, this.#foot(), this.inspector.element);
    this.#later = later(() => this.#visible && this.#draw(), 60);
    this.log.subscribe(this.#later);
    world.on('reset', () => this.#again());
  }

  show() {
    this.#visible = true;
    this.#draw();
  }

  hide() {
    this.#visible = false;
  }

  // Controls

  #bar() {
    const changed = () => this.#again();
    const later200 = later(changed, 200);
    this.client = select([['', 'All clients']], { onchange: changed });
    this.types = select(
      [['', 'All packets'], ...Object.keys(GROUPS).map((name) => [name, name]), ['-', 'All but pings'], ...PACKET_NAMES.map((name) => [name, name])],
      { onchange: changed },
    );
    this.direction = select([['', 'Both ways'], ['to-broker', 'To the broker'], ['to-client', 'To the client']], { onchange: changed });
    this.topic = h('input', { type: 'text', placeholder: 'sensors/#', spellcheck: 'false', autocomplete: 'off', oninput: later200 });
    this.text = h('input', { type: 'search', placeholder: 'in packets', spellcheck: 'false', autocomplete: 'off', oninput: later200 });
    const faults = checkbox('Only with faults', { onchange: changed });
    this.faults = faults.input;
    this.pauseButton = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => this.#pause() }, 'Pause');
    this.filterButton = h(
      'button.packets-more',
      { type: 'button', 'aria-expanded': 'false', 'aria-controls': 'packet-filters', onclick: () => this.#toggleFilters() },
      'Filters',
    );
    this.filters = h(
      'div.packets-filters',
      { id: 'packet-filters', role: 'search', 'aria-label': 'Which packets are shown' },
      field('Client', this.client),
      field('Type', this.types),
      field('Way', this.direction),
      field('Topic', this.topic),
      field('Text', this.text),
      faults.element,
    );
    const buttons = h(
      'div.packets-buttons',
      null,
      this.filterButton,
      this.pauseButton,
      h('button', { type: 'button', onclick: () => this.#clear() }, 'Clear'),
      h('button', { type: 'button', title: 'A capture that Wireshark opens', 'aria-label': 'Save pcap', onclick: () => this.#exportPcap() }, h('span.packets-save', null, 'Save '), 'pcap'),
      h('button', { type: 'button', 'aria-label': 'Save JSON', onclick: () => this.#exportJson() }, h('span.packets-save', null, 'Save '), 'JSON'),
    );
    return h('div.packets-bar', null, this.filters, buttons);
  }

  #foot() {
    this.status = h('span.packets-status', null);
    this.followButton = h('button.packets-follow', { type: 'button', hidden: true, onclick: () => this.list.follow() }, 'To the newest');
    return h('div.packets-foot', null, this.status, this.followButton);
  }

  #toggleFilters() {
    const isOpen = this.filterButton.getAttribute('aria-expanded') !== 'true';
    this.filterButton.setAttribute('aria-expanded', String(isOpen));
    this.filters.classList.toggle('open', isOpen);
  }

  #pause() {
    this.#frozen = this.#frozen ? null : this.log.slice();
    this.pauseButton.setAttribute('aria-pressed', String(Boolean(this.#frozen)));
    setText(this.pauseButton, this.#frozen ? 'Go on' : 'Pause');
    this.#again(true);
  }

  #clear() {
    this.log.clear();
    if (this.#frozen) this.#pause();
    this.#again();
    announce('The packet log is empty.');
  }

  /** The filter, or everything, is another. What is being inspected stays, except after a clear. */
  #again(keep = false) {
    const types = this.types.value;
    this.#filter = makeFilter({
      client: this.client.value,
      types: types === '-' ? ['link', ...PACKET_NAMES.filter((name) => !name.startsWith('PING'))] : GROUPS[types] ?? (types ? [types] : undefined),
      direction: this.direction.value,
      topic: this.topic.value.trim(),
      text: this.text.value.trim(),
      faults: this.faults.checked,
    });
    this.#found = [];
    this.#foundGone = 0;
    this.#seen = 0;
    this.list.reset();
    if (!keep && this.#chosen && !this.log.at(this.#chosen.seq)) this.#show(null);
    if (this.#visible) this.#draw();
  }

  // What is listed

  #entryAt(index) {
    if (this.#filter) return this.#found[index];
    return this.#frozen ? this.#frozen[index] : this.log.at(this.log.first + index);
  }

  #draw() {
    this.#drawClients();
    if (this.#filter) this.#find();
    const all = this.#frozen?.length ?? this.log.length;
    const count = this.#filter ? this.#found.length : all;
    const gone = this.#filter ? this.#foundGone : this.#frozen ? 0 : this.log.first;
    this.list.update(count, gone);
    this.followButton.hidden = this.list.following;
    const parts = [this.#filter ? `${count.toLocaleString('en')} of ${all.toLocaleString('en')} shown` : `${all.toLocaleString('en')} in the log`];
    parts.push(size(this.log.bytes));
    if (this.log.dropped) parts.push(`${this.log.dropped.toLocaleString('en')} older gone`);
    if (this.#frozen) parts.push(`paused, ${(this.log.next - (this.#frozen.at(-1)?.seq ?? -1) - 1).toLocaleString('en')} since`);
    setText(this.status, parts.join(' · '));
  }

  /** Looks through what came since, and lets go of what the log has let go of. */
  #find() {
    if (this.#frozen) {
      if (!this.#seen) this.#found = this.#frozen.filter(this.#filter);
      this.#seen = 1;
      return;
    }
    const { log } = this;
    const start = performance.now();
    let seq = Math.max(this.#seen, log.first);
    for (; seq < log.next; seq++) {
      // The rest with the next frame; what the log drops until then is not missed.
      if (seq % 256 === 0 && performance.now() - start > BUDGET) {
        this.#later();
        break;
      }
      const entry = log.at(seq);
      if (this.#filter(entry)) this.#found.push(entry);
    }
    this.#seen = seq;
    const gone = this.#found.findIndex((entry) => entry.seq >= log.first);
    const count = gone < 0 ? this.#found.length : gone;
    if (!count) return;
    this.#found.splice(0, count);
    this.#foundGone += count;
  }

  #drawClients() {
    const names = this.log.clients.sort().slice(0, 500);
    const key = names.join('\n');
    if (key === this.clientsKey) return;
    this.clientsKey = key;
    const { value } = this.client;
    const all = names.includes(value) || !value ? names : [value, ...names];
    this.client.replaceChildren(
      h('option', { value: '' }, 'All clients'),
      ...all.map((name) => h('option', { value: name }, name)),
    );
    this.client.value = value;
  }

  #choose(index) {
    this.#show(this.#entryAt(index) ?? null);
    this.followButton.hidden = this.list.following;
  }

  #show(entry) {
    this.#chosen = entry;
    this.inspector.show(entry);
    this.element.classList.toggle('has-chosen', Boolean(entry));
  }

  // Files

  #listed() {
    if (this.#filter) return this.#found;
    return this.#frozen ?? this.log.slice();
  }

  #exportPcap() {
    const packets = this.#listed().filter((entry) => !entry.isLink);
    download(fileName('pcap'), toPcap(packets), 'application/vnd.tcpdump.pcap');
  }

  #exportJson() {
    download(fileName('json', 'columba-packets'), toJson(this.#listed()), 'application/json');
  }
}

function drawRow(row, entry) {
  const [time, client, way, packet, bytes, fate] = row.children;
  if (!entry) return;
  const { name, details, bad } = entry.summary;
  row.className = `vrow${entry.isLink ? ' is-link' : ''}${entry.fate ? ' has-fate' : ''}`;
  time.textContent = exactTime(entry.time);
  client.textContent = entry.who;
  const [arrow, words] = ARROWS[entry.direction] ?? ['•', 'connection'];
  way.textContent = arrow;
  way.setAttribute('aria-label', words);
  way.dataset.way = entry.direction ?? 'link';
  packet.replaceChildren(
    ...(name ? [h('b', { class: `p-${FAMILIES[name] ?? 'other'}` }, name), ' '] : []),
    h('span', { class: bad ? 'is-bad' : null }, details.join(' · ')),
  );
  packet.title = details.join(' · ');
  bytes.textContent = entry.bytes ? size(entry.bytes.length) : '';
  fate.textContent = entry.fate ?? '';
}

/** Packets as JSON: bytes in hexadecimal, byte strings inside as text where they are some. */
export function toJson(entries) {
  const readable = (key, value) => {
    if (!(value instanceof Uint8Array)) return value;
    return asText(value) ?? { hex: Array.from(value, (byte) => hex(byte)).join('') };
  };
  const rows = entries.map(({ time, connection, who, direction, version, bytes, fate, what, packet }) =>
    what === undefined
      ? { time, connection, client: who, direction, version, fate, bytes: Array.from(bytes, (byte) => hex(byte)).join(''), packet }
      : { time, connection, client: who, link: what },
  );
  return JSON.stringify(rows, readable, 1);
}
