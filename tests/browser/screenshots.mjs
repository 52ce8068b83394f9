// Pictures of every view, wide and narrow, light and dark: `node screenshots.mjs FOLDER`.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { NARROW, WIDE, launch, ready, serve } from './support.mjs';
import { furnish, tour } from './tour.mjs';

const [folder] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node screenshots.mjs FOLDER');
  process.exit(2);
}
await mkdir(folder, { recursive: true });
const [browser, server] = await Promise.all([launch(), serve()]);
try {
  for (const viewport of [WIDE, NARROW]) {
    for (const colorScheme of ['light', 'dark']) {
      const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
      const page = await context.newPage();
      await page.goto(server.url);
      await ready(page);
      await furnish(page);
      await tour(page, async (name) => {
        // What draws in a frame soon has drawn two frames later.
        await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
        const file = `${name.toLowerCase().replaceAll(' ', '-')}-${viewport.width}-${colorScheme}.png`;
        await page.screenshot({ path: join(folder, file) });
        console.log(file);
      });
      await context.close();
    }
  }
} finally {
  await browser.close();
  await server.close();
}
