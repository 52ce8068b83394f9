// What the tests in a browser share: the site on a web server of their own, Chromium, and pages that tell what went wrong in them.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const here = fileURLToPath(new URL('.', import.meta.url));
export const root = fileURLToPath(new URL('../../', import.meta.url));
export const site = process.env.COLUMBA_WEB ?? join(root, 'target/web');

/** How long anything may take, in milliseconds. */
export const PATIENCE = 20_000;
/** How long a test may take. */
const WHOLE = 90_000;
/** Of one test; a page that is broken tells it again and again. */
const MOST_FAULTS = 20;

export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 390, height: 844 };

/** The site does not choose where it lies. */
const BASE = '/some/where/';
/** Pages and workers of the tests, and the clients that they load. */
const FOLDERS = [
  [`${BASE}test/vendor/mqtt/`, join(here, 'node_modules/mqtt/dist')],
  [`${BASE}test/vendor/paho/`, join(here, 'node_modules/paho-mqtt')],
  [`${BASE}test/`, join(here, 'pages')],
  [BASE, site],
];
const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Serves the site from a free port: `{ url, close() }`. Nothing is at `/`, nothing is guessed, nothing is kept. */
export async function serve() {
  assert.ok(existsSync(join(site, 'index.html')), `there is no site in ${site}: cargo xtask web makes it`);
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const [prefix, folder] = FOLDERS.find(([prefix]) => path.startsWith(prefix)) ?? [];
    const name = folder && (path === BASE ? 'index.html' : path.slice(prefix.length));
    try {
      const body = await readFile(join(folder, name));
      const type = TYPES[extname(name)] ?? 'application/octet-stream';
      response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}${BASE}`, close };
}

/** Chromium with nothing in it: Playwright gives each a new profile. */
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS });
}

/**
 * A function like `test` for one file, whose tests share a browser and a server. The test gets a `Stage`; it fails, too, if a
 * page says on its console that something is wrong, or asks for something that is not there.
 */
export function stages() {
  let browser;
  let server;
  before(async () => {
    [browser, server] = await Promise.all([launch(), serve()]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });
  return (name, body, options = {}) =>
    test(name, { timeout: WHOLE, ...options }, async (t) => {
      const stage = new Stage(browser, server.url, t);
      try {
        await body(stage, t);
        assert.deepEqual(stage.faults, [], 'a page says that something is wrong');
      } catch (error) {
        for (const fault of stage.faults) t.diagnostic(fault);
        throw error;
      } finally {
        await stage.close();
      }
    });
}

class Stage {
  #browser;
  #contexts = [];
  #expected = [];
  #main;
  /** What pages complained about. */
  faults = [];

  constructor(browser, url) {
    this.#browser = browser;
    this.url = url;
  }

  /** A context of its own: another person's browser. */
  async context(options = {}) {
    const context = await this.#browser.newContext({ viewport: WIDE, reducedMotion: 'reduce', ...options });
    context.setDefaultTimeout(PATIENCE);
    context.on('page', (page) => this.#watch(page));
    this.#contexts.push(context);
    return context;
  }

  /** A page in the test's context, or in another. */
  async page(context) {
    return (context ?? (this.#main ??= await this.context())).newPage();
  }

  /** The playground, with the world of a first visit. */
  async playground({ context, query = '', hash = '', url = this.url } = {}) {
    const page = await this.page(context);
    await page.goto(`${url}${query}${hash}`);
    await ready(page);
    return page;
  }

  /** The playground with nobody in it. */
  async emptyPlayground(options) {
    const page = await this.playground(options);
    await page.evaluate(() => window.columba.world.reset());
    return page;
  }

  /** A page that has the package and the clients loaded and nothing else. */
  async bare(context) {
    const page = await this.page(context);
    await page.goto(`${this.url}test/bare.html`);
    await page.waitForFunction(() => window.isReady);
    return page;
  }

  /** From now on this is no fault. */
  expect(pattern) {
    this.#expected.push(pattern);
  }

  async close() {
    for (const context of this.#contexts) await context.close();
  }

  #watch(page) {
    const note = (what) => {
      if (this.faults.length < MOST_FAULTS && !this.#expected.some((pattern) => pattern.test(what))) this.faults.push(what);
    };
    page.on('console', (message) => message.type() === 'error' && note(`console: ${message.text()} (${message.location().url})`));
    page.on('pageerror', (error) => note(`thrown: ${String(error.stack ?? error).split('\n', 3).join('')}`));
    page.on('requestfailed', (request) => note(`failed: ${request.url()}: ${request.failure()?.errorText}`));
    page.on('response', (response) => response.status() >= 400 && note(`${response.status()}: ${response.url()}`));
    page.on('crash', () => note('the page crashed'));
  }
}

/** Waits until the playground has begun. */
export function ready(page) {
  return page.waitForFunction(() => document.documentElement.dataset.ready !== undefined);
}

/** Waits until `condition`, a function for the page, is true there. */
export function until(page, condition, argument) {
  return page.waitForFunction(condition, argument, { timeout: PATIENCE });
}

/** Waits until `condition` returns something. */
export async function eventually(condition, what) {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(performance.now() < end, `${what} did not come to be`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
