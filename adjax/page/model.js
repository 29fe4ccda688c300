// A trained transformer and its environments, as a page or node runs them.
//
//   const weights = await adjax.inflate(data.weights);   // data: model_data.of
//   const model = adjax.model({...data, weights});
//   const rng = adjax.random(7);                         // () -> [0, 1)
//   const environment = adjax.environment(scene, rng);   // scene: Config.scene
//   let cache = model.empty();                           // a fresh context
//   let inputs = {obs: environment.reset(), ...adjax.FIRST};
//   for (;;) {
//     const {logits, attention} = model.step(cache, inputs);  // changes cache
//     // attention[layer][age]: age 0 is this step; sums to 1; mean over heads
//     const action = adjax.sample(adjax.softmax(logits), rng);
//     const after = environment.step(action); // {obs, reward, done, next_obs}
//     inputs = {...after, action};
//   }
//
// Where `done`, obs is a new episode's first, and next_obs what the step led
// to. To forget: cache = model.empty(), inputs = {obs, ...adjax.FIRST}.
// environment.scene.goals of a grid (of arms: means) may be set at any time;
// environment.reset([x, y]) starts in that cell. Of scenes of another kind
// there is none.
//
// What is computed is adjax/models/transformer.py and, of the inputs,
// adjax/learners/networks.py; tests/test_page_model.py holds them equal.
'use strict';

