// Bars of an answer, one for each class.

export const classesOf = (model) => model.classes ||
  Array.from({length: model.layers.at(-1).units}, (_, i) => String(i));

const MOST = 10; // rows; of more classes the likeliest ones

// How long each class's bar is (0 to 1), and what stands beside it.
function rowsOf(model, answer) {
  const names = classesOf(model);
  let values = answer.probabilities, text = (v) => percent(v);
  if (!values) {
    const scores = answer.scores;
    const most = Math.max(...scores.map(Math.abs), 1e-9);
    values = scores.map((v) => Math.max(0, v) / most);
    text = (_, i) => scores[i].toFixed(2);
    if (scores.length === 1)
      return [{name: names[answer.label], value: Math.abs(scores[0]) /
        Math.max(1, most), text: scores[0].toFixed(2), label: answer.label}];
  }
  return Array.from(values, (value, i) =>
    ({name: names[i], value, text: text(value, i), label: i}));
}

export const percent = (v) => v > 0.999 ? "> 99.9 %"
  : v >= 0.1 && v < 0.99 ? `${Math.round(v * 100)} %` : `${(v * 100).toFixed(1)} %`;

// Rows are kept from answer to answer, so that bars move and nothing jumps.
export function showBars(list, model, answer, winner) {
  let rows = answer ? rowsOf(model, answer)
    : classesOf(model).map((name, label) => ({name, value: 0, text: "", label}));
  if (rows.length > MOST)
    rows = rows.sort((a, b) => b.value - a.value).slice(0, MOST);
  while (list.children.length > rows.length) list.lastChild.remove();
  while (list.children.length < rows.length) list.append(newRow());
  rows.forEach((row, i) => {
    const item = list.children[i];
    const [name, track, text] = item.children;
    name.textContent = row.name;
    track.firstChild.style.transform = `scaleX(${row.value.toFixed(4)})`;
    text.textContent = row.text;
    item.classList.toggle("best", row.label === winner);
  });
}

function newRow() {
  const item = document.createElement("div");
  item.setAttribute("role", "listitem");
  item.className = "bar";
  for (const kind of ["name", "track", "value"]) {
    const part = document.createElement("span");
    part.className = kind;
    item.append(part);
  }
  item.children[1].append(document.createElement("i"));
  return item;
}
