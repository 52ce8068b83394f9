// The dialog that shares: the address of the scenario, and the scenario as a file, out and in.

import { announce, h, iconButton, setText } from '../dom.js';
import { download, fileName } from '../download.js';
import { fromFragment, fromWorld, outside, parseFile, toFragment } from '../scenario.js';

/** Addresses longer than this get cut by some programs that pass them on. */
const LONG = 8000;

export function create(world) {
  return new ShareDialog(world);
}

class ShareDialog {
  constructor(world) {
    this.world = world;
    this.address = h('textarea.share-address', { id: 'share-address', readonly: true, rows: '5', spellcheck: 'false', onfocus: () => this.address.select() });
    this.length = h('p.share-length', { role: 'status' });
    this.error = h('p.error-text', { role: 'alert' });
    this.copyButton = h('button.primary', { type: 'button', onclick: () => this.#copy() }, 'Copy the address');
    this.file = h('input', { type: 'file', accept: 'application/json,.json', class: 'visually-hidden', tabindex: '-1', 'aria-label': 'Scenario file', onchange: () => this.#import() });
    this.element = h(
      'dialog.share',
      { 'aria-labelledby': 'share-title' },
      h(
        'div.dialog',
        null,
        h('div.dialog-head', null, h('h2', { id: 'share-title' }, 'Share this scenario'), iconButton('close', 'Close', () => this.hide())),
        h(
          'div.dialog-body',
          null,
          h('p.share-intro', null, 'Whoever opens this address gets the same broker, clients and publishers in a tab of their own. Nothing is uploaded: all of it is in the address. Passwords, messages and sessions stay here.'),
          h('div.field.wide', null, h('label', { for: 'share-address' }, 'Address'), this.address, this.length),
          this.error,
        ),
        h(
          'div.dialog-foot.share-foot',
          null,
          h('button', { type: 'button', onclick: () => this.file.click() }, 'Open a file…'),
          this.file,
          h('button', { type: 'button', onclick: () => this.#save() }, 'Save as file'),
          this.copyButton,
        ),
      ),
    );
    this.element.addEventListener('click', (event) => event.target === this.element && this.hide());
    addEventListener('scenariorefused', (event) => this.show(event.detail));
    addEventListener('hashchange', () => this.#follow());
  }

  /** `error`: why something could not be opened. */
  async show(error = '') {
    if (!this.element.isConnected) document.body.append(this.element);
    if (!this.element.open) this.element.showModal();
    setText(this.error, typeof error === 'string' ? error : '');
    setText(this.copyButton, 'Copy the address');
    await this.#write();
  }

  hide() {
    this.element.close();
  }

  #scenario() {
    return fromWorld(this.world, new URLSearchParams(location.search).get('view'));
  }

  async #write() {
    try {
      const url = new URL(location.href);
      url.searchParams.delete('join');
      url.hash = await toFragment(this.#scenario());
      this.address.value = url.href;
      const { length } = url.href;
      const count = `${length.toLocaleString('en')} characters.`;
      setText(this.length, length > LONG ? `${count} Some programs cut addresses as long as this; a file is safer.` : count);
    } catch (error) {
      setText(this.error, `This cannot be shared: ${error.message}`);
    }
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.address.value);
    } catch {
      // Without permission, or in a page that is not secure: the selection can still be copied by hand.
      this.address.focus();
      this.address.select();
      setText(this.error, 'The browser does not let the page copy. The address is selected: copy it with Ctrl+C.');
      return;
    }
    setText(this.copyButton, 'Copied');
    announce('The address is copied.');
  }

  #save() {
    download(fileName('json', 'columba-scenario'), JSON.stringify(this.#scenario(), null, 2), 'application/json');
  }

  async #import() {
    const [file] = this.file.files;
    this.file.value = '';
    if (!file) return;
    setText(this.error, '');
    try {
      if (file.size > 4 * 1024 * 1024) throw new Error('The file is too large for a scenario.');
      const scenario = parseFile(await file.text());
      const places = outside(scenario);
      if (places.length && !confirm(`This file makes the page connect to ${places.join(' and to ')}. Go on?`)) return;
      await this.#load(scenario);
      this.hide();
    } catch (error) {
      setText(this.error, error.message);
    }
  }

  /** An address that is opened in this tab while the page is there. */
  async #follow() {
    const scenario = await fromFragment(location.hash).catch(() => undefined);
    if (scenario) await this.#load(scenario);
  }

  async #load(scenario) {
    await this.world.load(scenario);
    if (scenario.view) this.world.emit('view', scenario.view);
    announce('The scenario is loaded.');
  }
}
