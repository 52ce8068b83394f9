// The playground: what a person does with it, done to it.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

import {
  PROBE, VIEWS, addClient, card, messages, offline, online, openTarget, openView, panel, publish, saved, sharedAddress, subscribe,
} from './playground.mjs';
import { ready, stages, until } from './support.mjs';

const check = stages();

check('a first visit shows something that moves', async (stage) => {
  const page = await stage.playground();
  assert.equal(await page.title(), 'Columba playground');
  await online(page, 'greenhouse');
  await online(page, 'dashboard');
  for (const name of VIEWS) {
    await openView(page, name);
    await panel(page, name).waitFor();
    assert.equal(await page.getByRole('tabpanel').count(), 1);
  }
  const topics = panel(page, 'Topics');
  await openView(page, 'Topics');
  await topics.getByRole('treeitem', { name: /temperature/ }).waitFor();
  assert.ok((await messages(page, 3)).every(([client, topic]) => client === 'dashboard' && topic.startsWith('greenhouse/')));
});

for (const [version, label] of [['5', 'MQTT 5.0'], ['4', 'MQTT 3.1.1'], ['3', 'MQTT 3.1']]) {
  check(`two clients of ${label} made by the form exchange a message at each QoS`, async (stage) => {
    const page = await stage.emptyPlayground();
    const alice = await addClient(page, 'alice', { version });
    const bob = await addClient(page, 'bob', { version });
    await subscribe(alice, 'room/+/light', 2);
    for (const qos of [0, 1, 2]) await publish(bob, 'room/hall/light', `level ${qos}`, { qos });
    assert.deepEqual(await messages(page, 3), [
      ['alice', 'room/hall/light', 'Q2', 'level 2'],
      ['alice', 'room/hall/light', 'Q1', 'level 1'],
      ['alice', 'room/hall/light', '', 'level 0'],
    ]);
    assert.deepEqual(await page.evaluate(() => window.columba.world.broker.clients().map(({ connection }) => connection.version)), [Number(version), Number(version)]);
    await openView(page, 'Packets');
    const log = panel(page, 'Packets').getByRole('grid');
    // Of both halves of the way.
    for (const name of ['PUBREC', 'PUBREL', 'PUBCOMP']) {
      await panel(page, 'Packets').getByLabel('Type', { exact: true }).selectOption(name);
      await panel(page, 'Packets').getByText(/^2 of \d+ shown/).waitFor();
      await log.getByRole('row').filter({ hasText: name }).nth(1).waitFor();
    }
  });
}

check('a payload may be written as JSON, hex or base64; a row of the list opens to all of it', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  await subscribe(alice, 'p', 1);
  for (const [kind, text] of [['json', '{"level": 7}'], ['hex', 'ff 00 fe'], ['base64', 'aMOkbGxv']]) {
    await alice.getByLabel('Payload written as').selectOption(kind);
    await publish(alice, 'p', text, { qos: 1 });
  }
  await messages(page, 3);
  const payloads = await page.evaluate(() => [...window.columba.world.messages].map(({ payload }) => [...payload]));
  assert.deepEqual(payloads, [[...Buffer.from('{"level":7}')], [0xff, 0, 0xfe], [...Buffer.from('hällo')]]);
  await page.getByRole('list', { name: 'Messages' }).getByRole('button').last().click();
  await panel(page, 'Messages').getByRole('region', { name: 'Payload' }).getByText('"level": 7').waitFor();
  await panel(page, 'Messages').getByRole('button', { name: 'Hex' }).click();
  await panel(page, 'Messages').getByText('7b 22 6c 65').waitFor();
  await alice.getByLabel('Payload written as').selectOption('json');
  await alice.getByLabel('Payload', { exact: true }).fill('{not json');
  await alice.getByRole('button', { name: 'Publish', exact: true }).click();
  await alice.locator('.result.bad').waitFor();
  assert.equal(await page.evaluate(() => window.columba.world.messages.length), 3);
});

check('a retained message waits for whoever subscribes, is listed, and can be deleted', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  const bob = await addClient(page, 'bob');
  await publish(bob, 'house/door', 'locked', { qos: 1, retain: true });
  await subscribe(alice, 'house/#', 1);
  assert.deepEqual(await messages(page, 1), [['alice', 'house/door', 'Q1 R', 'locked']]);
  await openView(page, 'Retained');
  const view = panel(page, 'Retained');
  await view.getByRole('row').filter({ hasText: 'house/door' }).getByText('locked').waitFor();
  await view.getByRole('button', { name: 'Delete the retained message of house/door' }).click();
  await view.getByText('Nothing is retained').waitFor();
  assert.deepEqual(await page.evaluate(() => window.columba.world.broker.retained()), []);
});

