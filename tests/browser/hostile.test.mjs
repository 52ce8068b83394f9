// What strangers send is shown as text, wherever it is shown, and never becomes part of the page.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import { VIEWS, openTarget, openView, panel, PROBE, sharedAddress } from './playground.mjs';
import { ready, stages, until } from './support.mjs';

const check = stages();

const EVIL = '<img src=x onerror="window.pwned=1">';

/** A world that has it in every place that a client, a message or a scenario has. */
const WORLD = {
  version: 1,
  target: { kind: 'tab' },
  clients: [
    {
      name: EVIL,
      options: {
        version: 5,
        clientId: `id ${EVIL}`,
        username: EVIL,
        will: { topic: `will ${EVIL}`, payload: EVIL },
        properties: { sessionExpiryInterval: 60, userProperties: { [EVIL]: EVIL } },
      },
      subscriptions: [{ filter: '#', qos: 2 }, { filter: `${EVIL}/#`, qos: 1, subscriptionIdentifier: 7 }],
    },
    { name: `refused ${EVIL}`, options: { version: 5, clientId: `refused ${EVIL}` }, subscriptions: [{ filter: `wrong#${EVIL}`, qos: 0 }] },
  ],
  publishers: [{ client: EVIL, topic: `traffic ${EVIL}`, shape: 'interval', text: EVIL, rate: 5 }],
  plots: [{ topic: `plot ${EVIL}`, field: EVIL }],
};

/** Publishes with every property, retained, and values to plot. */
async function traffic(page) {
  await page.evaluate(async (evil) => {
    const { world } = window.columba;
    const client = world.client(evil);
    const properties = {
      contentType: evil,
      responseTopic: evil,
      correlationData: new TextEncoder().encode(evil),
      userProperties: { [evil]: evil },
    };
    for (let i = 0; i < 3; i += 1) {
      await client.publish(`level/${evil}`, `${evil} ${i}`, { qos: 2, retain: true, properties });
      await client.publish(`plot ${evil}`, JSON.stringify({ [evil]: i, text: evil }), { qos: 1 });
    }
    const socket = world.broker.connect({ name: `raw ${evil}` });
    await new Promise((resolve) => (socket.onclose = resolve, socket.onopen = () => socket.send(new TextEncoder().encode(evil))));
  }, EVIL);
  await until(page, (evil) => [...window.columba.world.messages].some(({ topic }) => topic === `plot ${evil}`), EVIL);
}

/** What is in the page that only strangers could have put there. */
function strangers(page) {
  return page.evaluate(() => {
    const elements = [...document.querySelectorAll('img, iframe, object, embed, script:not([src])')].map(({ outerHTML }) => outerHTML);
    for (const element of document.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        if (name.startsWith('on') || /^\s*javascript:/i.test(value)) elements.push(`${element.localName} ${name}=${value}`);
      }
    }
    return { elements, pwned: window.pwned };
  });
}

const NOBODY = { elements: [], pwned: undefined };

check('in every view', async (stage) => {
  const page = await stage.emptyPlayground();
  await page.evaluate((spec) => window.columba.world.load(spec), WORLD);
  await traffic(page);
  for (const card of await page.locator('article [aria-expanded]').all()) {
    if ((await card.getAttribute('aria-expanded')) === 'false') await card.click();
  }
  const shown = (locator) => locator.getByText('<img src=x').filter({ visible: true }).first().waitFor();
  const visits = {
    async Topics(view) {
      await view.getByRole('treeitem').filter({ hasText: '<img' }).last().click();
    },
    async Messages(view) {
      await view.getByRole('list', { name: 'Messages' }).getByRole('button').filter({ hasText: 'level/' }).first().click();
      for (const mode of ['Changes', 'Hex', 'Text']) await view.getByRole('button', { name: mode, exact: true }).click();
    },
    async Retained(view) {
      await view.getByRole('row').filter({ hasText: 'level/' }).getByRole('button').first().click();
    },
    async Sessions(view) {
      await view.getByRole('row').filter({ hasText: '<img' }).first().getByRole('button').first().click();
    },
    async Plots(view) {
      await view.getByText('As a table').click();
    },
    async Packets(view) {
      for (const type of ['CONNECT', 'PUBLISH', 'SUBSCRIBE', 'bytes', 'link']) {
        const select = view.getByLabel('Type', { exact: true });
        if ((await select.locator(`option[value="${type}"]`).count()) === 0) continue;
        await select.selectOption(type);
        await view.getByRole('row').nth(1).click();
        await shown(view);
        assert.deepEqual(await strangers(page), NOBODY, type);
      }
    },
    async Sequence(view) {
      await view.locator('svg').first().waitFor();
    },
  };
  for (const [name, visit] of Object.entries(visits)) {
    await openView(page, name);
    await visit(panel(page, name));
    await shown(panel(page, name));
    assert.deepEqual(await strangers(page), NOBODY, name);
  }
  await shown(page.getByRole('complementary'));
});

