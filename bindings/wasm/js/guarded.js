/** Calls a listener. What it throws is its program's affair, as it is in the browser's own events. */
export function guarded(call) {
  try {
    call();
  } catch (error) {
    if (typeof reportError === 'function') reportError(error);
    else queueMicrotask(() => { throw error; });
  }
}
