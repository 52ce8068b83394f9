// The playground for whoever does not see it, does not point at it, or has it on a telephone.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { PROBE, VIEWS, addClient, openView, panel } from './playground.mjs';
import { NARROW, WIDE, here, stages } from './support.mjs';
import { furnish, tour } from './tour.mjs';

const check = stages();
/** Presses of Tab to get once round the page. */
const MOST_STOPS = 100;
const AXE = readFileSync(join(here, 'node_modules/axe-core/axe.min.js'), 'utf8');

for (const [size, viewport] of [['wide', WIDE], ['narrow', NARROW]]) {
  for (const colorScheme of ['light', 'dark']) {
    check(`no serious fault of accessibility in any view, ${size}, ${colorScheme}; nothing sticks out`, async (stage) => {
      stage.expect(PROBE);
      const page = await stage.playground({ context: await stage.context({ viewport, colorScheme }) });
      await furnish(page);
      // Not by a script element: the page's policy allows none but its own.
      await page.evaluate(AXE);
      const found = [];
      await tour(page, async (name) => {
        found.push(...(await page.evaluate(examine, colorScheme)).map((fault) => `${name}: ${fault}`));
      });
      assert.deepEqual(found, []);
    });
  }
}

/** In the page: what axe finds, if it is serious, and whether there is something to the right of what is seen. */
async function examine(colorScheme) {
  const { scrollWidth, clientWidth } = document.documentElement;
  const wide = scrollWidth > clientWidth ? [`${scrollWidth} pixels wide, of which ${clientWidth} are seen`] : [];
  // In the dark it is the same page in other colours.
  const rules = colorScheme === 'dark' ? { runOnly: ['color-contrast', 'link-in-text-block'] } : {};
  const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'], ...rules });
  const serious = violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .flatMap(({ id, nodes }) => nodes.slice(0, 5).map(({ html, any }) => `${id}: ${html.slice(0, 200)} ${any[0]?.message ?? ''}`));
  return [...wide, ...serious];
}

/** The element that has the focus, as a person knows it. */
function focused(page) {
  return page.evaluate(() => {
    const { activeElement: element } = document;
    return { role: element.getAttribute('role') ?? element.localName, name: element.getAttribute('aria-label') ?? element.textContent.trim() };
  });
}

/** Presses Tab until `wanted` is true of what has the focus. */
async function tabTo(page, wanted, key = 'Tab') {
  for (let presses = 0; presses < 100; presses += 1) {
    await page.keyboard.press(key);
    if (wanted(await focused(page))) return;
  }
  assert.fail('the focus never came there');
}

for (const [size, viewport] of [['wide', WIDE], ['narrow', NARROW]]) {
  check(`every view by keyboard alone, ${size}`, async (stage) => {
    const page = await stage.playground({ context: await stage.context({ viewport }) });
    const names = viewport === NARROW ? ['Clients', ...VIEWS] : VIEWS;
    await tabTo(page, ({ role }) => role === 'tab');
    const start = names.indexOf((await focused(page)).name);
    assert.ok(start >= 0);
    for (let i = 1; i <= names.length; i += 1) {
      await page.keyboard.press('ArrowRight');
      const name = names[(start + i) % names.length];
      assert.deepEqual(await focused(page), { role: 'tab', name });
      assert.equal(await page.getByRole('tab', { name, exact: true }).getAttribute('aria-selected'), 'true');
      await panel(page, name).waitFor();
    }
    await page.keyboard.press('End');
    assert.equal((await focused(page)).name, 'Lessons');
    await page.keyboard.press('ArrowLeft');
    assert.equal((await focused(page)).name, 'Sequence');
    await page.keyboard.press('Home');
    assert.equal((await focused(page)).name, names[0]);
    // One stop for all tabs: the next one is beyond them.
    await page.keyboard.press('Tab');
    assert.notEqual((await focused(page)).role, 'tab');
    await page.keyboard.press('Shift+Tab');
    assert.deepEqual(await focused(page), { role: 'tab', name: names[0] });
  });
}