check('a client that is dropped leaves its will', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  await subscribe(alice, 'status/#', 1);
  const device = await addClient(page, 'device', { will: { topic: 'status/device', payload: 'lost', qos: 1 } });
  await device.getByRole('button', { name: 'Drop the connection of device without DISCONNECT' }).click();
  await offline(page, 'device');
  assert.deepEqual(await messages(page, 1), [['alice', 'status/device', 'Q1', 'lost']]);
  await device.getByRole('button', { name: 'Connect device' }).click();
  await online(page, 'device');
  await device.getByRole('button', { name: 'Disconnect device' }).click();
  await offline(page, 'device');
  assert.equal((await messages(page, 1)).length, 1, 'a client that says goodbye takes its will along');
});

check('a reload goes on with the sessions, what is queued and what is retained', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  const bob = await addClient(page, 'bob', { username: 'bobby' });
  await subscribe(alice, 'post/#', 1);
  await alice.getByRole('button', { name: 'Disconnect alice' }).click();
  await offline(page, 'alice');
  await publish(bob, 'post/1', 'a letter', { qos: 1 });
  await publish(bob, 'post/box', 'red', { retain: true });
  await saved(page);
  await page.reload();
  await ready(page);
  await online(page, 'bob');
  await openView(page, 'Sessions');
  const row = panel(page, 'Sessions').getByRole('row').filter({ hasText: 'alice' });
  await row.getByText('offline').waitFor();
  assert.deepEqual(await page.evaluate(() => {
    const { queued, subscriptions, expiresIn } = window.columba.world.broker.client('alice');
    return { queued, subscriptions, expires: expiresIn > 3_000_000 && expiresIn < 3_600_000 };
  }), { queued: 1, subscriptions: 1, expires: true });
  await (await offline(page, 'alice')).getByRole('button', { name: 'Connect alice' }).click();
  await online(page, 'alice');
  assert.deepEqual(await messages(page, 1), [['alice', 'post/1', 'Q1', 'a letter']]);
  await openView(page, 'Retained');
  await panel(page, 'Retained').getByRole('row').filter({ hasText: 'post/box' }).getByText('red').waitFor();
});

check('a new tab of the same browser does not take another tab’s sessions', async (stage) => {
  const first = await stage.emptyPlayground();
  await addClient(first, 'alice');
  const second = await stage.playground();
  await online(second, 'greenhouse');
  assert.equal(await second.evaluate(() => window.columba.world.client('alice')), undefined);
  await saved(first);
  await first.reload();
  await ready(first);
  await online(first, 'alice');
});

check('a second tab joins the broker of the first', async (stage) => {
  const host = await stage.emptyPlayground();
  const alice = await addClient(host, 'alice');
  await subscribe(alice, 'hall/#', 2);
  stage.expect(PROBE);
  const dialog = await openTarget(host);
  await dialog.getByLabel('Name to share the broker under').fill('our broker');
  await dialog.getByRole('button', { name: 'Share', exact: true }).click();
  const opening = host.waitForEvent('popup');
  await dialog.getByRole('link', { name: 'Open a tab that joins' }).click();
  const guest = await opening;
  await ready(guest);
  assert.equal(await guest.getByTitle('Where the broker is').innerText(), 'Broker of another tab: our broker');
  await until(guest, () => window.columba.world.clients.some(({ state }) => state === 'online'));
  const [name] = await guest.evaluate(() => window.columba.world.clients.map(({ name }) => name));
  const visitor = await online(guest, name);
  for (const qos of [0, 1, 2]) await publish(visitor, 'hall/greeting', `hello ${qos}`, { qos });
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.deepEqual((await messages(host, 3)).map(([, , , value]) => value), ['hello 2', 'hello 1', 'hello 0']);
  await publish(alice, 'back', 'welcome', { qos: 1 });
  await until(guest, () => [...window.columba.world.messages].some(({ topic }) => topic === 'back'));
  // It has the packets of its own client, as the tab with the broker has them.
  await openView(guest, 'Packets');
  await panel(guest, 'Packets').getByRole('row').filter({ hasText: 'PUBREL' }).first().waitFor();
});

