// The dictionary on this page: deflated columns in base 85, as dskd/explore/packing.py writes them.

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

// Five digits are four bytes. The first four say how many follow: the last ones may be filled up.
function bytesOf(text) {
  const values = new Uint8Array(128), bytes = new DataView(new ArrayBuffer((text.length / 5) * 4));
  for (let i = 0; i < 85; i++) values[DIGITS.charCodeAt(i)] = i;
  for (let i = 0, at = 0; i < text.length; at += 4) {
    let value = 0;
    for (const end = i + 5; i < end; i++) value = value * 85 + values[text.charCodeAt(i)];
    bytes.setUint32(at, value);
  }
  return new Uint8Array(bytes.buffer, 4, bytes.getUint32(0, true));
}

async function readColumns(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const whole = new Uint8Array(await new Response(stream).arrayBuffer());
  let start = 4 + new DataView(whole.buffer).getUint32(0, true);
  const decoder = new TextDecoder(), columns = {};
  for (const [name, [kind, length]] of Object.entries(JSON.parse(decoder.decode(whole.subarray(4, start))))) {
    const isText = kind === "text" || kind === "lines";
    const size = length * (isText ? 1 : Number(kind[1])), part = whole.subarray(start, start + size);
    start += size;
    if (isText) {
      const found = decoder.decode(part);
      columns[name] = kind === "text" ? found : found ? found.split("\n") : [];
    } else {
      columns[name] = numbers(kind, length, part);
    }
  }
  return columns;
}

// The low bytes of all numbers come first, then the next ones.
function numbers(kind, length, part) {
  if (kind === "u1") return part;
  if (kind === "i1") return new Int8Array(part.buffer, part.byteOffset, length);
  const found = new Uint32Array(length);
  for (let plane = 0; plane < Number(kind[1]); plane++) {
    for (let i = 0; i < length; i++) found[i] += part[plane * length + i] * 256 ** plane;
  }
  return found;
}

// Where the entries of each of `counts` begin in a column that has them one after the other.
function starts(counts) {
  const found = new Uint32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) found[i + 1] = found[i] + counts[i];
  return found;
}

const isLetter = (code) => (code < 128 ? (code | 32) >= 97 && (code | 32) <= 122 : /\p{L}/u.test(String.fromCharCode(code)));

class Dictionary {
  constructor(columns) {
    Object.assign(this, columns);
    this.about = JSON.parse(columns.about);
    this.first = starts(columns.numbers);
    this.places = new Map(columns.words.map((word, i) => [word, i]));
    this.others = new Map(columns.others.map((line) => line.split("\t")));
    this.names = [...columns.words, ...this.others.keys()];
    this.kin = { synonym: starts(columns.synonymCounts), antonym: starts(columns.antonymCounts) };
    this.dimensions = this.about.dimensions;
    this.senses = this.first[columns.words.length];
    this.readContexts();
  }

  // A context's word is that of the letters at its place, without the last `tails`, which are of the next token.
  readContexts() {
    const { gaps, within, tails, ranks, text } = this, of = new Uint32Array(gaps.length), found = new Uint32Array(gaps.length);
    const sizes = new Uint32Array(this.senses);
    for (let i = 0, place = 0; i < gaps.length; i++) {
      place += gaps[i];
      let end = place;
      while (isLetter(text.charCodeAt(end))) end++;
      const word = this.places.get(text.slice(place, end - tails[i]));
      if (word === undefined) throw new Error(`the text has no word of the dictionary at ${place}`);
      const row = this.first[word] + within[i];
      found[i] = place;
      of[i] = row;
      sizes[row]++;
    }
    this.contextStarts = starts(sizes);
    this.contextPlaces = new Uint32Array(gaps.length);
    for (let i = 0; i < gaps.length; i++) this.contextPlaces[this.contextStarts[of[i]] + ranks[i]] = found[i];
  }

  // The row of a word as it is written, or else in lower case or with a capital; -1 where there is none.
  find(word) {
    const lower = word.toLowerCase(), capital = lower.slice(0, 1).toUpperCase() + lower.slice(1);
    for (const form of [word, lower, capital]) if (this.places.has(form)) return this.places.get(form);
    return -1;
  }

  rows(word) {
    return Array.from({ length: this.numbers[word] }, (_, i) => this.first[word] + i);
  }

