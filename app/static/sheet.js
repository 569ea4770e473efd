/**
 * A contact sheet under the hand, and the way along it from print to print.
 *
 * Arrow keys walk over the frames; the other keys press buttons that are on the page, so that a key does nothing a
 * click could not do.  The order of the last sheet is kept for the tab, and an open print leads to its neighbours.
 */

const ORDER = "darkroom.sheet";
const ALONG = { ArrowLeft: -1, ArrowRight: 1 };

/** @type {HTMLInputElement | null} the frame that was marked last, for Shift */
let lastMark = null;

/** @returns {HTMLElement[]} */
const frames = () => [...document.querySelectorAll(".sheet > .frame")];
const count = document.getElementById("count");
const bar = () => document.querySelector(".bar");

/** @param {HTMLElement} frame */
const box = (frame) => frame.querySelector('input[name="ids"]');

/** @param {string} selector  @param {ParentNode | null | undefined} within  @returns {boolean} whether there was one */
function press(selector, within = document) {
  const button = within?.querySelector(selector);
  button?.click();
  return Boolean(button);
}

/** Keeps the order of the sheet that is on the page. */
function keep() {
  const ids = frames().map((frame) => frame.id.slice("frame-".length));
  if (ids.length) sessionStorage.setItem(ORDER, JSON.stringify(ids));
  tell();
}

/** Says how many are marked. */
function tell() {
  const marked = document.querySelectorAll('input[name="ids"]:checked').length;
  bar()?.classList.toggle("used", marked > 0);
  if (count) count.textContent = marked ? `${marked} marked` : "";
}

/** @param {HTMLElement} frame  @param {number} way  how many frames on; a row counts its frames */
function walk(frame, key) {
  const all = frames();
  const at = all.indexOf(frame);
  const row = all.findIndex((each) => each.offsetTop > all[0].offsetTop);
  const step = ALONG[key] ?? (key === "ArrowDown" ? 1 : -1) * (row < 0 ? all.length : row);
  (at < 0 ? all[0] : all[at + step])?.querySelector("a").focus();
}

/** @param {HTMLInputElement} mark  @param {boolean} isRange  all from the last marked */
function range(mark, isRange) {
  const boxes = frames().map(box);
  const [from, to] = [boxes.indexOf(lastMark), boxes.indexOf(mark)].sort((a, b) => a - b);
  if (isRange && from >= 0) for (const each of boxes.slice(from, to + 1)) each.checked = mark.checked;
  lastMark = mark;
  tell();
}

/** What the keys do; each says whether it did. */
const keys = {
  "/": () => {
    const search = document.getElementById("q");
    search?.focus();
    return Boolean(search);
  },
  "?": () => press(".help > summary"),
  u: () => press("#done button"),
  f: (frame) => press("#star") || press(".star", frame),
  Delete: (frame) => {
    if (frame && !document.querySelector('input[name="ids"]:checked')) box(frame).checked = true;
    return press("#delete");
  },
  x: (frame, event) => {
    if (!frame) return false;
    box(frame).checked = !box(frame).checked;
    range(box(frame), event.shiftKey);
    return true;
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  const frame = event.target.closest(".frame");
  const print = document.querySelector("[data-print]");
  if (event.key.startsWith("Arrow") && (frame || (!print && event.target === document.body && frames().length))) walk(frame, event.key);
  else if (print && event.key in ALONG) { if (!press(`[data-along="${ALONG[event.key]}"]:not([hidden])`)) return; }
  else if (print && /^[0-5]$/.test(event.key)) rate(event.key);
  else if (!keys[event.key.length === 1 ? event.key.toLowerCase() : event.key]?.(frame, event)) return;
  event.preventDefault();
});

/** @param {string} stars  0: the press on the present rating takes it back */
function rate(stars) {
  const dots = [...document.querySelectorAll("[data-rating]")];
  const rated = dots.filter((dot) => dot.getAttribute("aria-pressed") === "true").length;
  if (Number(stars) !== rated) dots[(Number(stars) || rated) - 1]?.click();
}

document.addEventListener("click", (event) => {
  if (event.target.name === "ids") range(event.target, event.shiftKey);
});
document.addEventListener("change", (event) => {
  if (event.target.matches("#search select, #search [type=checkbox]")) event.target.form.requestSubmit();
});
document.addEventListener("reset", () => setTimeout(tell));
document.addEventListener("htmx:after:swap", keep);
keep();

const print = document.querySelector("[data-print]");
if (print) {
  const ids = JSON.parse(sessionStorage.getItem(ORDER) ?? "[]");
  const at = ids.indexOf(print.dataset.print);
  for (const link of document.querySelectorAll("[data-along]")) {
    const id = at < 0 ? undefined : ids[at + Number(link.dataset.along)];
    if (id) link.href = `/images/${id}`;
    link.hidden = !id;
  }
}
