// A map of points in two dimensions that keeps neighbours, and how well it does.

// t-SNE (van der Maaten and Hinton 2008), exact, from the first two coordinates of the vectors: the same every time.
function layOut(vectors) {
  const n = vectors.length;
  if (n < 3) return vectors.map((_, i) => [i, 0]);
  const near = affinities(squares(vectors), Math.min(12, (n - 1) / 3));
  const spread = Math.max(...vectors.map((v) => Math.hypot(v[0], v[1] ?? 0)), 1e-9);
  const points = vectors.map((v, i) => [(v[0] + i * 1e-6) / spread / 100, ((v[1] ?? 0) + i * 1e-7) / spread / 100]);
  const speed = points.map(() => [0, 0]), gain = points.map(() => [1, 1]), rate = Math.max(n / 3, 20);
  for (let step = 0; step < 400; step++) {
    const pull = step < 100 ? 8 : 1, keep = step < 100 ? 0.5 : 0.8;
    const weights = new Float64Array(n * n);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) {
        const x = points[i][0] - points[j][0], y = points[i][1] - points[j][1];
        sum += 2 * (weights[i * n + j] = weights[j * n + i] = 1 / (1 + x * x + y * y));
      }
    }
    const slopes = points.map((point, i) => {
      let x = 0, y = 0;
      for (let j = 0; j < n; j++) {
        const weight = weights[i * n + j], force = 4 * (pull * near[i * n + j] - weight / sum) * weight;
        x += force * (point[0] - points[j][0]);
        y += force * (point[1] - points[j][1]);
      }
      return [x, y];
    });
    for (let i = 0; i < n; i++) {
      for (const d of [0, 1]) {
        gain[i][d] = Math.max(0.01, slopes[i][d] * speed[i][d] < 0 ? gain[i][d] + 0.2 : gain[i][d] * 0.8);
        speed[i][d] = keep * speed[i][d] - rate * gain[i][d] * slopes[i][d];
        points[i][d] += speed[i][d];
      }
    }
  }
  return points;
}

function squares(vectors) {
  const n = vectors.length, found = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      let sum = 0;
      for (let d = 0; d < vectors[i].length; d++) sum += (vectors[i][d] - vectors[j][d]) ** 2;
      found[i * n + j] = found[j * n + i] = sum;
    }
  }
  return found;
}

// How near each two points are: Gaussians as wide as the perplexity asks, made symmetric, with a sum of 1.
function affinities(distances, perplexity) {
  const n = Math.sqrt(distances.length), near = new Float64Array(n * n), wanted = Math.log(perplexity);
  for (let i = 0; i < n; i++) {
    const row = distances.subarray(i * n, i * n + n), least = Math.min(...row.filter((_, j) => j !== i));
    let low = 0, high = Infinity, precision = 1 / Math.max(1e-9, row.reduce((a, b) => a + b, 0) / n);
    for (let step = 0; step < 50; step++) {
      let sum = 0, weighted = 0;
      for (let j = 0; j < n; j++) {
        const value = j === i ? 0 : Math.exp(-(row[j] - least) * precision);
        near[i * n + j] = value;
        sum += value;
        weighted += value * (row[j] - least);
      }
      const entropy = Math.log(sum) + (precision * weighted) / sum;
      for (let j = 0; j < n; j++) near[i * n + j] /= sum;
      if (Math.abs(entropy - wanted) < 1e-5) break;
      if (entropy > wanted) low = precision; else high = precision;
      precision = high === Infinity ? precision * 2 : (low + high) / 2;
    }
  }
  const both = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) both[i * n + j] = (near[i * n + j] + near[j * n + i]) / (2 * n);
  return both;
}

// Trustworthiness (Venna and Kaski 2001): 1 where each point's k neighbours on the map are its neighbours in the vectors.
function trustworthiness(vectors, points, k = 5) {
  const n = vectors.length;
  if (n < 2 * k + 2) return null;
  const far = squares(vectors), onMap = squares(points);
  let penalty = 0;
  for (let i = 0; i < n; i++) {
    const order = (distances) => [...Array(n).keys()].filter((j) => j !== i).sort((a, b) => distances[i * n + a] - distances[i * n + b] || a - b);
    const rank = new Map(order(far).map((j, place) => [j, place + 1]));
    for (const j of order(onMap).slice(0, k)) penalty += Math.max(0, rank.get(j) - k);
  }
  return 1 - (2 * penalty) / (n * k * (2 * n - 3 * k - 1));
}