check('a client is made, subscribes and publishes by keyboard alone', async (stage) => {
  const page = await stage.emptyPlayground();
  await tabTo(page, ({ role, name }) => role === 'button' && name === 'Add');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'New client' }).waitFor();
  assert.equal((await focused(page)).role, 'input');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.deepEqual(await focused(page), { role: 'button', name: 'Add' });
  await page.keyboard.press('Space');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('keys');
  await page.keyboard.press('Enter');
  await page.getByText(/^online/).waitFor();
  await tabTo(page, ({ name }) => name === 'keys');
  await page.keyboard.press('Enter');
  const topics = [['Topic filter', 'typed/#'], ['Topic', 'typed/here']];
  for (const [label, text] of topics) {
    await tabTo(page, ({ name }) => name === label);
    await page.keyboard.type(text);
    await page.keyboard.press('Enter');
  }
  await page.waitForFunction(() => window.columba.world.messages.length === 1);
  assert.equal(await page.evaluate(() => window.columba.world.messages.at(0).topic), 'typed/here');
});

check('the focus is always seen, and comes round with few presses', async (stage) => {
  const page = await stage.playground();
  await furnish(page);
  const hidden = new Set();
  const long = [];
  for (const name of VIEWS) {
    await openView(page, name);
    await page.getByRole('tab', { name, exact: true }).focus();
    let presses = 0;
    for (let isRound = false; !isRound && presses <= MOST_STOPS; presses += 1) {
      await page.keyboard.press('Tab');
      const focus = await page.evaluate(lookAtFocus);
      isRound = focus.isTab;
      if (!focus.isSeen) hidden.add(`${name}: ${focus.html}`);
    }
    if (presses > MOST_STOPS) long.push(name);
  }
  assert.deepEqual([...hidden], [], 'what has the focus and does not show it');
  assert.deepEqual(long, [], `views with more than ${MOST_STOPS} stops`);
});

/** In the page: whether the focus is on a tab, and whether what has it, or what that is in, or a part of it, looks different. */
function lookAtFocus() {
  const { activeElement: element } = document;
  // Between the last stop and the first one the browser's own controls have it.
  if (element === document.body) return { isSeen: true, isTab: false };
  const box = element.getBoundingClientRect();
  const isThere = box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
  const active = document.getElementById(element.getAttribute('aria-activedescendant') ?? '');
  const look = () => [element, element.parentElement, element.firstElementChild, active].map((one) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor } = one ? getComputedStyle(one) : {};
    return `${outlineStyle === 'none' ? '' : `${outlineStyle} ${outlineWidth} ${outlineColor}`} ${boxShadow} ${borderColor}`;
  }).join();
  const withFocus = look();
  element.blur();
  const without = look();
  element.focus();
  return { isSeen: isThere && withFocus !== without, isTab: element.role === 'tab', html: element.outerHTML.slice(0, 160) };
}

check('a row of packets is chosen and inspected by keyboard', async (stage) => {
  const page = await stage.playground();
  await furnish(page);
  await openView(page, 'Packets');
  const view = panel(page, 'Packets');
  await view.getByRole('grid').focus();
  await page.keyboard.press('End');
  await view.getByRole('row', { selected: true }).waitFor();
  await page.keyboard.press('Enter');
  assert.equal((await focused(page)).role, 'treeitem');
});

check('a screen reader hears what happens', async (stage) => {
  const page = await stage.emptyPlayground();
  const alice = await addClient(page, 'alice');
  await alice.getByLabel('Topic filter').fill('wrong#');
  await alice.getByRole('button', { name: 'Subscribe' }).click();
  await alice.getByRole('alert').getByText(/./).waitFor();
  await openView(page, 'Lessons');
  await panel(page, 'Lessons').getByRole('button', { name: 'Begin' }).click();
  await page.waitForFunction(() => document.getElementById('announcer').textContent !== '');
});