check('a tab that has joined notices that the other one closes', async (stage) => {
  const host = await stage.emptyPlayground();
  await host.evaluate(() => window.columba.world.share('hall'));
  const guest = await stage.playground({ query: '?join=hall' });
  const [name] = await guest.evaluate(() => window.columba.world.clients.map(({ name }) => name));
  await online(guest, name);
  await host.close({ runBeforeUnload: true });
  await offline(guest, name);
});

check('the dialog finds a tab that shares its broker', async (stage) => {
  const host = await stage.emptyPlayground();
  await host.evaluate(() => window.columba.world.share('next door'));
  const guest = await stage.emptyPlayground();
  await addClient(guest, 'visitor');
  stage.expect(PROBE);
  const dialog = await openTarget(guest);
  await dialog.getByRole('button', { name: 'next door' }).click();
  await dialog.getByRole('button', { name: 'Use this broker' }).click();
  await online(guest, 'visitor');
  await until(host, () => window.columba.world.broker.client('visitor')?.connection);
});

check('an address makes the same scenario in another browser', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice', { will: { topic: 'w', payload: 'ä€😀', qos: 2 } });
  await subscribe(alice, 'sensors/#', 1);
  await addClient(page, 'bob', { version: '4' });
  await page.evaluate(() => {
    window.columba.world.publishers.add({ client: 'bob', topic: 'sensors/level', shape: 'counter', rate: 50, minimum: 5, step: 5 });
    window.columba.world.plots.add('sensors/level');
  });
  await openView(page, 'Sequence');
  const address = await sharedAddress(page);
  assert.match(address, /\/some\/where\/(\?view=sequence)?#s=[\w-]+$/);
  assert.ok(address.length < 2000, `${address.length} characters`);

  const other = await stage.page(await stage.context());
  await other.goto(address);
  await ready(other);
  assert.equal(await other.getByRole('tab', { name: 'Sequence' }).getAttribute('aria-selected'), 'true');
  const specs = await Promise.all([page, other].map((one) => one.evaluate(() => window.columba.world.spec())));
  assert.deepEqual(specs[1], specs[0]);
  assert.deepEqual(specs[1].clients.map(({ name }) => name), ['alice', 'bob']);
  const rows = await messages(other, 2);
  const [client, topic, flags, value] = rows.at(-1);
  assert.deepEqual([client, topic, flags], ['alice', 'sensors/level', '']);
  // The counter may have begun before alice had subscribed.
  assert.ok(Number(value) > 0 && Number(value) % 5 === 0, value);
  // A reload goes on with what has become of it.
  assert.equal(new URL(other.url()).hash, '');
});

check('an address that is damaged says so, and changes nothing', async (stage) => {
  const page = await stage.playground({ hash: '#s=AAAA' });
  await page.getByRole('dialog', { name: 'Share this scenario' }).getByRole('alert').getByText('The address is damaged').waitFor();
  await page.keyboard.press('Escape');
  await online(page, 'greenhouse');
});

check('an address that leads to another broker asks first', async (stage) => {
  const page = await stage.emptyPlayground();
  const far = 'ws://127.0.0.1:9/mqtt';
  const hash = await page.evaluate(async (url) => {
    const scenario = await import('./js/scenario.js');
    return scenario.toFragment({ version: 1, target: { kind: 'url', url }, clients: [{ name: 'spy', options: {} }] });
  }, far);
  const other = await stage.page(await stage.context());
  const questions = [];
  other.on('dialog', (dialog) => {
    questions.push(dialog.message());
    dialog.dismiss();
  });
  const sockets = [];
  other.on('websocket', (socket) => sockets.push(socket.url()));
  await other.goto(`${stage.url}${hash}`);
  await ready(other);
  assert.equal(questions.length, 1);
  assert.ok(questions[0].includes(far));
  await online(other, 'greenhouse');
  assert.deepEqual(sockets, []);
});

