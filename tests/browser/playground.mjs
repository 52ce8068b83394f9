// The playground as a person uses it: what its forms, tabs and lists are called.

export const VIEWS = ['Topics', 'Messages', 'Plots', 'Retained', 'Sessions', 'Packets', 'Sequence', 'Lessons'];

/** What the console says when the dialog of brokers asks whether the page's server is one, and it is none. */
export const PROBE = /WebSocket connection to '[^']*\/mqtt' failed/;

/** Shows a view, or, in a narrow page, the clients. */
export async function openView(page, name) {
  await page.getByRole('tab', { name, exact: true }).click();
}

export function panel(page, name) {
  return page.getByRole('tabpanel', { name, exact: true });
}

/** Adds a client by its form; resolves with its card when it is online. `will`: { topic, payload, qos }. */
export async function addClient(page, name, { version, will, username } = {}) {
  await page.getByRole('region', { name: 'Clients', exact: true }).getByRole('button', { name: 'Add', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'New client' });
  await dialog.getByLabel('Name', { exact: true }).fill(name);
  if (version) await dialog.getByLabel('Version', { exact: true }).selectOption(version);
  if (username) await dialog.getByLabel('Username', { exact: true }).fill(username);
  if (will) {
    await dialog.getByLabel('Leave a will').check();
    const fields = dialog.getByRole('group', { name: 'Will', exact: true });
    await fields.getByLabel('Topic', { exact: true }).fill(will.topic);
    await fields.getByLabel('Payload', { exact: true }).fill(will.payload);
    await fields.getByLabel('QoS', { exact: true }).selectOption(String(will.qos ?? 0));
  }
  await dialog.getByRole('button', { name: 'Add client' }).click();
  await dialog.waitFor({ state: 'detached' });
  return online(page, name);
}

/** The card of a client, opened. */
export async function card(page, name) {
  const card = page.getByRole('article').filter({ has: page.getByRole('button', { name, exact: true }) });
  const toggle = card.getByRole('button', { name, exact: true });
  if ((await toggle.getAttribute('aria-expanded')) !== 'true') await toggle.click();
  return card;
}

/** The card of a client, as soon as it is online. */
export async function online(page, name) {
  const found = await card(page, name);
  await found.getByText(/^online/).waitFor();
  return found;
}

/** The card of a client, as soon as it is offline. */
export async function offline(page, name) {
  const found = await card(page, name);
  await found.getByText(/^offline/).waitFor();
  return found;
}

/** Subscribes by the form of a card; resolves when the subscription is in its list. */
export async function subscribe(card, filter, qos) {
  await card.getByLabel('Topic filter', { exact: true }).fill(filter);
  await card.getByLabel('Highest QoS', { exact: true }).selectOption(String(qos));
  await card.getByRole('button', { name: 'Subscribe', exact: true }).click();
  await card.getByRole('listitem').filter({ hasText: filter }).getByText(`QoS ${qos}`).waitFor();
}

/** Publishes by the form of a card; resolves when it says that this is done. */
export async function publish(card, topic, payload, { qos = 0, retain = false } = {}) {
  await card.getByLabel('Topic', { exact: true }).fill(topic);
  await card.getByLabel('Payload', { exact: true }).fill(payload);
  await card.getByLabel('QoS', { exact: true }).selectOption(String(qos));
  await card.getByLabel('Retain', { exact: true }).setChecked(retain);
  await card.getByRole('button', { name: 'Publish', exact: true }).click();
  await card.getByRole('status').getByText(qos ? /^Acknowledged/ : 'Sent').waitFor();
}

/** The list of messages in its view, newest first, each [client, topic, flags, value], as soon as there are so many. */
export async function messages(page, count) {
  await openView(page, 'Messages');
  const rows = page.getByRole('list', { name: 'Messages' }).getByRole('button');
  await rows.nth(count - 1).waitFor();
  return rows.evaluateAll((all) => all.map((row) => [...row.children].slice(1).map((cell) => cell.textContent)));
}

/** Opens the dialog that says where the broker is. */
export async function openTarget(page) {
  await page.getByTitle('Where the broker is').click();
  return page.getByRole('dialog', { name: 'Where the broker is' });
}

/** The address that the page offers for sharing. */
export async function sharedAddress(page) {
  await page.getByRole('button', { name: 'Share', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'Share this scenario' });
  const address = dialog.getByLabel('Address', { exact: true });
  await page.waitForFunction((area) => area.value !== '', await address.elementHandle());
  const value = await address.inputValue();
  await dialog.getByRole('button', { name: 'Close' }).click();
  return value;
}
