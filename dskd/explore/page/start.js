// The word box, links to words, tables as files, and how the page begins.

let chosen = -1;

function complete() {
  const begun = $("p-word").value.trim(), found = begun ? dictionary.completions(begun, 8) : [];
  chosen = -1;
  $("p-completions").replaceChildren(...found.map((at, i) => make("li", { role: "option", id: `completion-${i}`, "aria-selected": "false", "data-word": dictionary.words[at], onpointerdown: (event) => { event.preventDefault(); take(dictionary.words[at]); } },
    dictionary.words[at], make("small", {}, dictionary.numbers[at] ? count(dictionary.numbers[at], "sense") : "no senses"))));
  open(found.length > 0);
}

function open(isOpen) {
  $("p-completions").hidden = !isOpen;
  $("p-word").setAttribute("aria-expanded", String(isOpen));
  if (!isOpen) $("p-word").removeAttribute("aria-activedescendant");
}

function choose(step) {
  const options = [...$("p-completions").children];
  if (!options.length || $("p-completions").hidden) return complete();
  chosen = (chosen + step + options.length + (chosen < 0 && step < 0 ? 1 : 0)) % options.length;
  options.forEach((option, i) => option.setAttribute("aria-selected", String(i === chosen)));
  options[chosen].scrollIntoView({ block: "nearest" });
  $("p-word").setAttribute("aria-activedescendant", options[chosen].id);
}

function take(name) {
  open(false);
  const hash = `#${encodeURIComponent(name)}`;
  if (location.hash === hash) show(name); else location.hash = hash;
}

function asked() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1); // a stray %
  }
}

// Rows as CSV (RFC 4180). A cell that a spreadsheet would run as a formula begins with an apostrophe.
function csv(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value) => {
    const text = String(value ?? ""), safe = /^[=+\-@\t\r]/.test(text) && !/^-?[\d.]+$/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function save(table) {
  const url = URL.createObjectURL(new Blob([csv(TABLES[table])], { type: "text/csv" }));
  make("a", { href: url, download: `${dictionary.words[word] ?? "words"}-${table}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function listen() {
  $("p-search").addEventListener("submit", (event) => {
    event.preventDefault();
    const option = $("p-completions").children[chosen];
    take(option && !$("p-completions").hidden ? option.dataset.word : $("p-word").value.trim());
  });
  $("p-word").addEventListener("input", complete);
  $("p-word").addEventListener("blur", () => open(false));
  $("p-word").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape") open(false);
  });
  $("p-only").addEventListener("change", showLines);
  document.querySelectorAll(".csv").forEach((button) => button.addEventListener("click", () => save(button.dataset.table)));
  window.addEventListener("hashchange", () => show(asked()));
  $("p-skip").addEventListener("click", () => $("p-results").focus());
  listenToMap();
}

dictionary = new Dictionary(await readColumns($("p-data").textContent));
$("p-data").remove();
const student = dictionary.about.models.slice(1);
$("p-model").replaceChildren(...student.map((name) => make("option", { value: name }, name)));
if (student.length) $("p-model").value = student.at(-1);
$("p-facts").replaceChildren(...dictionary.about.facts.map((fact) => make("li", {}, ...fact.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part)))));
document.querySelectorAll(".csv").forEach((button) => button.setAttribute("aria-label", `${button.dataset.table} as CSV`));
listen();
show(asked() || dictionary.about.word);
document.documentElement.dataset.ready = Math.round(performance.now());