  wordOf(row) {
    let low = 0, high = this.words.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.first[middle] <= row) low = middle; else high = middle;
    }
    return low;
  }

  sense(row) {
    const word = this.wordOf(row), synset = this.synset[row];
    return {
      row, word: this.words[word], number: row - this.first[word] + 1, states: this.counts[row],
      pos: PARTS[this.pos[row]], synset: this.synsets[synset], definition: this.definitions[synset],
      sure: this.sure[row], votes: this.votes[row],
    };
  }

  // The contexts of a sense, the nearest first: up to 12 words on each side.
  contexts(row) {
    const word = this.words[this.wordOf(row)];
    return Array.from(this.contextPlaces.subarray(this.contextStarts[row], this.contextStarts[row + 1]), (place) => {
      const begin = this.text.lastIndexOf("\n", place) + 1, tab = this.text.indexOf("\t", begin);
      const last = this.text.indexOf("\n", place), end = place + word.length;
      const right = this.text.slice(end, last < 0 ? undefined : last);
      return {
        left: this.text.slice(tab + 1, place).trim().split(" ").slice(-12).join(" "),
        word,
        right: (right.match(/^\s*(\S+\s*){0,12}/) || [""])[0].trimEnd(),
        source: this.text.slice(begin, tab),
      };
    });
  }

  // Names of the synonyms or antonyms of a word, those that most synsets support first.
  related(word, kind) {
    const at = this.places.get(this.words[word].toLowerCase()) ?? word, from = this.kin[kind];
    return Array.from(this[`${kind}s`].subarray(from[at], from[at + 1]), (name) => this.names[name]);
  }

  vector(row) {
    return Array.from({ length: this.dimensions }, (_, i) => this.vectors[i * this.senses + row]);
  }

  // The senses of these words that are nearest to a sense, one of each word, the nearest first.
  nearest(row, names, most) {
    const found = [];
    for (const name of names) {
      const word = this.places.get(name);
      if (word === undefined || !this.numbers[word]) continue;
      let best = null;
      for (const other of this.rows(word)) {
        const distance = this.distance(row, other);
        if (!best || distance < best.distance) best = { row: other, distance };
      }
      found.push(best);
    }
    return found.sort((a, b) => a.distance - b.distance).slice(0, most).map((each) => this.sense(each.row));
  }

  distance(a, b) {
    let sum = 0;
    for (let i = 0, at = 0; i < this.dimensions; i++, at += this.senses) {
      const difference = this.vectors[at + a] - this.vectors[at + b];
      sum += difference * difference;
    }
    return sum;
  }

  // Words that begin with these letters, the most frequent first.
  completions(begun, most) {
    const found = [], lower = begun.toLowerCase();
    for (let i = 0; i < this.words.length && found.length < most; i++) {
      if (this.words[i].toLowerCase().startsWith(lower)) found.push(i);
    }
    return found;
  }

  // The words that are fewest letters away: left out, put in, changed, or two that changed places.
  spellings(word, most) {
    const wanted = word.toLowerCase(), own = letters(wanted), found = [];
    this.letters ??= this.names.map((name) => letters(name.toLowerCase()));
    this.names.forEach((name, i) => {
      // An edit takes away and adds a letter at most: most names are told apart without their distance.
      if (Math.abs(name.length - wanted.length) > 3 || bits(own & ~this.letters[i]) > 3 || bits(this.letters[i] & ~own) > 3) return;
      const steps = edits(wanted, name.toLowerCase(), 3);
      if (steps <= 3) found.push({ name, steps, i });
    });
    found.sort((a, b) => a.steps - b.steps || a.i - b.i);
    const names = new Map(found.map(({ name }) => [name.toLowerCase(), name]).reverse());
    return [...new Set(found.map(({ name }) => names.get(name.toLowerCase())))].slice(0, most);
  }
}

const PARTS = ["", "noun", "verb", "adjective", "adverb"];

// A bit for each letter of a text; some letters share one.
function letters(text) {
  let found = 0;
  for (let i = 0; i < text.length; i++) found |= 1 << (text.charCodeAt(i) & 31);
  return found;
}

function bits(number) {
  let count = 0;
  for (; number; number &= number - 1) count++;
  return count;
}

// Damerau and Levenshtein's distance; more than `most` where it is larger.
function edits(a, b, most) {
  let before = null, last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
      least = Math.min(least, row[j]);
    }
    if (least > most) return most + 1;
    [before, last] = [last, row];
  }
  return last[b.length];
}
