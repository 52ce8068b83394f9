// All that there is to see of the playground, one sight after the other, with something in each.

import { VIEWS, openTarget, openView, panel } from './playground.mjs';
import { until } from './support.mjs';

/** The world of a first visit after a minute, with time stopped, a session that waits, and a fault. */
export async function furnish(page) {
  await page.evaluate(async () => {
    const { world } = window.columba;
    await world.advance(60_000);
    world.setRate(0);
    world.addClient({ name: 'visitor', options: { version: 4, cleanStart: false }, subscriptions: [{ filter: 'greenhouse/air', qos: 2 }] });
  });
  await until(page, () => window.columba.world.client('visitor').state === 'online');
  await page.evaluate(async () => {
    const { world } = window.columba;
    const properties = { contentType: 'application/json', userProperties: { unit: '°C' } };
    const json = '{"inside": 21.5, "outside": [3, 4]}';
    await world.client('greenhouse').publish('greenhouse/summary', json, { qos: 2, retain: true, properties });
    await world.client('visitor').publish('greenhouse/set/heating', new Uint8Array([0xff, 0xfe, 0, 1]), { qos: 1 });
    world.client('visitor').disconnect();
    await world.client('greenhouse').publish('greenhouse/air', '{"value": 55}', { qos: 1 });
    world.faults.add('dashboard: lose next puback', { packet: 'PUBACK', when: 'once', action: 'lose', client: 'dashboard' });
  });
}

const first = (view, role) => view.getByRole(role).first();

/** Makes something of each view open. */
const VISITS = {
  Topics: (page, view) => view.getByRole('treeitem', { name: /summary/ }).click(),
  Messages: (page, view) => view.getByRole('list', { name: 'Messages' }).getByRole('button').filter({ hasText: 'summary' }).first().click(),
  async Plots(page, view) {
    await view.getByText('As a table').click();
  },
  Retained: (page, view) => view.getByRole('row').filter({ hasText: 'summary' }).getByRole('button').first().click(),
  Sessions: (page, view) => view.getByRole('row').filter({ hasText: 'dashboard' }).getByRole('button').first().click(),
  async Packets(page, view) {
    await view.getByRole('grid').focus();
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowUp');
  },
  Sequence: (page, view) => view.locator('svg').first().waitFor(),
  async Lessons(page, view) {
    await first(view, 'navigation').getByRole('button').nth(2).click();
    await view.getByRole('button', { name: 'Run all' }).click();
    await view.getByText('What this shows.').waitFor();
  },
};

/** Goes to every sight, in a page that is furnished, and calls `look(name)` there. */
export async function tour(page, look) {
  const isNarrow = page.viewportSize().width < 861;
  if (isNarrow) await openView(page, 'Clients');
  const clients = async () => {
    if (isNarrow) await openView(page, 'Clients');
  };
  await look('Clients');
  for (const name of VIEWS) {
    await openView(page, name);
    await VISITS[name](page, panel(page, name));
    await look(name);
  }
  await openView(page, 'Topics');
  await page.getByRole('button', { name: /^Faults/ }).click();
  await look('Faults');
  await page.getByRole('button', { name: /^Faults/ }).click();
  const dialogs = {
    async 'Client form'() {
      await clients();
      await page.getByRole('button', { name: 'Edit greenhouse', exact: true }).click();
    },
    async 'Publisher form'() {
      await clients();
      await page.getByRole('button', { name: 'Edit publisher of greenhouse/air' }).click();
    },
    async 'Where the broker is'() {
      const dialog = await openTarget(page);
      await dialog.getByText('Carry messages between').click();
    },
    async Share() {
      await page.getByRole('button', { name: 'Share', exact: true }).click();
    },
  };
  for (const [name, open] of Object.entries(dialogs)) {
    await open();
    await page.getByRole('dialog').waitFor();
    await look(name);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
  }
}
