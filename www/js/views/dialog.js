// A modal dialog with a form: Escape and Cancel close it, what throws on submit is shown in it.

import { h, iconButton, uniqueId } from '../dom.js';

/** `danger`: { label, run } is one more button that ends the dialog. Without `submit` there is only a way to close it. */
export function openDialog({ title, body, submit = null, onsubmit = null, danger = null, wide = false }) {
  const heading = h('h2', { id: uniqueId('dialog') }, title);
  const error = h('p.error-text', { role: 'alert' });
  const close = () => dialog.close();
  const foot = h('div.dialog-foot', null,
    danger && h('button.danger.quiet', { type: 'button', onclick: () => { danger.run(); close(); } }, danger.label),
    error, h('span.grow'),
    h('button', { type: 'button', onclick: close }, submit ? 'Cancel' : 'Close'),
    submit && h('button.primary', { type: 'submit', data: { action: 'submit' } }, submit));
  const form = h('form', { onsubmit: send },
    h('div.dialog-head', null, heading, iconButton('close', 'Close', close)),
    h('div.dialog-body', { tabindex: '-1' }, body),
    foot);
  const dialog = h('dialog', { 'aria-labelledby': heading.id, class: wide ? 'wide' : null }, form);

  async function send(event) {
    event.preventDefault();
    try {
      await onsubmit?.();
      close();
    } catch (failure) {
      error.textContent = failure.message;
    }
  }

  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  form.querySelector('.dialog-body input, .dialog-body select, .dialog-body button')?.focus();
  return { dialog, close };
}
