// Runs adjax/page/model.js on what a test asks for, under node.
//
//   node page_model.mjs model.js < jobs.json > answers.json
//
// A job names what is to be done and has its arguments; `replace`, if there,
// is [text, other] to be changed in model.js first.
import {readFileSync} from 'node:fs';

const source = readFileSync(process.argv[2], 'utf8');

function load(replace) {
  const text = replace ? source.replaceAll(...replace) : source;
  return new Function(text + '\nreturn adjax;')();
}

async function modelOf(adjax, data) {
  return adjax.model({...data, weights: await adjax.inflate(data.weights)});
}

const JOBS = {
  // Logits and attention of every step of some inputs.
  async steps(adjax, {data, inputs}) {
    const model = await modelOf(adjax, data), cache = model.empty();
    const made = inputs.map(one => model.step(cache, one));
    return {
      logits: made.map(x => [...x.logits]),
      attention: made.map(x => x.attention.map(ages => [...ages])),
    };
  },

  // Logits of the inputs after `first` steps; then of the same from an empty
  // cache, twice.
  async forgets(adjax, {data, inputs, first}) {
    const model = await modelOf(adjax, data), cache = model.empty();
    const run = (cache, some) => some.map(x => [...model.step(cache, x).logits]);
    run(cache, inputs.slice(0, first));
    const rest = inputs.slice(first);
    return [cache, model.empty(), model.empty()].map(x => run(x, rest));
  },

  // An environment under given actions and, where given, starts of episodes and
  // other goals from the middle on.
  environment(adjax, {scene, actions, starts, seed, later}) {
    const environment = adjax.environment(scene, adjax.random(seed));
    const reset = obs => starts ? environment.reset(starts.shift()) : obs;
    let obs = reset(environment.reset());
    return actions.map((action, i) => {
      if (later && 2 * i === actions.length) environment.scene.goals = later;
      const before = obs, after = environment.step(action);
      obs = after.done ? reset(after.obs) : after.obs;
      return {...after, before, obs};
    });
  },

  float16: async (adjax, {base64}) => [...await adjax.inflate(base64)],

  softmax: (adjax, {logits, temperature}) =>
      [...adjax.softmax(logits, temperature)],

  // How often each index is drawn.
  sample(adjax, {probabilities, count, seed}) {
    const rng = adjax.random(seed), counts = probabilities.map(() => 0);
    for (let i = 0; i < count; i++) counts[adjax.sample(probabilities, rng)]++;
    return counts;
  },

  // Returns [scenes, runs, episodes] of the model acting by itself.
  async returns(adjax, {data, scenes, runs, episodes, seed}) {
    const model = await modelOf(adjax, data), rng = adjax.random(seed);
    const life = scene => {
      const environment = adjax.environment(scene, rng), found = [];
      const cache = model.empty();
      let inputs = {obs: environment.reset(), ...adjax.FIRST}, sum = 0;
      while (found.length < episodes) {
        const {logits} = model.step(cache, inputs);
        const action = adjax.sample(adjax.softmax(logits), rng);
        inputs = {...environment.step(action), action};
        sum += inputs.reward;
        if (inputs.done) found.push(sum), sum = 0;
      }
      return found;
    };
    return scenes.map(scene => Array.from({length: runs}, () => life(scene)));
  },

  // Steps past the window that a second of a processor makes.
  async speed(adjax, {data, inputs}) {
    const model = await modelOf(adjax, data), cache = model.empty();
    for (const one of inputs) model.step(cache, one);
    const start = process.cpuUsage();
    for (const one of inputs) model.step(cache, one);
    const {user, system} = process.cpuUsage(start);
    return 1e6 * inputs.length / (user + system);
  },
};

const answers = [];
for (const {job, replace, ...args} of JSON.parse(readFileSync(0, 'utf8'))) {
  answers.push(await JOBS[job](load(replace), args));
}
process.stdout.write(JSON.stringify(answers));