check('in dialogs and files', async (stage) => {
  stage.expect(PROBE);
  const page = await stage.emptyPlayground();
  await page.evaluate((spec) => window.columba.world.load(spec), WORLD);
  await traffic(page);
  await page.getByRole('button', { name: `Edit ${EVIL}`, exact: true }).click();
  assert.deepEqual(await strangers(page), NOBODY, 'the form of a client');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: `Edit publisher of traffic ${EVIL}` }).click();
  assert.deepEqual(await strangers(page), NOBODY, 'the form of a publisher');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Faults', exact: true }).click();
  await page.getByRole('button', { name: 'Lose next PUBLISH' }).click();
  assert.deepEqual(await strangers(page), NOBODY, 'faults');

  const neighbour = await stage.emptyPlayground();
  await neighbour.evaluate((evil) => window.columba.world.share(evil), EVIL);
  const dialog = await openTarget(page);
  await dialog.getByRole('button', { name: EVIL }).waitFor();
  assert.deepEqual(await strangers(page), NOBODY, 'names of other tabs');
  await page.keyboard.press('Escape');

  await openView(page, 'Sequence');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save SVG' }).click()]);
  const svg = await readFile(await download.path(), 'utf8');
  assert.ok(svg.includes('&lt;img'));
  assert.ok(!svg.includes('<img'));
});

check('in an address', async (stage) => {
  const page = await stage.emptyPlayground();
  await page.evaluate((spec) => window.columba.world.load(spec), WORLD);
  const address = await sharedAddress(page);
  const victim = await stage.page(await stage.context());
  await victim.goto(address);
  await ready(victim);
  await until(victim, (evil) => window.columba.world.client(evil)?.state === 'online', EVIL);
  for (const name of VIEWS) {
    await openView(victim, name);
    assert.deepEqual(await strangers(victim), NOBODY, name);
  }
});

check('an address that nobody would make', async (stage) => {
  const page = await stage.emptyPlayground();
  const hashes = await page.evaluate(async () => {
    const { toFragment } = await import('./js/scenario.js');
    const hostile = [
      { version: 1, clients: [{ name: 'a', options: { will: { topic: 'x', payload: 'y'.repeat(70_000) } } }] },
      { version: 1, clients: Array.from({ length: 300 }, (_, i) => ({ name: `c${i}` })) },
      { version: 1, target: { kind: 'url', url: 'javascript:alert(1)' } },
      { version: 1, publishers: Array.from({ length: 6 }, () => ({ topic: 't', rate: 10_000 })) },
      { version: 99 },
      { version: 1, padding: '0'.repeat(50_000_000) },
      [],
      'text',
    ];
    return Promise.all(hostile.map(toFragment));
  });
  const victim = await stage.playground({ hash: hashes[0] });
  const before = await victim.evaluate(() => window.columba.world.spec());
  const dialog = victim.getByRole('dialog', { name: 'Share this scenario' });
  await dialog.getByRole('alert').getByText(/./).waitFor();
  for (const hash of [...hashes, '#s=', '#s=%%%', `#s=${'A'.repeat(200_000)}`]) {
    await victim.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    // As if it were opened in a tab that is there.
    await victim.evaluate((hash) => (location.hash = hash), hash);
    await dialog.getByRole('alert').getByText(/\w+ \w+ \w+/).waitFor();
    await until(victim, () => !location.hash);
  }
  assert.deepEqual(await victim.evaluate(() => window.columba.world.spec()), before);
});
