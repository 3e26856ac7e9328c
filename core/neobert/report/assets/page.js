"use strict";
// Read-out of a chart: the pointer, a finger or the arrow keys choose a step; the legend shows the values there.
// Without this script the legend shows the newest values, and every chart has a table.
for (const chart of document.querySelectorAll(".chart")) {
  const data = JSON.parse(chart.dataset.readout);
  const plot = chart.querySelector(".plot");
  const cursor = chart.querySelector(".cursor");
  const dots = chart.querySelectorAll(".here");
  const outputs = chart.querySelectorAll(".legend output");
  const step = chart.querySelector(".at output");
  const count = data.steps.length;
  let chosen = null;

  // The newest value up to the chosen step: curves need not have one at each.
  const upTo = (line, index) => {
    while (index >= 0 && line.y[index] === null && line.text[index] === "\u2013") index -= 1;
    return index;
  };
  const show = (index) => {
    chosen = index;
    const at = index === null ? count - 1 : index;
    step.textContent = data.steps[at].toLocaleString("en-US");
    cursor.setAttribute("d", index === null ? "" : `M${data.x[at]} 0V1000`);
    data.lines.forEach((line, number) => {
      const found = upTo(line, at);
      outputs[number].textContent = found < 0 ? "\u2013" : line.text[found];
      const there = index !== null && found >= 0 && line.y[found] !== null;
      dots[number].setAttribute("d", there ? `M${data.x[found]} ${line.y[found]}h0` : "");
    });
  };
  const nearest = (event) => {
    const box = plot.getBoundingClientRect();
    const x = (1000 * (event.clientX - box.left)) / box.width;
    let best = 0;
    for (let index = 1; index < count; index += 1) {
      if (Math.abs(data.x[index] - x) < Math.abs(data.x[best] - x)) best = index;
    }
    return best;
  };
  plot.addEventListener("pointermove", (event) => show(nearest(event)));
  plot.addEventListener("pointerdown", (event) => show(nearest(event)));
  plot.addEventListener("pointerleave", () => show(null));
  plot.addEventListener("blur", () => show(null));
  plot.addEventListener("keydown", (event) => {
    const from = chosen === null ? count - 1 : chosen;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: count - 1, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to === null ? null : Math.min(count - 1, Math.max(0, to)));
  });
}
