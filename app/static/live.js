/**
 * Live jobs.  htmx keeps a card's event stream open (hx-sse) and raises each event on the element that holds it;
 * this module writes what the events say into the card.  When a job is done, htmx fetches its card anew.
 *
 * @typedef {{step: number, steps: number, index: number, preview: string | null}} Progress
 * @typedef {{state: string, cancel_requested: boolean, position: number | null}} State
 */

const PREVIEW = "data:image/";

/** @type {string | undefined} the job whose card was brought into sight */
let shown = document.querySelector("#tray > .job")?.id;

/** @type {Record<string, (card: HTMLElement, said: any) => void>} */
const hear = {
  progress(card, /** @type {Progress} */ said) {
    const bar = card.querySelector("progress");
    bar.max = said.steps;
    bar.value = said.step;
    write(card, `Developing, step ${said.step} of ${said.steps}`);
    const frame = card.querySelector(`[data-preview="${Number(said.index)}"]`);
    if (frame && said.preview?.startsWith(PREVIEW)) frame.src = said.preview;
    card.dataset.state = "running";
  },

  state(card, /** @type {State} */ said) {
    const isNew = card.dataset.state !== said.state;
    card.dataset.state = said.state;
    if (said.cancel_requested) write(card, "Stopping");
    else if (said.state === "queued" && said.position != null) write(card, place(said.position));
    else if (said.state === "running" && isNew) write(card, "Developing");
    if (said.state === "running" && isNew) announce("Developing");
  },

  done(card, said) {
    announce(said.state === "succeeded" ? "The print is ready" : `The job has ${said.state}`);
  },

  shutdown(card) {
    write(card, "The service is restarting; this goes on by itself");
  },
};

for (const name of Object.keys(hear)) {
  document.addEventListener(name, (event) => {
    const card = event.target.matches?.("[data-stream]") && event.target.closest(".job");
    if (card && event.detail?.data) hear[name](card, JSON.parse(event.detail.data));
  });
}

document.addEventListener("click", (event) => {
  const chip = event.target.closest?.("[data-prompt]");
  if (!chip || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const prompt = document.getElementById("prompt");
  prompt.value = chip.dataset.prompt;
  prompt.focus();
});

document.addEventListener("htmx:after:swap", () => {
  // On a phone the tray is below the form: a card that was just asked for is brought into sight.
  const card = document.querySelector("#tray > .job:first-child");
  if (!card || card.id === shown) return;
  shown = card.id;
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  card.scrollIntoView({ block: "nearest", behavior: isStill ? "auto" : "smooth" });
});

document.addEventListener("htmx:config:request", () => notice(""));
document.addEventListener("htmx:error", () => notice("The service does not answer just now. Try again in a moment."));

/** @param {number} before how many jobs come first */
function place(before) {
  return before === 0 ? "Next in line" : `${before} job${before === 1 ? "" : "s"} before it`;
}

/** @param {HTMLElement} card  @param {string} text */
function write(card, text) {
  card.querySelector(".state").textContent = text;
}

/** @param {string} text for those who hear the page rather than see it */
function announce(text) {
  document.getElementById("announce").textContent = text;
}

/** @param {string} text "" hides it */
function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.hidden = text === "";
}
