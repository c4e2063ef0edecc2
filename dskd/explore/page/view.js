// What the reader sees, and what happens when they type, click or press a key. Data goes into the page as text alone.

const $ = (id) => document.getElementById(id);
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#000000"]; // Okabe and Ito
const SHAPES = ["circle", "square", "triangle", "diamond", "cross"]; // another shape for each further eight colours
const TABLES = {}; // name -> the rows that its CSV has
let dictionary, word = -1;

// An element with attributes and children; strings become text.
function make(tag, attributes = {}, ...children) {
  const element = tag === "svg" || attributes.svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name !== "svg" && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const number = (value) => value.toLocaleString("en");
const count = (value, name) => `${number(value)} ${name}${value === 1 ? "" : "s"}`;
// In a frame of a notebook "#p-word" would lead to the notebook, so that a click is answered here.
const link = (name, text = name) => make("a", { href: `#${encodeURIComponent(name)}`, onclick: (event) => { if (!(event.ctrlKey || event.metaKey || event.shiftKey)) { event.preventDefault(); take(name); } } }, text);
const links = (names) => listed(names.map((name) => link(name)));
const listed = (nodes) => nodes.flatMap((node, i) => (i ? [", ", node] : [node]));

// ---- one word

function show(name) {
  const wanted = name.normalize("NFC").trim().replace(/\s+/g, " "); // as a vocabulary has accents
  const began = performance.now();
  word = dictionary.find(wanted);
  const senses = word < 0 ? [] : dictionary.rows(word).map((row) => dictionary.sense(row));
  $("p-results").hidden = false;
  $("p-word").value = wanted;
  document.title = wanted ? `${wanted} – senses of words` : "Senses of words";
  for (const id of ["concordance", "map", "students"]) $(`p-${id}`).hidden = !senses.length;
  $("p-senses").hidden = word < 0;
  $("p-missing").hidden = senses.length > 0;
  if (!senses.length) showMissing(wanted);
  if (word >= 0) showCards(senses);
  if (senses.length) {
    showConcordance(senses);
    showStudents(senses);
    afterPaint(drawMap);
  }
  const known = word < 0 ? wanted : dictionary.words[word];
  $("p-status").textContent = `${known}: ${count(senses.length, "sense")}`;
  document.documentElement.dataset.milliseconds = Math.round(performance.now() - began);
}

// The map takes longest, so the text is there before it; of several words in a row only the last one gets one.
let waiting = 0;
function afterPaint(work) {
  const mine = ++waiting;
  delete document.documentElement.dataset.map;
  setTimeout(() => {
    if (mine !== waiting || !$("p-concordance").checkVisibility()) return;
    const began = performance.now();
    work();
    document.documentElement.dataset.map = Math.round(performance.now() - began);
  });
}

// Why a word has no senses, and what would give it some; or the words that are spelt nearly so.
function showMissing(wanted) {
  const said = [], about = dictionary.about, pieces = dictionary.others.get(wanted.toLowerCase()) ?? dictionary.others.get(wanted);
  const command = make("code", {}, `python -m dskd senses ${/^[\p{L} ]+$/u.test(wanted) ? wanted : "WORD"}`);
  if (word >= 0) {
    const met = dictionary.occurrences[word], name = dictionary.words[word];
    if (dictionary.left[word]) said.push(make("p", {}, `“${name}” has senses, but it is rarer than the ${number(about.most)} words that this page has room for. In a terminal `, command, " prints them."));
    else {
      said.push(make("p", {}, `“${name}” has no senses: the dictionary's text has it ${met === 0 ? "nowhere" : met === 1 ? "once" : `${number(met)} times`}, and a sense stands for ${count(about.minStates, "state")} or more of the teacher.`));
      said.push(make("p", {}, "More text gives it some: name it under ", make("code", {}, "sources.texts"), " in params.yaml, raise ", make("code", {}, "senses.tokens"), ", and run ", make("code", {}, "dvc repro"), "."));
    }
    if (dictionary.held[word]) said.push(make("p", {}, `It is held out: the lexicon has no relations of it and the dictionary has read none of its glosses, because the evaluation asks about it (lexicon.heldout_share = ${about.heldoutShare}).`));
  } else if (pieces) {
    said.push(make("p", {}, `“${wanted}” is several tokens of this tokenizer (${pieces}). This page has words of one token, whose senses are clusters. The senses of longer words are composed of those of their tokens: `, command, " prints them."));
  } else if (wanted) {
    said.push(make("p", {}, `“${wanted}” is not in this dictionary. If it is a word of several tokens, `, command, " may compose its senses."));
  }
  const near = wanted ? dictionary.spellings(wanted, 8).filter((name) => name.toLowerCase() !== wanted.toLowerCase()) : [];
  if (near.length) said.push(make("p", { id: "p-spellings" }, "Nearest spellings: ", ...links(near), "."));
  if (!wanted) said.push(make("p", {}, "Type a word, or begin with ", ...links(about.examples), "."));
  $("p-missing").replaceChildren(...said);
}

// The Okabe-Ito colour, shape and ink of the n-th thing.
function look(n) {
  return { colour: PALETTE[n % PALETTE.length], shape: SHAPES[Math.floor(n / PALETTE.length) % SHAPES.length] };
}

function showCards(senses) {
  const name = dictionary.words[word], met = dictionary.occurrences[word];
  const states = senses.reduce((sum, sense) => sum + sense.states, 0);
  const kin = { synonym: dictionary.related(word, "synonym"), antonym: dictionary.related(word, "antonym") };
  $("senses-title").textContent = name;
  $("p-summary").textContent = senses.length
    ? `${count(senses.length, "sense")} of ${count(states, "state")}${states < met ? `, a sample of ${number(met)}` : ""}. The commonest comes first.`
    : "";
  const rows = senses.map((sense) => {
    const near = (kind) => dictionary.nearest(sense.row, kin[kind], 4);
    return { sense, synonyms: near("synonym"), antonyms: near("antonym"), context: dictionary.contexts(sense.row)[0] };
  });
  $("p-cards").replaceChildren(...rows.map((row) => card(row, states)));
  const relatives = Object.entries(kin).filter(([, names]) => names.length);
  $("p-relations").replaceChildren(
    ...relatives.flatMap(([kind, names], i) => [i ? " · " : "", make("strong", {}, `${kind}s`), " in the lexicon: ", ...links(names.slice(0, 40))]),
    relatives.length ? "." : dictionary.held[word] ? "The lexicon has no relations of this word: it is held out for the evaluation." : "The lexicon has no synonyms and no antonyms of this word.",
  );
  const names = (near) => near.map((each) => `${each.word} ${each.number}`).join("; ");
  TABLES.senses = rows.map(({ sense, synonyms, antonyms }) => ({
    word: name, sense: sense.number, states: sense.states, "part of speech": sense.pos, synset: sense.synset,
    "sure (%)": sense.synset ? sense.sure : "", "contexts in its gloss": sense.votes, definition: sense.definition,
    "nearest synonyms": names(synonyms), "nearest antonyms": names(antonyms),
  }));
}

function card({ sense, synonyms, antonyms, context }, states) {
  const share = Math.round((100 * sense.states) / states);
  const near = (title, found) => found.length ? make("p", {}, `${title}: `, ...listed(found.map((each) => link(each.word, `${each.word} ${each.number}`)))) : "";
  const inGloss = sense.votes ? `, ${count(sense.votes, "context")} in its gloss` : "";
  const made = make("article", { "aria-labelledby": `sense-${sense.number}` },
    make("h3", { id: `sense-${sense.number}` }, `${sense.number} ${sense.pos}`, make("small", {}, `${count(sense.states, "state")}, ${share} %`)),
    make("div", { class: "bar", "aria-hidden": "true" }, make("span")),
    sense.synset
      ? make("p", { class: sense.sure < 50 ? "unsure" : "" }, make("span", { class: "synset" }, sense.synset), " ", make("span", { class: "sure" }, `(${sense.sure} % sure${inGloss})`), sense.definition ? `: ${sense.definition}` : "")
      : make("p", { class: "sure" }, "WordNet does not have this word."),
    near("like", synonyms),
    near("opposed to", antonyms),
    context ? make("p", { class: "context" }, "… ", context.left, " ", make("b", { class: "word" }, context.word), context.right, " …") : "",
    make("button", { type: "button", onclick: () => { $("p-only").value = sense.number; showLines(); $("p-concordance").scrollIntoView(); } }, "its contexts"),
  );
  made.style.setProperty("--mark", look(sense.number - 1).colour);
  made.querySelector(".bar span").style.width = `${share}%`;
  return made;
}

// ---- concordance

const COLUMNS = [["sense", "sense"], ["left", "left"], ["word", "word"], ["right", "right"], ["source", "source"]];
let lines = [], order = { by: "sense", down: false };

function showConcordance(senses) {
  lines = senses.flatMap((sense) => dictionary.contexts(sense.row).map((context) => ({ sense: sense.number, ...context })));
  order = { by: "sense", down: false };
  $("p-only").replaceChildren(make("option", { value: "" }, "all senses"), ...senses.map((sense) => make("option", { value: sense.number }, `sense ${sense.number}`)));
  $("concordance-note").textContent = `The ${dictionary.about.contexts} contexts at most whose states lie nearest to each sense. The state stands before the word: it knows the left side alone.`;
  showLines();
}

// Left sides are sorted from the word outwards.
const sortKey = {
  sense: (line) => line.sense,
  left: (line) => line.left.toLowerCase().split(" ").reverse().join(" "),
  word: (line) => line.word,
  right: (line) => line.right.toLowerCase().trim(),
  source: (line) => line.source,
};

function showLines() {
  const only = $("p-only").value, key = sortKey[order.by];
  const shown = lines.filter((line) => !only || line.sense === Number(only)).map((line, i) => [key(line), i, line]);
  shown.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1]));
  if (order.down) shown.reverse();
  const heads = COLUMNS.map(([by, title]) => make("th", { scope: "col", "aria-sort": order.by !== by ? "none" : order.down ? "descending" : "ascending" },
    make("button", { type: "button", onclick: () => { order = { by, down: order.by === by && !order.down }; showLines(); $("p-lines").querySelector(`[data-by=${by}]`).focus(); }, "data-by": by }, `${title} ${order.by !== by ? "" : order.down ? "▾" : "▴"}`)));
  const rows = shown.map(([, , line]) => make("tr", {}, make("td", { class: "number" }, String(line.sense)), make("td", {}, line.left),
    make("td", {}, make("b", { class: "word" }, line.word)), make("td", {}, line.right), make("td", {}, line.source)));
  $("p-lines").replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  TABLES.concordance = shown.map(([, , { sense, left, word, right, source }]) => ({ sense, left, word, right, source }));
}

