// A line chart on a canvas: series over time, on one scale or each on its own.

import { clockTime } from '../format.js';

const LEFT = 56;
const BOTTOM = 22;
const TOP = 10;
const RIGHT = 12;
const GAP = 14;

/** `series`: [{ points, colour, dash, label }]; `from`, `to`: milliseconds; `pointer`: x or null. Returns what is under it. */
export function drawChart(canvas, { series, from, to, apart, pointer, colours }) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (!width || !height) return null;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `11px ${colours.sans}`;
  const x = (time) => LEFT + ((time - from) / (to - from || 1)) * (width - LEFT - RIGHT);
  const groups = apart ? series.map((one) => [one]) : [series];
  const each = (height - TOP - BOTTOM - GAP * (groups.length - 1)) / groups.length;
  timeAxis(context, { from, to, x, width, height, colours });
  groups.forEach((members, i) => {
    const top = TOP + i * (each + GAP);
    const [low, high] = range(members, from);
    const y = (value) => top + each - ((value - low) / (high - low)) * each;
    valueAxis(context, { low, high, y, top, each, width, colours });
    context.save();
    context.beginPath();
    context.rect(LEFT, top - 2, width - LEFT - RIGHT, each + 4);
    context.clip();
    for (const one of members) line(context, one, x, y);
    context.restore();
  });
  if (pointer === null || pointer < LEFT || pointer > width - RIGHT) return null;
  const time = from + ((pointer - LEFT) / (width - LEFT - RIGHT)) * (to - from);
  context.strokeStyle = colours.muted;
  context.beginPath();
  context.moveTo(pointer + 0.5, TOP);
  context.lineTo(pointer + 0.5, height - BOTTOM);
  context.stroke();
  return { time, values: series.map(({ points }) => valueAt(points, time)) };
}

function range(members, from) {
  let low = Infinity;
  let high = -Infinity;
  for (const { points } of members) {
    for (const point of points) {
      if (point.time < from) continue;
      low = Math.min(low, point.low);
      high = Math.max(high, point.high);
    }
  }
  if (low > high) return [0, 1];
  if (low === high) return [low - 1, high + 1];
  const room = (high - low) * 0.06;
  return [low - room, high + room];
}

function line(context, { points, colour, dash }, x, y) {
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.5;
  context.setLineDash(dash);
  context.beginPath();
  for (const { time, low, high, last } of points) {
    const at = x(time);
    if (low !== high) {
      context.lineTo(at, y(low));
      context.lineTo(at, y(high));
    }
    context.lineTo(at, y(last));
  }
  context.stroke();
  context.setLineDash([]);
  if (points.length > 120) return;
  for (const { time, last } of points) {
    context.beginPath();
    context.arc(x(time), y(last), 2, 0, 7);
    context.fill();
  }
}

function valueAxis(context, { low, high, y, top, each, width, colours }) {
  const step = niceStep((high - low) / Math.max(2, each / 44));
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    const at = Math.round(y(value)) + 0.5;
    if (at < top || at > top + each) continue;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(LEFT, at);
    context.lineTo(width - RIGHT, at);
    context.stroke();
    context.fillStyle = colours.muted;
    context.fillText(shortNumber(value, step), LEFT - 7, at);
  }
}

function timeAxis(context, { from, to, x, width, height, colours }) {
  const step = niceTime((to - from) / Math.max(3, width / 100));
  context.textAlign = 'center';
  context.textBaseline = 'alphabetic';
  context.fillStyle = colours.muted;
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    const at = x(time);
    if (time < 0 || at < LEFT + 20 || at > width - 24) continue;
    context.fillText(clockTime(time, step < 1000 ? 1 : 0), at, height - 6);
  }
}

function valueAt(points, time) {
  let found = null;
  for (const point of points) {
    if (point.time > time) break;
    found = point.last;
  }
  return found;
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const ratio = rough / power;
  return power * (ratio > 5 ? 10 : ratio > 2 ? 5 : ratio > 1 ? 2 : 1);
}

function niceTime(rough) {
  const steps = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000];
  return steps.find((step) => step >= rough) ?? Math.ceil(rough / 3_600_000) * 3_600_000;
}

export function shortNumber(value, step = 0) {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 1e6) return value.toExponential(2);
  const digits = step ? Math.max(0, Math.min(6, -Math.floor(Math.log10(step)))) : 2;
  const text = value.toFixed(digits);
  return step ? text : text.replace(/\.?0+$/, '');
}
