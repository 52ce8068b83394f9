// The live sequence diagram of the clients that are chosen, and the inspector for its packets.

import { checkbox, h, later, setText } from '../dom.js';
import { download, fileName } from '../download.js';
import { Inspector } from '../inspector.js';
import { SequenceDiagram } from '../sequence/diagram.js';

const EVENTS = 200;
/** Names among which one can choose. */
const NAMES = 60;

export function create(world) {
  return new SequenceView(world);
}

class SequenceView {
  #visible = false;
  /** Names that are not wanted: a client that is new is. */
  #hidden = new Set();
  #frozen = null;
  #names = '';

  constructor(world) {
    this.log = world.log;
    this.inspector = new Inspector({ onclose: () => (this.inspector.element.hidden = true) });
    this.inspector.element.hidden = true;
    this.diagram = new SequenceDiagram({
      empty: 'Nothing has been sent yet. Connect a client and its packets appear here.',
      onselect: (entry) => {
        this.inspector.element.hidden = false;
        this.inspector.show(entry);
      },
    });
    this.element = h('div.sequence', null, this.#bar(), this.diagram.element, this.inspector.element);
    this.#later = later(() => this.#visible && this.#draw(), 100);
    this.log.subscribe(this.#later);
    world.on('reset', () => {
      this.#hidden.clear();
      this.inspector.show(null);
      this.inspector.element.hidden = true;
      this.#later();
    });
  }

  #later;

  show() {
    this.#visible = true;
    this.diagram.follow();
    this.#draw();
  }

  hide() {
    this.#visible = false;
  }

  #bar() {
    const redraw = () => this.#draw();
    this.clients = h('fieldset.seq-clients', null, h('legend', null, 'Clients'));
    const pings = checkbox('Pings', { onchange: redraw });
    const links = checkbox('Connections', { checked: true, onchange: redraw });
    const acks = checkbox('Acknowledgements', { checked: true, onchange: redraw });
    [this.pings, this.links, this.acks] = [pings.input, links.input, acks.input];
    this.pauseButton = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => this.#pause() }, 'Pause');
    return h(
      'div.seq-bar',
      null,
      this.clients,
      h('fieldset.seq-kinds', null, h('legend', null, 'Show'), acks.element, links.element, pings.element),
      h(
        'div.seq-buttons',
        null,
        this.pauseButton,
        h('button', { type: 'button', onclick: () => this.log.clear() }, 'Clear'),
        h('button', { type: 'button', onclick: () => this.#export() }, 'Save SVG'),
      ),
    );
  }

  #pause() {
    this.#frozen = this.#frozen ? null : this.#entries();
    this.pauseButton.setAttribute('aria-pressed', String(Boolean(this.#frozen)));
    setText(this.pauseButton, this.#frozen ? 'Go on' : 'Pause');
    this.#draw();
  }

  #wanted(entry) {
    if (this.#hidden.has(entry.who)) return false;
    if (entry.isLink) return this.links.checked;
    const { name } = entry;
    if (name.startsWith('PING')) return this.pings.checked;
    return this.acks.checked || !/^PUB(ACK|REC|REL|COMP)$/.test(name);
  }

  #entries() {
    return this.log.last(EVENTS, (entry) => this.#wanted(entry));
  }

  #draw() {
    this.#drawNames();
    this.diagram.draw(this.#frozen?.filter((entry) => this.#wanted(entry)) ?? this.#entries());
  }

  #drawNames() {
    const names = this.log.clients.slice(-NAMES);
    const key = names.join('\n');
    if (key === this.#names) return;
    this.#names = key;
    const boxes = names.map((name) => {
      const { element, input } = checkbox(name, { checked: !this.#hidden.has(name) });
      input.addEventListener('change', () => {
        if (input.checked) this.#hidden.delete(name);
        else this.#hidden.add(name);
        this.#draw();
      });
      return element;
    });
    const none = h('span.seq-none', null, 'none yet');
    this.clients.replaceChildren(this.clients.firstElementChild, ...(boxes.length ? boxes : [none]));
  }

  #export() {
    download(fileName('svg', 'columba-sequence'), this.diagram.toSvg(), 'image/svg+xml');
  }
}