const adjax = (() => {
  // What is known before the first step of all.
  const FIRST = Object.freeze({action: -1, reward: 0, done: false});

  // Base64 of zlib of float16, little-endian, to a Float32Array.
  async function inflate(base64) {
    const packed = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(
        new DecompressionStream('deflate'));
    const bytes = new DataView(await new Response(stream).arrayBuffer());
    return Float32Array.from({length: bytes.byteLength / 2},
        (_, i) => float16(bytes.getUint16(2 * i, true)));
  }

  // The number that 16 bits of IEEE 754 stand for.
  function float16(bits) {
    const sign = bits >> 15 ? -1 : 1;
    const exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  }

  // Numbers in [0, 1), the same for the same seed (mulberry32).
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = state + 0x6d2b79f5 >>> 0;
      let z = Math.imul(state ^ state >>> 15, state | 1);
      z ^= z + Math.imul(z ^ z >>> 7, z | 61);
      return ((z ^ z >>> 14) >>> 0) / 2 ** 32;
    };
  }

  // An index, by its probability.
  function sample(probabilities, rng) {
    let left = rng(), last = 0;
    for (let i = 0; i < probabilities.length; i++) {
      if (probabilities[i] <= 0) continue;
      if (left < probabilities[i]) return i;
      left -= probabilities[i];
      last = i;
    }
    return last;  // They sum to 1 but for rounding.
  }

  // Probabilities; temperature 0 takes the likeliest.
  function softmax(logits, temperature = 1) {
    const most = Math.max(...logits);
    if (temperature === 0) {
      return Float32Array.from(logits, (_, i) => i === logits.indexOf(most));
    }
    const p = Float32Array.from(
        logits, x => Math.exp((x - most) / temperature));
    const sum = p.reduce((a, b) => a + b);
    return p.map(x => x / sum);
  }

  function model(data) {
    const {layers, heads, width, window, actions} = data;
    const size = width / heads, scale = 1 / Math.sqrt(size);
    const tensors = {};
    let end = 0;
    for (const [name, shape] of data.tensors) {
      const start = end;
      end += shape.reduce((a, b) => a * b, 1);
      tensors[name] = data.weights.subarray(start, end);
    }

    // x -> x kernel + bias. Of the transpose, as a sum in a register is faster
    // than sums in memory.
    function dense(name) {
      const kernel = tensors[name + '/kernel'], bias = tensors[name + '/bias'];
      const columns = data.tensors.find(
          ([other]) => other === name + '/kernel')[1][1];
      const rows = kernel.length / columns;
      const transpose = new Float32Array(kernel.length);
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          transpose[j * rows + i] = kernel[i * columns + j];
        }
      }
      const y = new Float32Array(columns);
      return x => {
        for (let j = 0; j < columns; j++) {
          y[j] = dot(x, 0, transpose, j * rows, rows) + (bias ? bias[j] : 0);
        }
        return y;
      };
    }

    // A layer norm without a bias.
    function norm(name) {
      const gain = tensors[name + '/scale'], y = new Float32Array(width);
      return x => {
        let sum = 0, squares = 0;
        for (let i = 0; i < width; i++) sum += x[i];
        const mean = sum / width;
        for (let i = 0; i < width; i++) squares += (x[i] - mean) ** 2;
        const deviation = Math.sqrt(squares / width + 1e-6);
        for (let i = 0; i < width; i++) {
          y[i] = (x[i] - mean) / deviation * gain[i];
        }
        return y;
      };
    }

    const blocks = Array.from({length: layers}, (_, i) => ({
      attentionNorm: norm(`blocks_${i}/attention_norm`),
      qkv: dense(`blocks_${i}/qkv`),
      out: dense(`blocks_${i}/out`),
      perceptronNorm: norm(`blocks_${i}/perceptron_norm`),
      up: dense(`blocks_${i}/up`),
      down: dense(`blocks_${i}/down`),
    }));
    const lastNorm = norm('norm'), head = dense('head');

    // Most inputs are zeros, so that rows of the kernel are added up.
    const kernel = tensors['embedding/Dense_0/kernel'];
    function embed({obs, action, reward, done}) {
      const x = Float32Array.from(tensors['embedding/Dense_0/bias']);
      let row = 0;
      const add = (index, factor) => {
        for (let i = 0; i < width; i++) {
          x[i] += factor * kernel[(row + index) * width + i];
        }
      };
      for (const {entry, table, low, middle, half} of data.features) {
        if (table) {
          add(Math.min(Math.max(obs[entry] - low, 0), table - 1), 1);
        } else {
          add(0, (obs[entry] - middle) / half);
        }
        row += table || 1;
      }
      add(action + 1, 1);
      row += actions + 1;
      add(0, soften((reward - data.reward.mean) / data.reward.deviation));
      add(1, done ? 1 : 0);
      return x;
    }

    // A whole number of 2^-32 turns a step, counted modulo 2^32.
    const turns = Array.from({length: size / 2}, (_, i) => Math.round(
        10000 ** (-i / (size / 2)) / (2 * Math.PI) * 2 ** 32) | 0);
    const cos = new Float32Array(size / 2), sin = new Float32Array(size / 2);

    // Queries and keys, the first 2 * width of qkv, turned as of their time.
    function rotate(qkv) {
      for (let start = 0; start < 2 * width; start += size) {
        for (let i = 0, j = size / 2; j < size; i++, j++) {
          const a = qkv[start + i], b = qkv[start + j];
          qkv[start + i] = a * cos[i] - b * sin[i];
          qkv[start + j] = a * sin[i] + b * cos[i];
        }
      }
    }

    const attended = new Float32Array(width), scores = new Float32Array(window);

    // Writes `attended`; returns the weights by age, their mean over heads.
    function attend(qkv, keys, values, time) {
      const filled = Math.min(time + 1, window);
      const ages = new Float32Array(window);
      attended.fill(0);
      for (let at = 0; at < width; at += size) {
        let most = -Infinity, sum = 0;
        for (let slot = 0; slot < filled; slot++) {
          scores[slot] = scale * dot(qkv, at, keys, slot * width + at, size);
          most = Math.max(most, scores[slot]);
        }
        for (let slot = 0; slot < filled; slot++) {
          scores[slot] = Math.exp(scores[slot] - most);
          sum += scores[slot];
        }
        for (let slot = 0; slot < filled; slot++) {
          const weight = scores[slot] / sum, from = slot * width;
          for (let i = at; i < at + size; i++) {
            attended[i] += weight * values[from + i];
          }
          ages[(time - slot) % window] += weight / heads;
        }
      }
      return ages;
    }

    function step(cache, inputs) {
      const {time} = cache, slot = time % window;
      turns.forEach((turn, i) => {
        const angle = Math.imul(time, turn) * (Math.PI / 2 ** 31);
        cos[i] = Math.cos(angle);
        sin[i] = Math.sin(angle);
      });
      const x = embed(inputs);
      const attention = blocks.map((block, i) => {
        const {keys, values} = cache.layers[i];
        const qkv = block.qkv(block.attentionNorm(x));
        rotate(qkv);
        keys.set(qkv.subarray(width, 2 * width), slot * width);
        values.set(qkv.subarray(2 * width), slot * width);
        const ages = attend(qkv, keys, values, time);
        addTo(x, block.out(attended));
        const hidden = block.up(block.perceptronNorm(x));
        for (let j = 0; j < hidden.length; j++) hidden[j] = gelu(hidden[j]);
        addTo(x, block.down(hidden));
        return ages;
      });
      cache.time++;
      return {logits: head(lastNorm(x)).slice(), attention};
    }

    const empty = () => ({
      time: 0,
      layers: blocks.map(() => ({
        keys: new Float32Array(window * width),
        values: new Float32Array(window * width),
      })),
    });
    return {...data, empty, step};
  }

  // Four sums, so that no addition waits for the one before.
  function dot(a, i, b, j, size) {
    let p = 0, q = 0, r = 0, s = 0, k = 0;
    for (; k + 3 < size; k += 4) {
      p += a[i + k] * b[j + k];
      q += a[i + k + 1] * b[j + k + 1];
      r += a[i + k + 2] * b[j + k + 2];
      s += a[i + k + 3] * b[j + k + 3];
    }
    for (; k < size; k++) p += a[i + k] * b[j + k];
    return p + q + r + s;
  }

  function addTo(x, y) {
    for (let i = 0; i < x.length; i++) x[i] += y[i];
  }

  // As flax has it: x (1 + tanh u) / 2 is x / (1 + exp(-2 u)).
  function gelu(x) {
    const u = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
    return x / (1 + Math.exp(-2 * u));
  }

  function soften(x) {
    const size = Math.abs(x);
    return size <= 1 ? x : Math.sign(x) * (1 + Math.log(size));
  }

  // As adjax/envs/dark_room.py.
  function grid(scene, rng) {
    const cell = () => Math.floor(rng() * scene.size);
    const self = {scene, time: 0, found: 0, position: [0, 0], reset, step};

    function reset(start) {
      const centre = Math.floor(scene.size / 2);
      self.position = start ? [...start]
          : scene.random_start ? [cell(), cell()] : [centre, centre];
      self.time = self.found = 0;
      return [...self.position];
    }

    function step(action) {
      self.position = self.position.map((x, axis) => Math.min(
          Math.max(x + scene.moves[action][axis], 0), scene.size - 1));
      const goal = scene.goals[self.found];  // None after the last.
      const reached = goal !== undefined &&
          self.position.every((x, axis) => x === goal[axis]);
      const last = self.found === scene.goals.length - 1;
      if (reached && scene.pays_once) self.found++;
      self.time++;
      const done = self.time >= scene.episode_length ||
          reached && last && scene.terminate;
      const next_obs = [...self.position];
      const obs = done ? reset() : next_obs;
      return {obs, reward: reached ? 1 : 0, done, next_obs};
    }

    return self;
  }

  // As adjax/envs/bandit.py: nothing is seen, and a pull is an episode.
  function arms(scene, rng) {
    const self = {scene, time: 0, found: 0, reset, step};

    function reset() {
      self.time = 0;
      return [0];
    }

    function step(action) {
      const mean = scene.means[action];
      const reward = scene.reward === 'bernoulli' ? +(rng() < mean)
          : mean + scene.noise * normal(rng);
      return {obs: reset(), reward, done: true, next_obs: [0]};
    }

    return self;
  }

  // A number of the normal distribution (Box and Muller).
  function normal(rng) {
    return Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
  }

  const KINDS = {grid, arms};

  // The environment of a scene; undefined if there is none of its kind.
  function environment(scene, rng) {
    return KINDS[scene?.kind]?.(scene, rng);
  }

  return {FIRST, model, environment, inflate, random, sample, softmax};
})();

if (typeof module !== 'undefined') module.exports = adjax;
