/**
 * A picture dropped anywhere is put into the page's recall form and sent, as if it had been chosen there.
 * A part of a page that takes pictures itself (an editor) keeps its drops by preventing their default.
 */

const form = document.getElementById("recall");

/** @param {DragEvent} event */
function brings(event) {
  return form && !event.defaultPrevented && event.dataTransfer?.types.includes("Files");
}

document.addEventListener("dragover", (event) => {
  if (!brings(event)) return;
  event.preventDefault();
  document.body.classList.add("recalling");
});

document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("recalling");
});

document.addEventListener("drop", (event) => {
  if (!brings(event)) return;
  event.preventDefault();
  document.body.classList.remove("recalling");
  if (event.dataTransfer.files.length === 0) return;
  form.querySelector("input").files = event.dataTransfer.files;
  form.requestSubmit();
});

form?.querySelector("input").addEventListener("change", () => form.requestSubmit());
