// The map of senses: points, colours, zoom and keys.

const WIDE = 1000, HIGH = 620, MOST_POINTS = 150, MANY_COLOURS = 24;
let view = { x: 0, y: 0, scale: 1 }, marks = [];

function drawMap() {
  const what = $("p-what").value;
  $("list-label").hidden = what !== "list";
  $("model-label").hidden = what !== "land";
  const points = what === "land" ? landingPoints() : sensePoints(what);
  const vectors = points.map((point) => point.vector), places = layOut(vectors);
  const kept = trustworthiness(vectors, places);
  const left = points.leftOut ? ` The first ${points.length} senses are shown; ${number(points.leftOut)} more have no room.` : "";
  const none = points.unknown?.length ? ` Without senses: ${points.unknown.join(", ")}.` : "";
  $("map-note").textContent = `${what === "land" ? "Each line leads from where the teacher has a context to where the student has it; squares are the senses. " : "Each mark is a sense. "}t-SNE of the shown points${kept === null ? "" : `; trustworthiness ${kept.toFixed(2)} (1: all 5 neighbours on the map are neighbours in the states)`}.${left}${none}`;
  place(points, places);
  paint(points);
  zoomTo({ x: 0, y: 0, scale: 1 });
}

// The senses of the word and of its relatives, or of a list of words.
function sensePoints(what) {
  const name = dictionary.words[word], kinds = new Map([[name, "the word"]]);
  if (what === "kin") {
    for (const kind of ["synonym", "antonym"]) for (const other of dictionary.related(word, kind)) if (!kinds.has(other)) kinds.set(other, kind);
  } else {
    kinds.clear();
    for (const other of ($("p-list").value.match(/[\p{L}]+/gu) ?? [name])) kinds.set(other, "the list");
  }
  const points = [], unknown = [];
  let leftOut = 0;
  for (const [other, kind] of kinds) {
    const at = dictionary.find(other), rows = at < 0 ? [] : dictionary.rows(at);
    if (!rows.length && what === "list") unknown.push(other);
    for (const row of rows) {
      if (points.length >= MOST_POINTS) leftOut++;
      else points.push({ ...dictionary.sense(row), kind, vector: dictionary.vector(row), size: 7, shape: "circle" });
    }
  }
  return Object.assign(points, { leftOut, unknown });
}

// The senses of the word, and its contexts in the teacher and in one student.
function landingPoints() {
  const { models } = dictionary.about, student = models.indexOf($("p-model").value), senses = dictionary.rows(word).map((row) => dictionary.sense(row));
  const points = senses.map((sense) => ({ ...sense, kind: "sense", vector: dictionary.vector(sense.row), size: 11, shape: "square" }));
  const of = dictionary.landOf, n = of.length, all = models.length * n;
  for (let i = 0; i < n; i++) {
    const sense = senses.find(({ row }) => row === of[i]);
    if (!sense) continue;
    const context = dictionary.contexts(sense.row)[dictionary.landRank[i]];
    for (const model of [0, student]) {
      const at = model * n + i, vector = Array.from({ length: dictionary.dimensions }, (_, d) => dictionary.landVectors[d * all + at]);
      const to = dictionary.landed[at] + 1;
      points.push({ ...sense, kind: models[model], vector, size: 6, shape: model ? "triangle" : "circle", context, from: model ? points.length - 1 : null, to });
    }
  }
  return points;
}

function place(points, places) {
  const xs = places.map((p) => p[0]), ys = places.map((p) => p[1]);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = Math.min((WIDE - 120) / (right - left || 1), (HIGH - 90) / (high - low || 1));
  points.forEach((point, i) => {
    point.x = WIDE / 2 + (xs[i] - (left + right) / 2) * scale;
    point.y = HIGH / 2 + (ys[i] - (low + high) / 2) * scale;
  });
}