check('a scenario is saved as a file and opened again; packets are saved for Wireshark', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  await subscribe(alice, 'a/b', 1);
  await publish(alice, 'a/b', 'to be captured', { qos: 1 });
  await openView(page, 'Packets');
  const [pcap] = await Promise.all([page.waitForEvent('download'), panel(page, 'Packets').getByRole('button', { name: 'Save pcap' }).click()]);
  const capture = await readFile(await pcap.path());
  assert.ok(['d4c3b2a1', '4d3cb2a1', 'a1b2c3d4', 'a1b23c4d'].includes(capture.subarray(0, 4).toString('hex')), 'it begins as a capture does');
  assert.ok(capture.includes('to be captured'));
  const [log] = await Promise.all([page.waitForEvent('download'), panel(page, 'Packets').getByRole('button', { name: 'Save JSON' }).click()]);
  const packets = JSON.parse(await readFile(await log.path(), 'utf8'));
  assert.ok(packets.some(({ packet }) => packet?.cmd === 'publish' && packet.payload === 'to be captured'));

  await page.getByRole('button', { name: 'Share', exact: true }).click();
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save as file' }).click()]);
  const path = await file.path();
  const other = await stage.playground({ context: await stage.context() });
  await other.getByRole('button', { name: 'Share', exact: true }).click();
  const [chooser] = await Promise.all([other.waitForEvent('filechooser'), other.getByRole('button', { name: 'Open a file…' }).click()]);
  await chooser.setFiles(path);
  await online(other, 'alice');
  const specs = await Promise.all([page, other].map((one) => one.evaluate(() => window.columba.world.spec())));
  assert.deepEqual(specs[1], specs[0]);
});

check('time passes as one likes: a session expires within a click', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  await page.getByRole('button', { name: 'Stop time' }).click();
  await alice.getByRole('button', { name: 'Disconnect alice' }).click();
  await openView(page, 'Sessions');
  const sessions = panel(page, 'Sessions');
  await sessions.getByRole('row').filter({ hasText: 'alice' }).getByText('in 1 h').waitFor();
  await page.getByTitle('Advance a minute').click();
  await sessions.getByRole('row').filter({ hasText: 'alice' }).getByText('in 59 min').waitFor();
  await page.getByTitle('Advance an hour').click();
  await sessions.getByText('No sessions').waitFor();
  assert.deepEqual(await page.evaluate(() => window.columba.world.broker.clients()), []);
});

check('faults happen to the client they are for', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  await addClient(page, 'bob');
  await page.getByRole('button', { name: 'Faults', exact: true }).click();
  const faults = page.getByRole('region', { name: 'Faults', exact: true });
  await faults.getByLabel('Client that the faults are for').selectOption('alice');
  await faults.getByRole('button', { name: 'Lose next PUBACK' }).click();
  await alice.getByLabel('Topic', { exact: true }).fill('a');
  await alice.getByLabel('QoS', { exact: true }).selectOption('1');
  await alice.getByRole('button', { name: 'Publish', exact: true }).click();
  await openView(page, 'Packets');
  await panel(page, 'Packets').getByLabel('Only with faults').check();
  await panel(page, 'Packets').getByRole('row').filter({ hasText: 'PUBACK' }).waitFor();
  assert.equal(await alice.getByRole('status').innerText(), 'On its way…');
  await faults.getByRole('button', { name: 'Cut', exact: true }).click();
  await offline(page, 'alice');
  await (await card(page, 'alice')).getByRole('button', { name: 'Connect alice' }).click();
  await online(page, 'alice');
  // The client sends it again, since nobody has acknowledged it.
  await alice.getByRole('status').getByText(/^Acknowledged/).waitFor();
  await online(page, 'bob');
});

check('the theme is the one that was chosen, also after a reload', async (stage) => {
  const page = await stage.playground();
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByRole('button', { name: 'Dark theme' }).click();
  const dark = await background();
  assert.notEqual(dark, light);
  await page.reload();
  await ready(page);
  assert.equal(await background(), dark);
  await page.getByRole('button', { name: 'Light theme' }).waitFor();
});

check('starting over forgets everything', async (stage) => {
  const page = await stage.emptyPlayground();
  await addClient(page, 'alice');
  page.on('dialog', (dialog) => dialog.accept());
  await saved(page);
  await page.getByRole('button', { name: 'Reset the playground' }).click();
  await online(page, 'greenhouse');
  assert.equal(await page.evaluate(() => window.columba.world.client('alice')), undefined);
  await page.reload();
  await ready(page);
  assert.equal(await page.evaluate(() => window.columba.world.client('alice')), undefined);
});
