/** <compare-slider label>: two figures on each other, and a handle that uncovers one or the other. */

const STEPS = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };

class CompareSlider extends HTMLElement {
  connectedCallback() {
    if (this.handle) return;
    this.handle = document.createElement("div");
    this.handle.className = "handle";
    const said = { role: "slider", tabindex: "0", "aria-label": this.getAttribute("label"), "aria-valuemin": "0", "aria-valuemax": "100" };
    for (const [name, value] of Object.entries(said)) this.handle.setAttribute(name, value);
    this.names = [...this.querySelectorAll("figcaption")].map((caption) => caption.textContent.trim());
    this.append(this.handle);
    this.at = 50;

    this.handle.addEventListener("keydown", (event) => {
      if (!STEPS[event.key]) return;
      event.preventDefault();
      this.at = this.at + STEPS[event.key];
    });
    this.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest("a")) return;
      this.setPointerCapture(event.pointerId);
      this.#slide(event);
      this.handle.focus({ preventScroll: true });
      event.preventDefault();
    });
    this.addEventListener("pointermove", (event) => this.hasPointerCapture(event.pointerId) && this.#slide(event));
  }

  /** How much of the first picture is uncovered, in hundredths. */
  get at() {
    return Number(this.handle.getAttribute("aria-valuenow"));
  }

  set at(share) {
    const at = Math.round(Math.min(100, Math.max(0, share)));
    this.handle.setAttribute("aria-valuenow", String(at));
    this.handle.setAttribute("aria-valuetext", `${at} % ${this.names[0]}, ${100 - at} % ${this.names[1]}`);
    this.style.setProperty("--at", `${at}%`);
  }

  #slide(event) {
    const box = this.getBoundingClientRect();
    this.at = (100 * (event.clientX - box.left)) / box.width;
  }
}

customElements.define("compare-slider", CompareSlider);
