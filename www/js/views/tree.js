// The topic tree as an ARIA tree of which only the rows in sight are in the page.

import { h, icon, icons, keyed, setAttr, setText, uniqueId } from '../dom.js';
import { count, preview } from '../format.js';

const ROW = 26;
const MARGIN = 10;
/** Levels that are open when they appear. */
const OPEN_LEVELS = 3;
/** Children of one level that are laid open by themselves. */
const OPEN_CHILDREN = 50;

/** `onselect(topic)`: a path of levels, which need not have had a message itself. */
export function topicTree(model, onselect) {
  const prefix = uniqueId('tree');
  const tree = h('div.tree', { role: 'tree', tabindex: '0', 'aria-label': 'Topics', onkeydown: key });
  const scroll = h('div.scroll', { onscroll: () => draw() }, tree);
  /** Paths that were opened or closed by hand. */
  const chosen = new Map();
  let filter = '';
  let rows = [];
  let active = null;
  let selected = null;
  let everything = null;

  function isOpen(node, level) {
    if (filter) return true;
    return chosen.get(node.topic) ?? everything ?? (level < OPEN_LEVELS && node.children.size <= OPEN_CHILDREN);
  }

  function layout() {
    rows = [];
    const visit = (node, level) => {
      const children = [...node.children.values()].filter((child) => !filter || fits(child));
      children.sort((a, b) => (a.name < b.name ? -1 : 1));
      children.forEach((child, i) => {
        const open = child.children.size > 0 && isOpen(child, level);
        rows.push({ node: child, level, open, position: i + 1, of: children.length });
        if (open) visit(child, level + 1);
      });
    };
    visit(model.root, 1);
    tree.style.height = `${rows.length * ROW}px`;
    tree.hidden = rows.length === 0;
  }

  function fits(node) {
    if (node.topic.toLowerCase().includes(filter)) return true;
    for (const child of node.children.values()) if (fits(child)) return true;
    return false;
  }

  function draw() {
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - MARGIN);
    const last = Math.min(rows.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + MARGIN);
    const shown = [];
    for (let i = first; i < last; i += 1) shown.push({ ...rows[i], i });
    // The active row is named by the tree, so it is there even out of sight.
    const at = rows.findIndex(({ node }) => node.topic === active);
    if (at >= 0 && (at < first || at >= last)) shown.push({ ...rows[at], i: at });
    keyed(tree, shown, ({ node }) => node.topic, makeRow, drawRow);
    setAttr(tree, 'aria-activedescendant', at >= 0 ? `${prefix}-${at}` : null);
  }

  function makeRow({ node }) {
    const { topic } = node;
    return h('div.tree-row', { role: 'treeitem', data: { topic }, onclick: (event) => {
      if (event.target.closest('.tree-twist')) toggle(topic);
      else select(topic);
    } },
      h('span.tree-twist', null, icon(icons.chevron)),
      h('span.tree-name.mono', null, node.name || '(empty level)'),
      h('span.chip.accent', { title: 'A message is retained', hidden: true }, 'retained'),
      h('span.tree-value.mono'), h('span.tree-count'));
  }

  function drawRow(row, { node, level, open, position, of, i }) {
    row.style.top = `${i * ROW}px`;
    row.style.paddingLeft = `${(level - 1) * 16 + 6}px`;
    row.id = `${prefix}-${i}`;
    setAttr(row, 'aria-level', level);
    setAttr(row, 'aria-posinset', position);
    setAttr(row, 'aria-setsize', of);
    setAttr(row, 'aria-expanded', node.children.size ? String(open) : null);
    setAttr(row, 'aria-selected', String(node.topic === selected));
    row.classList.toggle('active', node.topic === active);
    const [, , mark, value, total] = row.children;
    mark.hidden = !node.retained;
    setText(value, node.last ? preview(node.last.payload, 80) : '');
    setText(total, node.total ? count(node.total) : '');
  }

  function toggle(topic, wanted = null) {
    const row = rows.find(({ node }) => node.topic === topic);
    if (!row?.node.children.size) return;
    chosen.set(topic, wanted ?? !row.open);
    refresh();
  }

  function select(topic) {
    selected = topic;
    activate(topic);
    onselect(topic);
  }

  function activate(topic) {
    active = topic;
    const at = rows.findIndex(({ node }) => node.topic === topic);
    if (at >= 0) {
      const top = at * ROW;
      if (top < scroll.scrollTop) scroll.scrollTop = top;
      else if (top + ROW > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + ROW - scroll.clientHeight;
    }
    draw();
  }

  function key(event) {
    const at = rows.findIndex(({ node }) => node.topic === active);
    const row = rows[at];
    const go = (index) => rows[index] && activate(rows[index].node.topic);
    const actions = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(Math.max(0, at - 1)),
      Home: () => go(0),
      End: () => go(rows.length - 1),
      ArrowRight: () => (row?.node.children.size && !row.open ? toggle(active, true) : row?.open && go(at + 1)),
      ArrowLeft: () => (row?.open ? toggle(active, false) : row?.level > 1 && activate(row.node.parent.topic)),
      Enter: () => active !== null && select(active),
      ' ': () => active !== null && select(active),
    };
    if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  function refresh() {
    layout();
    draw();
  }

  return {
    element: scroll,
    refresh,
    select,
    get length() {
      return rows.length;
    },
    setFilter(text) {
      filter = text.trim().toLowerCase();
      refresh();
    },
    openAll(open) {
      chosen.clear();
      everything = open;
      refresh();
    },
  };
}