function paint(points) {
  const by = $("p-colour").value, groups = new Map();
  const group = (point) => String({ word: point.word, kind: point.kind, number: `sense ${point.number}`, synset: point.synset || "not in WordNet", pos: point.pos || "not in WordNet" }[by]);
  for (const point of points) groups.set(group(point), (groups.get(group(point)) ?? 0) + 1);
  const shown = [...groups.keys()].slice(0, MANY_COLOURS);
  const style = (point) => {
    const n = by === "number" ? point.number - 1 : shown.indexOf(group(point));
    const found = n < 0 ? { colour: "#c3c8cf", shape: "circle" } : look(n);
    return point.from === undefined && $("p-what").value !== "land" ? found : { colour: found.colour, shape: point.shape };
  };
  marks = points.map((point, i) => {
    const { colour, shape } = style(point);
    const mark = make("g", { svg: true, class: "mark", role: "img", tabindex: i ? -1 : 0, "aria-label": told(point), "data-at": i }, drawn(shape, point.size, colour));
    return Object.assign(mark, { point });
  });
  const joins = points.filter((point) => point.from !== null && point.from !== undefined).map((point) => make("line", { svg: true, x1: points[point.from].x, y1: points[point.from].y, x2: point.x, y2: point.y }));
  $("p-picture").replaceChildren(make("g", { svg: true, id: "p-scene" }, ...joins, ...marks, ...names(points)));
  $("p-legend").replaceChildren(...shown.map((name, i) => {
    const { colour, shape } = by === "number" ? look(Number(name.slice(6)) - 1) : look(i);
    return make("li", {}, make("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" }, drawn(shape, 7, colour)), `${name} (${groups.get(name)})`);
  }), ...(groups.size > shown.length ? [make("li", {}, `${groups.size - shown.length} more are grey`)] : []));
  TABLES.map = points.map((point) => ({ word: point.word, sense: point.number, kind: point.kind, "part of speech": point.pos, synset: point.synset, x: point.x.toFixed(1), y: point.y.toFixed(1) }));
}

// A label at the middle of the senses of each word; of the senses themselves where one word is shown.
function names(points) {
  const groups = new Map(), one = $("p-what").value === "land";
  for (const point of points) if (!one || point.kind === "sense") {
    const name = one ? `${point.number} ${point.synset}` : point.word;
    groups.set(name, [...(groups.get(name) ?? []), point]);
  }
  const taken = [];
  return [...groups].map(([name, group]) => {
    const mean = (key) => group.reduce((sum, point) => sum + point[key], 0) / group.length;
    const near = group.reduce((best, point) => (Math.hypot(point.x - mean("x"), point.y - mean("y")) < Math.hypot(best.x - mean("x"), best.y - mean("y")) ? point : best));
    let y = near.y - 13;
    while (taken.some(([x, other, width]) => Math.abs(other - y) < 15 && Math.abs(x - near.x) < (width + name.length * 8) / 2)) y -= 15;
    taken.push([near.x, y, name.length * 8]);
    return make("text", { svg: true, x: near.x, y, "text-anchor": "middle", "data-x": near.x, "data-y": y }, name);
  });
}

function drawn(shape, size, colour) {
  const s = size, common = { svg: true, class: "shape", fill: colour };
  const paths = {
    square: `M${-s} ${-s}H${s}V${s}H${-s}Z`,
    triangle: `M0 ${-1.2 * s}L${1.1 * s} ${0.8 * s}H${-1.1 * s}Z`,
    diamond: `M0 ${-1.3 * s}L${1.3 * s} 0L0 ${1.3 * s}L${-1.3 * s} 0Z`,
    cross: `M${-s} ${-s / 3}H${-s / 3}V${-s}H${s / 3}V${-s / 3}H${s}V${s / 3}H${s / 3}V${s}H${-s / 3}V${s / 3}H${-s}Z`,
  };
  return shape === "circle" ? make("circle", { ...common, r: s }) : make("path", { ...common, d: paths[shape] });
}

