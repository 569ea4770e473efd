/**
 * A mask on a canvas: what is painted on it is a list of deeds, each of which can be undone and done again.
 *
 * @typedef {{x: number, y: number, radius: number}} Dab  in pixels of the canvas
 * @typedef {{kind: "stroke", erases: boolean, dabs: Dab[]}} Stroke
 * @typedef {Stroke | {kind: "invert"} | {kind: "clear"} | {kind: "picture", picture: CanvasImageSource}} Deed
 */

const PAINT = "#f0452f";
const HALF = 128;

export class Mask {
  /** @type {Deed[]} */ #done = [];
  /** @type {Deed[]} */ #undone = [];
  /** @type {CanvasRenderingContext2D} */ #pen;

  /** @param {HTMLCanvasElement} canvas  transparent where nothing is marked */
  constructor(canvas) {
    this.canvas = canvas;
    this.#pen = canvas.getContext("2d", { willReadFrequently: true });
    Object.assign(this.#pen, { lineCap: "round", lineJoin: "round", strokeStyle: PAINT, fillStyle: PAINT });
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** The marked share of the canvas, 0 to 1. */
  get share() {
    const { data } = this.#pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
    let marked = 0;
    for (let at = 3; at < data.length; at += 4) marked += data[at] >= HALF;
    return marked / (data.length / 4);
  }

  /** @param {Deed} deed */
  do(deed) {
    this.#undone = [];
    this.#done.push(deed);
    this.#draw(deed);
  }

  /** @param {Dab} dab  where the stroke that was begun last goes on */
  extend(dab) {
    const stroke = /** @type {Stroke} */ (this.#done.at(-1));
    this.#line(stroke, stroke.dabs.at(-1), dab);
    stroke.dabs.push(dab);
  }

  undo() {
    if (!this.canUndo) return;
    this.#undone.push(this.#done.pop());
    this.#pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const deed of this.#done) this.#draw(deed);
  }

  redo() {
    if (!this.canRedo) return;
    this.#done.push(this.#undone.pop());
    this.#draw(this.#done.at(-1));
  }

  /** @param {number} width  @param {number} height  @returns {string} a PNG as data URI: white marks, black does not */
  png(width, height) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const pen = canvas.getContext("2d");
    // An edge stays an edge, whatever the picture's size.
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.canvas, 0, 0, width, height);
    fill(pen, "source-in", "#fff");
    fill(pen, "destination-over", "#000");
    return canvas.toDataURL("image/png");
  }

  /** @param {Deed} deed */
  #draw(deed) {
    const { width, height } = this.canvas;
    if (deed.kind === "clear") this.#pen.clearRect(0, 0, width, height);
    else if (deed.kind === "invert") fill(this.#pen, "source-out", PAINT);
    else if (deed.kind === "picture") this.#pen.drawImage(deed.picture, 0, 0, width, height);
    else deed.dabs.forEach((dab, index) => this.#line(deed, deed.dabs[Math.max(0, index - 1)], dab));
  }

  /** @param {Stroke} stroke  @param {Dab} from  @param {Dab} to */
  #line(stroke, from, to) {
    this.#pen.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
    this.#pen.lineWidth = 2 * to.radius;
    this.#pen.beginPath();
    this.#pen.moveTo(from.x, from.y);
    // A line of no length would leave nothing.
    this.#pen.lineTo(to.x + 0.01, to.y);
    this.#pen.stroke();
    this.#pen.globalCompositeOperation = "source-over";
  }
}

/**
 * A picture as a deed: what is lighter than the middle is marked.
 *
 * @param {Blob} file  @param {number} width  @param {number} height  @returns {Promise<Deed>}
 */
export async function marked(file, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  pen.drawImage(await createImageBitmap(file), 0, 0, width, height);
  const pixels = pen.getImageData(0, 0, width, height);
  const { data } = pixels;
  for (let at = 0; at < data.length; at += 4) {
    const light = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    data[at + 3] = light >= HALF && data[at + 3] >= HALF ? 255 : 0;
  }
  pen.putImageData(pixels, 0, 0);
  fill(pen, "source-in", PAINT);
  return { kind: "picture", picture: canvas };
}

/** @param {CanvasRenderingContext2D} pen  @param {GlobalCompositeOperation} operation  @param {string} colour */
function fill(pen, operation, colour) {
  pen.globalCompositeOperation = operation;
  pen.fillStyle = colour;
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.globalCompositeOperation = "source-over";
}