// ---- students

function showStudents(senses) {
  const { models, kept, compared } = dictionary.about, table = $("p-kept");
  $("students-note").textContent = models.length
    ? `Teacher and students read the left side of contexts of ${count(compared.length, "word")}, and each state goes to the nearest sense of its word. A sense is kept if most of its contexts go to it, merged if most go to another one, and scattered otherwise. The teacher has read more than these words before, so its own row is what can be reached; “cut” is the student before training.`
    : "This run has no students whose states can be compared with the teacher's.";
  const head = (names) => make("thead", {}, make("tr", {}, ...names.map((name, i) => make("th", { scope: "col", class: i ? "number" : "" }, name))));
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  table.replaceChildren(...(models.length ? [head(["model", "senses kept", "merged", "scattered", "contexts in their sense"]),
    make("tbody", {}, ...kept.map((row) => make("tr", {}, make("th", { scope: "row" }, row.model), ...["kept", "merged", "scattered", "contexts"].map((key) => make("td", { class: "number" }, percent(row[key]))))))] : []));
  TABLES.students = kept.map((row) => ({ word: "all that were compared", sense: "", ...row }));
  const fates = landed(senses);
  $("fate-title").textContent = fates.length ? `Senses of “${dictionary.words[word]}”` : "";
  $("p-fates").replaceChildren(...(fates.length ? [head(["sense", "contexts", ...models]), make("tbody", {}, ...fates.map(({ sense, total, by }) => make("tr", {},
    make("th", { scope: "row" }, `${sense.number} ${sense.synset}`), make("td", { class: "number" }, String(total)),
    ...by.map((fate) => make("td", { class: "number" }, fate.says))))) ] : []));
  TABLES.students.push(...fates.flatMap(({ sense, total, by }) => by.map((fate, m) => ({ word: sense.word, sense: sense.number, model: models[m], contexts: total, "contexts in their sense": fate.stayed, fate: fate.says }))));
  $("p-compared").replaceChildren(...(models.length ? [fates.length ? "Other words that were compared: " : `“${dictionary.words[word]}” was not compared. These words were: `, ...links(compared), "."] : []));
  $("p-what").querySelector("[value=land]").disabled = !fates.length;
  if (!fates.length && $("p-what").value === "land") $("p-what").value = "kin";
}

// What became of each sense of the word in each model, where the word was compared.
function landed(senses) {
  const { models } = dictionary.about, found = [];
  for (const sense of senses) {
    const mine = [...dictionary.landOf.keys()].filter((i) => dictionary.landOf[i] === sense.row);
    if (!mine.length) continue;
    const by = models.map((_, m) => {
      const went = mine.map((i) => dictionary.landed[m * dictionary.landOf.length + i]), tally = new Map();
      for (const to of went) tally.set(to, (tally.get(to) ?? 0) + 1);
      const stayed = tally.get(sense.number - 1) ?? 0;
      const [to, most] = [...tally].find(([, times]) => 2 * times > went.length) ?? [-1, 0];
      const says = to === sense.number - 1 ? `kept ${stayed}/${went.length}` : to < 0 ? `scattered ${stayed}/${went.length}` : `merged into ${to + 1} (${most}/${went.length})`;
      return { stayed, says };
    });
    found.push({ sense, total: mine.length, by });
  }
  return found;
}
