// Colours to paint with, for models that see colours.
export const COLOURS = [
  ["black", "#201c19"], ["grey", "#8f8f8f"], ["white", "#ffffff"],
  ["red", "#c03a2b"], ["brown", "#80512f"], ["yellow", "#e0b53c"],
  ["green", "#4c8a3f"], ["blue", "#3b7cc4"],
];

export function showPalette(box, paper) {
  const swatches = COLOURS.map(([name, colour]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "swatch";
    button.title = name;
    button.setAttribute("aria-label", `Paint with ${name}`);
    button.style.background = colour;
    button.addEventListener("click", () => {
      paper.colour = colour;
      press();
    });
    return button;
  });
  const press = () => swatches.forEach((button, i) =>
    button.setAttribute("aria-pressed", String(COLOURS[i][1] === paper.colour)));
  const fill = document.createElement("button");
  fill.type = "button";
  fill.className = "fill";
  fill.textContent = "Fill";
  fill.addEventListener("click", () => paper.fill());
  press();
  box.replaceChildren(...swatches, fill);
}
