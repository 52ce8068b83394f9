// The difference of two texts as runs of { kind: 'same' | 'added' | 'removed', text }.

/** Above so many cells the middle counts as replaced as a whole: a diff is for reading, not for its own sake. */
const CELLS = 1_000_000;

export function diffLines(before, after) {
  return diff(before.split('\n'), after.split('\n'), '\n');
}

/** By words, numbers and single signs. */
export function diffWords(before, after) {
  const parts = (text) => text.match(/[\p{L}_]+|\d+|\s+|./gsu) ?? [];
  return diff(parts(before), parts(after), '');
}

function diff(a, b, joint) {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail += 1;
  const steps = [
    ...a.slice(0, head).map((text) => ['same', text]),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...a.slice(a.length - tail).map((text) => ['same', text]),
  ];
  const runs = [];
  for (const [kind, text] of steps) {
    if (runs.at(-1)?.kind === kind) runs.at(-1).text += joint + text;
    else runs.push({ kind, text });
  }
  return runs;
}

/** By the longest common subsequence. */
function middle(a, b) {
  const removed = a.map((text) => ['removed', text]);
  const added = b.map((text) => ['added', text]);
  if (!a.length || !b.length || a.length * b.length > CELLS) return [...removed, ...added];
  const width = b.length + 1;
  const best = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      best[i * width + j] =
        a[i] === b[j]
          ? best[(i + 1) * width + j + 1] + 1
          : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
    }
  }
  const steps = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      steps.push(['same', a[i]]);
      i += 1;
      j += 1;
    } else if (best[(i + 1) * width + j] >= best[i * width + j + 1]) {
      steps.push(removed[i]);
      i += 1;
    } else {
      steps.push(added[j]);
      j += 1;
    }
  }
  return [...steps, ...removed.slice(i), ...added.slice(j)];
}