function told(point) {
  const context = point.context ?? dictionary.contexts(point.row)[0];
  const where = point.to ? `, ${point.kind}: its nearest sense is ${point.to}` : `: ${count(point.states, "state")}, ${point.pos} ${point.synset}`;
  return `${point.word} ${point.number}${where}${point.kind && !point.to ? `, ${point.kind}` : ""}${context ? ` – … ${context.left.split(" ").slice(-8).join(" ")} [${context.word}]${context.right.split(" ").slice(0, 6).join(" ")} …` : ""}`;
}

// Marks and names keep their size while the map grows.
function zoomTo(next) {
  view = { ...next, scale: Math.min(40, Math.max(0.5, next.scale)) };
  for (const mark of marks) mark.setAttribute("transform", `translate(${mark.point.x * view.scale + view.x} ${mark.point.y * view.scale + view.y})`);
  $("p-picture").querySelectorAll("text").forEach((text) => {
    text.setAttribute("x", text.dataset.x * view.scale + view.x);
    text.setAttribute("y", (Number(text.dataset.y) + 13) * view.scale + view.y - 13);
  });
  $("p-picture").querySelectorAll("#p-scene > line").forEach((line) => line.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`));
}

function zoomBy(factor, x = WIDE / 2, y = HIGH / 2) {
  const scale = Math.min(40, Math.max(0.5, view.scale * factor)), real = scale / view.scale;
  zoomTo({ x: x - (x - view.x) * real, y: y - (y - view.y) * real, scale });
}

// From the window to the map's own units.
function onMap(event) {
  const matrix = $("p-picture").getScreenCTM().inverse();
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
}

function listenToMap() {
  const picture = $("p-picture"), held = new Map();
  const mark = (event) => event.target.closest?.(".mark");
  const tell = (event) => { if (mark(event)) $("p-point").textContent = mark(event).getAttribute("aria-label"); };
  picture.addEventListener("pointerover", tell);
  picture.addEventListener("focusin", tell);
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y } = onMap(event);
    zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, x, y);
  }, { passive: false });
  picture.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, onMap(event));
    const at = mark(event);
    if (at) goTo(marks.indexOf(at)); else picture.setPointerCapture(event.pointerId);
  });
  picture.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId), now = onMap(event);
    if (!before) return;
    if (held.size === 2) { // a pinch: by how much the two fingers have parted
      const other = [...held].find(([id]) => id !== event.pointerId)[1], apart = (p) => Math.hypot(p.x - other.x, p.y - other.y);
      zoomBy(apart(now) / (apart(before) || 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else zoomTo({ ...view, x: view.x + now.x - before.x, y: view.y + now.y - before.y });
    held.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, (event) => held.delete(event.pointerId));
  picture.addEventListener("dblclick", (event) => { if (mark(event)) location.hash = encodeURIComponent(mark(event).point.word); });
  picture.addEventListener("keydown", (event) => {
    const at = marks.indexOf(mark(event)), step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && at >= 0) goTo((at + step + marks.length) % marks.length);
    else if (event.key === "Enter" && at >= 0) location.hash = encodeURIComponent(marks[at].point.word);
    else if (event.key === "+" || event.key === "=") zoomBy(1.4);
    else if (event.key === "-") zoomBy(1 / 1.4);
    else if (event.key === "0") zoomTo({ x: 0, y: 0, scale: 1 });
    else return;
    event.preventDefault();
  });
  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    const factor = Number(button.dataset.zoom);
    if (factor) zoomBy(factor); else zoomTo({ x: 0, y: 0, scale: 1 });
  }));
  for (const id of ["what", "colour", "model"]) $(`p-${id}`).addEventListener("change", drawMap);
  $("p-list").addEventListener("change", drawMap);
  $("p-shown").addEventListener("submit", (event) => { event.preventDefault(); drawMap(); });
}

function goTo(at) {
  marks.forEach((mark, i) => mark.setAttribute("tabindex", i === at ? 0 : -1));
  marks[at].focus({ preventScroll: true });
}
