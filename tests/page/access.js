// What stands on the page and breaks a rule of WCAG 2.1 AA: contrast of text,
// names of what can be operated, ids, headings, size of targets. Returns a
// list of sentences.
const found = [];
const rgb = (text) => {
  const parts = text.match(/[\d.]+/g).map(Number);
  return [...parts, 1].slice(0, 4);
};
const over = (top, below) => [0, 1, 2].map((i) =>
  top[i] * top[3] + below[i] * (1 - top[3]));
const light = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((v) => {
    v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  const own = rgb(getComputedStyle(element).backgroundColor);
  if (own[3] === 1) return own;
  const below = element.parentElement ? ground(element.parentElement)
    : [255, 255, 255, 1];
  return [...over(own, below), 1];
};
const visible = (element) => element.checkVisibility({
  checkOpacity: true, checkVisibilityCSS: true}) &&
  element.getClientRects().length > 0;
const nameOf = (element) => element.getAttribute("aria-label") ||
  (element.getAttribute("aria-labelledby") || "").split(" ").map((id) =>
    document.getElementById(id)?.textContent || "").join(" ").trim() ||
  [...(element.labels || [])].map((l) => l.textContent).join(" ").trim() ||
  element.textContent.trim();
const what = (element) =>
  `${element.tagName.toLowerCase()}#${element.id}.${element.className}`;

for (const element of document.body.querySelectorAll("*")) {
  if (!visible(element)) continue;
  const own = [...element.childNodes].some((n) =>
    n.nodeType === 3 && n.textContent.trim());
  if (own && !element.closest(":disabled, option, .sr, .skip")) {
    const style = getComputedStyle(element);
    const below = ground(element);
    const colour = over(rgb(style.color), below);
    const [a, b] = [light(colour), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5))
      found.push(`contrast ${ratio.toFixed(2)} of ${what(element)}`);
  }
  if (element.matches("button, a[href], select, input, [tabindex], [role=img]")
      && !nameOf(element))
    found.push(`no name: ${what(element)}`);
  if (element.matches("button, select") && !element.closest(".samples")) {
    const box = element.getBoundingClientRect();
    if (box.height < 24 || box.width < 24)
      found.push(`small target: ${what(element)}`);
  }
  if (element.matches("[tabindex]") && element.tabIndex > 0)
    found.push(`order of its own: ${what(element)}`);
  for (const list of ["aria-labelledby", "aria-describedby"])
    for (const id of (element.getAttribute(list) || "").split(" "))
      if (id && !document.getElementById(id))
        found.push(`${list} leads nowhere: ${what(element)}`);
  if (element.matches("[role=list]") && [...element.children].some((c) =>
    c.getAttribute("role") !== "listitem"))
    found.push(`a list of other things: ${what(element)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
for (const id of ids.filter((x, i) => ids.indexOf(x) !== i))
  found.push(`two of id ${id}`);
let level = 0;
for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
  if (!visible(heading)) continue;
  const now = Number(heading.tagName[1]);
  if (now > level + 1) found.push(`heading skips a level: ${heading.textContent}`);
  level = now;
}
if (!document.documentElement.lang) found.push("no language");
if (document.querySelectorAll("main").length !== 1) found.push("not one main");
return found;
