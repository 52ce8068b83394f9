// The lessons: text on one side, the packets of the lesson on the other.

import { init } from '../../columba/columba.js';
import { announce, h, later, setText } from '../dom.js';
import { Inspector } from '../inspector.js';
import { lessons } from '../lessons/index.js';
import { LessonRun, runLesson } from '../lessons/run.js';
import { SequenceDiagram } from '../sequence/diagram.js';

const STANDARD = 'https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html';

/** For tests and the console. */
window.columbaLessons = {
  ids: lessons.map(({ id }) => id),
  async run(id) {
    await init();
    return runLesson(lessons.find((lesson) => lesson.id === id));
  },
  async runAll() {
    await init();
    const results = [];
    for (const lesson of lessons) results.push(await runLesson(lesson));
    return results;
  },
};

export function create() {
  return new LessonsView();
}

class LessonsView {
  #run = null;
  #busy = false;
  #results = new Map();

  constructor() {
    this.links = lessons.map((lesson, i) =>
      h('button.lesson-link', { type: 'button', onclick: () => this.#open(lesson) },
        h('span.lesson-number', { 'aria-hidden': 'true' }, String(i + 1)),
        h('span.lesson-name', null, lesson.title, h('span.visually-hidden', null, ''))));
    this.nav = h('nav.lesson-nav', { 'aria-label': 'Lessons' }, h('ol', null, this.links.map((link) => h('li', null, link))));
    this.title = h('h2.lesson-title', { tabindex: '-1' });
    this.intent = h('p.lesson-intent');
    this.section = h('p.lesson-section');
    this.steps = h('ol.lesson-steps');
    this.end = h('div.lesson-end', { hidden: true });
    this.nextButton = h('button.primary', { type: 'button', onclick: () => this.#next() }, 'Next');
    this.allButton = h('button', { type: 'button', onclick: () => this.#runAll() }, 'Run all');
    this.againButton = h('button', { type: 'button', onclick: () => this.#open(this.#run.lesson) }, 'Restart');
    this.inspector = new Inspector({ onclose: () => (this.inspector.element.hidden = true) });
    this.packets = h('div.lesson-packets');
    this.text = h('div.lesson-text', null, this.title, this.intent, this.steps, this.end, this.section);
    this.element = h(
      'div.lessons',
      null,
      this.nav,
      h('div.lesson-column', null, this.text, h('div.lesson-buttons', null, this.nextButton, this.allButton, this.againButton)),
      this.packets,
    );
    this.#redraw = later(() => this.#drawPackets(), 50);
  }

  #redraw;

  show() {
    if (!this.#run) this.#open(lessons[0], false);
    else this.#drawPackets();
  }

  hide() {}

  #open(lesson, focus = true) {
    this.#run?.close();
    const run = new LessonRun(lesson);
    this.#run = run;
    this.#busy = false;
    run.log.subscribe(this.#redraw);
    this.diagram = new SequenceDiagram({
      order: lesson.lanes,
      laneOf: (entry) => run.context.names.get(entry.connection) ?? entry.who,
      label: `Packets of the lesson “${lesson.title}”`,
      empty: 'The packets appear here, step by step.',
      onselect: (entry) => this.#inspect(entry),
    });
    this.inspector.element.hidden = true;
    this.packets.replaceChildren(this.diagram.element, this.inspector.element);
    setText(this.title, lesson.title);
    setText(this.intent, lesson.intent);
    this.section.replaceChildren('MQTT 5.0, ', h('a', { href: STANDARD, target: '_blank', rel: 'noopener' }, `section ${lesson.section}`));
    this.steps.replaceChildren(
      ...lesson.steps.map((step) => h('li.lesson-step', null, h('p.lesson-say', null, step.say), h('p.lesson-seen', { hidden: true }))),
    );
    this.text.scrollTop = 0;
    this.#draw();
    if (focus) this.title.focus({ preventScroll: true });
  }

  #inspect(entry) {
    this.inspector.element.hidden = false;
    this.inspector.show(entry);
  }

  async #next() {
    const run = this.#run;
    if (this.#busy || run.isOver) return;
    this.#busy = true;
    this.#draw();
    await run.next();
    // Another lesson may have been opened meanwhile.
    if (this.#run !== run) return;
    this.#busy = false;
    if (run.isOver) this.#results.set(run.lesson.id, run.error === undefined);
    this.diagram.follow();
    this.#draw();
    announce(run.error ? `The step failed: ${run.error.message}` : run.seen.at(-1));
  }

  async #runAll() {
    const run = this.#run;
    while (this.#run === run && !run.isOver) await this.#next();
  }

  #draw() {
    const { lesson, done, seen, error } = this.#run;
    const { isOver } = this.#run;
    [...this.steps.children].forEach((item, i) => {
      const isFailed = error !== undefined && i === done;
      const isCurrent = i === done && !isFailed;
      item.className = `lesson-step ${i < done ? 'is-done' : isFailed ? 'is-failed' : isCurrent ? 'is-current' : 'is-ahead'}`;
      if (isCurrent) item.setAttribute('aria-current', 'step');
      else item.removeAttribute('aria-current');
      const [, outcome] = item.children;
      outcome.hidden = i >= done && !isFailed;
      setText(outcome, isFailed ? `This did not hold. ${error.message ?? error}` : seen[i] ?? '');
    });
    const next = this.steps.children[Math.min(done, lesson.steps.length - 1)];
    if (done) next.scrollIntoView({ block: 'nearest' });
    this.end.hidden = !isOver || error !== undefined;
    if (!this.end.hidden) {
      this.end.replaceChildren(h('p', null, h('strong', null, 'What this shows. '), lesson.end));
      this.end.scrollIntoView({ block: 'nearest' });
    }
    this.nextButton.disabled = isOver || this.#busy;
    setText(this.nextButton, error ? 'Stopped' : isOver ? 'Done' : done ? 'Next' : 'Begin');
    this.allButton.disabled = isOver || this.#busy;
    this.#drawLinks();
    this.#drawPackets();
  }

  #drawLinks() {
    this.links.forEach((link, i) => {
      const result = this.#results.get(lessons[i].id);
      if (lessons[i] === this.#run.lesson) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
      link.dataset.result = result === undefined ? '' : result ? 'ok' : 'failed';
      setText(link.querySelector('.visually-hidden'), result === undefined ? '' : result ? ', done' : ', failed');
      setText(link.firstElementChild, result === undefined ? i + 1 : result ? '✓' : '✗');
    });
    const current = this.links[lessons.indexOf(this.#run.lesson)];
    current.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  #drawPackets() {
    this.diagram.draw(this.#run.log.slice());
  }
}
