// Each lesson runs to its end, by itself and by its buttons.

import assert from 'node:assert/strict';

import { openView, panel } from './playground.mjs';
import { stages } from './support.mjs';

const check = stages();

/** What there has to be a lesson about. */
const SUBJECTS = [
  'qos-0', 'qos-1', 'qos-2', 'retained', 'will', 'will-delay', 'session-expiry', 'shared', 'receive-maximum', 'topic-alias',
  'message-expiry', 'request-response', 'no-local', 'takeover',
];

check('all lessons end well', async (stage) => {
  const page = await stage.playground();
  await openView(page, 'Lessons');
  const ids = await page.evaluate(() => window.columbaLessons.ids);
  for (const subject of SUBJECTS) assert.ok(ids.includes(subject), `there is no lesson about ${subject}`);
  const results = await page.evaluate(() => window.columbaLessons.runAll());
  assert.deepEqual(results.map(({ id }) => id), ids);
  assert.deepEqual(results.filter(({ ok }) => !ok), []);
});

check('a lesson is gone through step by step, and its packets are drawn and explained', async (stage) => {
  const page = await stage.emptyPlayground();
  await openView(page, 'Lessons');
  const view = panel(page, 'Lessons');
  const lessons = view.getByRole('navigation', { name: 'Lessons' });
  await lessons.getByRole('button', { name: /QoS 2/ }).click();
  const steps = await view.locator('.lesson-steps > li').count();
  assert.ok(steps >= 3);
  await view.getByRole('button', { name: 'Begin' }).click();
  await view.locator('[aria-current="step"]').waitFor();
  for (let step = 2; step <= steps; step += 1) await view.getByRole('button', { name: 'Next' }).click();
  await view.getByRole('button', { name: 'Done', exact: true }).waitFor();
  await view.getByText('What this shows.').waitFor();
  await lessons.getByRole('button', { name: /QoS 2.*, done/ }).waitFor();
  const diagram = view.locator('.lesson-packets svg').first();
  for (const name of ['PUBREC', 'PUBREL', 'PUBCOMP']) await diagram.locator('text').filter({ hasText: name }).first().waitFor();
  // The tab's own broker has nothing to do with it.
  assert.deepEqual(await page.evaluate(() => window.columba.world.broker.clients()), []);
});

check('every lesson can be run by its button', async (stage) => {
  const page = await stage.emptyPlayground();
  await openView(page, 'Lessons');
  const view = panel(page, 'Lessons');
  const links = view.getByRole('navigation', { name: 'Lessons' }).getByRole('button');
  const count = await links.count();
  for (let i = 0; i < count; i += 1) {
    await links.nth(i).click();
    await view.getByRole('button', { name: 'Run all' }).click();
    await view.getByText('What this shows.').waitFor();
    assert.equal(await view.getByText('This did not hold').filter({ visible: true }).count(), 0);
  }
  assert.equal(await view.getByRole('navigation', { name: 'Lessons' }).getByRole('button', { name: /, done$/ }).count(), count);
});
