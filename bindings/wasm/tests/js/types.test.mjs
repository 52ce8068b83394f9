// The type declarations, as TypeScript reads them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

test('the declarations fit their use, for import and for require', async () => {
  const folder = fileURLToPath(new URL('.', import.meta.url));
  const command = ['node_modules/typescript/bin/tsc', '--project', 'types'];
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: folder }).catch((error) => error);
  assert.equal(stdout, '');
});
