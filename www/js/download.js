// Hands a file to the reader of the page.

import { h } from './dom.js';

export function download(name, data, type) {
  const url = URL.createObjectURL(new Blob([data], { type }));
  const link = h('a', { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** `columba-2026-03-01-1425.pcap` */
export function fileName(extension, what = 'columba') {
  const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString();
  return `${what}-${now.slice(0, 10)}-${now.slice(11, 16).replace(':', '')}.${extension}`;
}
