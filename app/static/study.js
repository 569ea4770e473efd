/** The arrow keys choose: left, right, and down for those who cannot tell. */

const CHOICES = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" };

document.addEventListener("keydown", (event) => {
  const choice = CHOICES[event.key];
  if (!choice || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  document.querySelector(`.asked [value="${choice}"]`).click();
});
