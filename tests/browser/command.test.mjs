// The playground and brokers beyond the tab: the `columba` command, over a real WebSocket.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { columba, outside } from './command.mjs';
import { PROBE, addClient, messages, offline, online, openTarget, openView, panel, publish, subscribe } from './playground.mjs';
import { eventually, ready, stages } from './support.mjs';

const check = stages();

let command;
before(async () => {
  command = await columba();
});
after(() => command?.stop());

/** A client of the command's, outside the browser, that ends with the test. */
async function visitor(t, url = command.tcp) {
  const client = await outside(url);
  t.after(() => client.endAsync(true));
  return client;
}

/** Fills in the form of the bridge and connects it; `there` and `here` are [filter, prefix here, prefix there]. */
async function bridge(page, url, { there, here }) {
  const dialog = await openTarget(page);
  await dialog.getByText('Carry messages between this tab’s broker and one at an address').click();
  const form = dialog.getByRole('group', { name: 'Bridge to another broker' });
  await form.getByLabel('Address', { exact: true }).fill(url);
  for (const [title, [filter, local = '', remote = '']] of [['From there to here', there], ['From here to there', here]]) {
    await form.getByLabel(`${title}: topic filter`).fill(filter);
    await form.getByLabel(`${title}: QoS`).selectOption('1');
    await form.getByLabel(`${title}: prefix at this broker`).fill(local);
    await form.getByLabel(`${title}: prefix at the other broker`).fill(remote);
  }
  await form.getByRole('button', { name: 'Connect the bridge' }).click();
  await form.getByText(/^connected/).waitFor();
  return { dialog, form };
}

check('a bridge carries messages to a command and back', async (stage, t) => {
  stage.expect(PROBE);
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  await subscribe(alice, 'cloud/#', 1);
  const far = await visitor(t);
  await far.subscribeAsync('site/room/#', { qos: 1 });
  const { dialog, form } = await bridge(page, command.ws, { there: ['order/#', 'cloud/'], here: ['room/#', '', 'site/'] });
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await publish(alice, 'room/light', 'on', { qos: 1 });
  await publish(alice, 'elsewhere', 'not for the bridge', { qos: 1 });
  await publish(alice, 'room/light', 'off', { qos: 1 });
  await eventually(() => far.inbox.length >= 2, 'what the tab published');
  assert.deepEqual(far.inbox, [['site/room/light', 'on'], ['site/room/light', 'off']]);
  await far.publishAsync('order/coffee', 'black', { qos: 1 });
  assert.deepEqual(await messages(page, 1), [['alice', 'cloud/order/coffee', 'Q1', 'black']]);
  await page.getByTitle('Where the broker is').getByText('bridge connected').waitFor();
  await openTarget(page);
  await form.getByText('1 received · 2 sent · 0 waiting').waitFor();
  await form.getByRole('button', { name: 'Remove the bridge' }).click();
  await form.getByRole('button', { name: 'Connect the bridge' }).waitFor();
});

check('a bridge whose broker goes away says so, and keeps what is to be sent', async (stage, t) => {
  stage.expect(PROBE);
  stage.expect(/WebSocket connection to/);
  const own = await columba();
  t.after(() => own.stop());
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  const { form } = await bridge(page, own.ws, { there: ['order/#'], here: ['room/#'] });
  await own.stop();
  await form.getByText(/^(waiting|connecting)/).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await publish(alice, 'room/light', 'on', { qos: 1 });
  await openTarget(page);
  await form.getByText('0 received · 0 sent · 1 waiting').waitFor();
});

check('clients of the playground at the command’s own broker', async (stage, t) => {
  stage.expect(PROBE);
  const page = await stage.emptyPlayground();
  await addClient(page, 'alice');
  await addClient(page, 'old', { version: '4' });
  const dialog = await openTarget(page);
  await dialog.getByLabel('At an address').check();
  await dialog.getByLabel('Address of the broker').fill(command.ws);
  await dialog.getByRole('button', { name: 'Use this broker' }).click();
  const alice = await online(page, 'alice');
  await online(page, 'old');
  await subscribe(alice, 'from/outside', 2);
  const far = await visitor(t);
  await far.subscribeAsync('from/tab', { qos: 2 });
  for (const qos of [0, 1, 2]) await publish(alice, 'from/tab', `at ${qos}`, { qos });
  await eventually(() => far.inbox.length >= 3, 'what the tab published');
  assert.deepEqual(far.inbox, [0, 1, 2].map((qos) => ['from/tab', `at ${qos}`]));
  await far.publishAsync('from/outside', 'hello', { qos: 2 });
  assert.deepEqual(await messages(page, 1), [['alice', 'from/outside', 'Q2', 'hello']]);
  await openView(page, 'Packets');
  await panel(page, 'Packets').getByRole('row').filter({ hasText: 'PUBCOMP' }).first().waitFor();
  await openView(page, 'Sessions');
  await panel(page, 'Sessions').getByText('The broker is elsewhere').waitFor();
});

check('a broker that cannot be reached is told at the client', async (stage, t) => {
  stage.expect(PROBE);
  const gone = await columba();
  t.after(() => gone.stop());
  await gone.stop();
  stage.expect(/ERR_CONNECTION_REFUSED/);
  const page = await stage.emptyPlayground();
  await addClient(page, 'alice');
  const dialog = await openTarget(page);
  await dialog.getByLabel('At an address').check();
  await dialog.getByLabel('Address of the broker').fill(gone.ws);
  await dialog.getByRole('button', { name: 'Use this broker' }).click();
  const alice = await offline(page, 'alice');
  await alice.getByText('offline: the broker cannot be reached').waitFor();
});

check('the page that the command serves', async (stage, t) => {
  const isBuiltIn = (await (await fetch(command.page)).text()).includes('<title>Columba playground</title>');
  if (!isBuiltIn && process.env.COLUMBA_WEB) return t.skip('the command was built without the playground, and COLUMBA_WEB names one elsewhere');
  assert.ok(isBuiltIn, 'the command was built without the playground: cargo xtask web, and build it again');
  const page = await stage.playground({ url: command.page });
  await online(page, 'greenhouse');
  await page.evaluate(() => window.columba.world.reset());
  await addClient(page, 'alice');
  const dialog = await openTarget(page);
  await dialog.getByLabel('The server this page came from').check();
  await dialog.getByRole('button', { name: 'Use this broker' }).click();
  const alice = await online(page, 'alice');
  const far = await visitor(t);
  await far.subscribeAsync('from/page');
  await publish(alice, 'from/page', 'served', { qos: 1 });
  await eventually(() => far.inbox.length > 0, 'what the page published');
  assert.deepEqual(far.inbox, [['from/page', 'served']]);
  await page.reload();
  await ready(page);
  await online(page, 'alice');
});
