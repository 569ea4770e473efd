/** <step-scrubber src>: slides through the steps of a picture.  One step is developed at a time, the one looked at first. */

const GENTLY_MS = 400;

class StepScrubber extends HTMLElement {
  connectedCallback() {
    [this.range, this.picture, this.said] = ["[type=range]", "img", "[role=status]"].map((each) => this.querySelector(each));
    this.there = new Set(this.dataset.decoded.split(" ").filter(Boolean).map(Number));
    this.range.addEventListener("input", () => this.#show());
    this.#show();
    this.#develop();
  }

  #show() {
    const step = Number(this.range.value);
    // Until it is there, the nearest that is.
    const near = [...this.there].sort((one, other) => Math.abs(one - step) - Math.abs(other - step))[0];
    if (near) this.picture.src = `${this.dataset.src}/${near}`;
    this.range.setAttribute("aria-valuetext", `Step ${step} of ${this.range.max}`);
    this.said.textContent = `Step ${step} of ${this.range.max}${near === step ? "" : ", coming up"}`;
  }

  /** Those around the one that is looked at come next. */
  get #next() {
    const step = Number(this.range.value);
    const missing = Array.from({ length: this.range.max }, (_, index) => index + 1).filter((each) => !this.there.has(each));
    return missing.sort((one, other) => Math.abs(one - step) - Math.abs(other - step))[0];
  }

  async #develop() {
    let step;
    try {
      while (this.isConnected && (step = this.#next)) {
        const answer = await fetch(`${this.dataset.src}/${step}`, { method: "POST" });
        let job = answer.status === 202 ? await answer.json() : { state: answer.ok ? "succeeded" : "failed" };
        while (job.links && !job.finished_at) job = await (await fetch(`${job.links.self}?wait=30&until=done`)).json();
        if (job.state !== "succeeded") throw new Error(job.state);
        this.there.add(step);
        this.#show();
        await new Promise((done) => setTimeout(done, GENTLY_MS));
      }
    } catch {
      this.said.textContent = `Step ${step} cannot be developed just now. Load the page again to go on.`;
    }
  }
}

customElements.define("step-scrubber", StepScrubber);
