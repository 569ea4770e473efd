/**
 * <mask-editor name width height>: marks a part of the picture in it, with mouse, pen, finger or keys, and gives the
 * form that it is in the mask as a PNG.  Width and height are the picture's own pixels.
 */

import { Mask, marked } from "./mask.js";

const FINEST = 1024; // fine enough; what is sent is as large as the picture
const KEYS = { e: "erase", i: "invert", Delete: "clear", "[": "smaller", "]": "larger", " ": "touch", Escape: "lift" };
const WITH_CTRL = { z: "undo", Z: "redo", y: "redo" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class MaskEditor extends HTMLElement {
  static formAssociated = true;
  #internals = this.attachInternals();
  #isDown = false;
  #erases = false;
  #at = { x: 0, y: 0 };

  connectedCallback() {
    const [width, height] = ["width", "height"].map((side) => Number(this.getAttribute(side)));
    const scale = Math.min(1, FINEST / Math.max(width, height));
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, { width: Math.round(width * scale), height: Math.round(height * scale), tabIndex: 0 });
    const said = { role: "application", "aria-label": "The part that will be painted anew", "aria-describedby": "keys" };
    for (const [name, value] of Object.entries(said)) this.canvas.setAttribute(name, value);
    this.mask = new Mask(this.canvas);
    this.#at = { x: this.canvas.width / 2, y: this.canvas.height / 2 };
    this.range = this.querySelector("[name=brush]");
    this.brush = Object.assign(document.createElement("span"), { className: "brush" });
    this.querySelector(".sight").append(this.canvas, this.brush);
    for (const kind of ["down", "move", "up", "cancel"]) this.canvas.addEventListener(`pointer${kind}`, this);
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.addEventListener("click", ({ target }) => this.do(target.closest("[data-do]")?.dataset.do));
    this.range.addEventListener("input", () => this.#follow());
    this.addEventListener("change", ({ target }) => target.type === "file" && this.#take(target));
    const { form } = this.#internals;
    form.addEventListener("formdata", ({ formData }) => {
      if (this.mask.share > 0) formData.set(this.getAttribute("name"), this.mask.png(width, height));
    });
    form.addEventListener("input", ({ target }) => {
      // How far the edge will be soft, in the pixels of the screen.
      const soft = (target.value * this.canvas.clientWidth) / width;
      if (target.name === "feather") this.canvas.style.setProperty("--feather", `${soft / 2}px`);
    });
    form.elements.feather?.dispatchEvent(new Event("input", { bubbles: true }));
    this.#changed();
  }

  get radius() {
    // The range counts hundredths of half the longer side, so that it means the same on every picture.
    return Math.max(0.5, (Math.max(this.canvas.width, this.canvas.height) * this.range.value) / 400);
  }

  /** @param {string | undefined} deed  the name of a button or a key */
  do(deed) {
    if (/undo|redo|invert|clear|lift/.test(deed)) this.#isDown = false; // a stroke cannot go on in what is there then
    if (deed === "undo" || deed === "redo") this.mask[deed]();
    else if (deed === "invert" || deed === "clear") this.mask.do({ kind: deed });
    else if (deed === "erase") this.#erases = !this.#erases;
    else if (deed === "smaller" || deed === "larger") this.range.value = Number(this.range.value) + (deed === "larger" ? 5 : -5);
    else if (deed === "touch" && !this.#isDown) this.#touch(this.#erases);
    else if (deed === "touch") this.#isDown = false;
    else if (deed !== "lift") return;
    this.#changed();
  }

  /** @param {PointerEvent} event */
  handleEvent(event) {
    if (!event.isPrimary) return; // one finger paints
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    const to = (each) => ({ x: (each.clientX - box.left) * scale, y: (each.clientY - box.top) * scale });
    if (event.type === "pointerdown") {
      this.canvas.setPointerCapture(event.pointerId);
      this.#at = to(event);
      // The right button, and the blunt end of a pen, take away.
      this.#touch(this.#erases || event.button === 2 || event.button === 5, event);
    } else if (event.type === "pointermove") {
      // All the places it was since the last one was drawn.
      for (const each of event.getCoalescedEvents?.() ?? [event]) this.#move(to(each), each);
    } else {
      this.#isDown = false;
      this.#changed();
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const isCommand = event.ctrlKey || event.metaKey;
    const name = event.key.length === 1 && !event.shiftKey ? event.key.toLowerCase() : event.key;
    if (ARROWS[name]) {
      const pace = Math.max(1, this.canvas.width / (event.shiftKey ? 10 : 64));
      const [x, y] = ARROWS[name].map((way, axis) => way * pace + (axis ? this.#at.y : this.#at.x));
      this.#move({ x: Math.min(Math.max(0, x), this.canvas.width), y: Math.min(Math.max(0, y), this.canvas.height) });
    } else if (isCommand ? WITH_CTRL[name] : KEYS[name]) this.do(isCommand ? WITH_CTRL[name] : KEYS[name]);
    else return;
    event.preventDefault();
  }

  #touch(erases, event) {
    this.#isDown = true;
    this.mask.do({ kind: "stroke", erases, dabs: [this.#dab(event)] });
    this.#follow();
  }

  #move(to, event) {
    this.#at = to;
    if (this.#isDown) this.mask.extend(this.#dab(event));
    this.#follow();
  }

  #dab(event) {
    const press = event?.pointerType === "pen" ? 0.25 + event.pressure : 1; // only a pen knows how hard
    return { ...this.#at, radius: this.radius * press };
  }

  #follow() {
    const { width, height } = this.canvas;
    const shares = { left: this.#at.x / width, top: this.#at.y / height, width: (2 * this.radius) / width };
    for (const [side, share] of Object.entries(shares)) this.brush.style[side] = `${100 * share}%`;
  }

  async #take(input) {
    if (!input.files[0]) return;
    const deed = await marked(input.files[0], this.canvas.width, this.canvas.height).catch(() => null);
    if (deed) this.mask.do(deed);
    // It is painted now, and can be changed; the file itself would override that.
    input.value = "";
    this.#changed();
    if (!deed) this.querySelector("[role=status]").textContent = "That file is no picture.";
  }

  #changed() {
    const { share } = this.mask;
    const percent = share < 0.005 ? "Less than 1" : Math.round(share * 100);
    const said = share ? `${percent} % of the picture will be painted anew.` : "Paint over what should change.";
    this.querySelector("[role=status]").textContent = this.#isDown ? `The brush is down. ${said}` : said;
    const is = (deed) => this.querySelector(`[data-do=${deed}]`);
    is("erase").setAttribute("aria-pressed", String(this.#erases));
    const idle = { undo: !this.mask.canUndo, redo: !this.mask.canRedo, clear: !share };
    for (const deed in idle) is(deed).disabled = idle[deed];
    this.#internals.setValidity(share ? {} : { valueMissing: true }, "Paint over what should change first.", this.canvas);
    this.#follow();
  }
}

customElements.define("mask-editor", MaskEditor);
