// Plays a page, clicks in it, and writes what it found into it: what
// tests/test_page_browser.py appends to a page that it opens. FRAMES is set by
// it; `tryIt`, `curves`, `watch` and `ready` are the page's own.
'use strict';

const problems = [];
addEventListener('error', event => problems.push(event.message));
addEventListener('unhandledrejection', event => problems.push(String(event.reason)));
addEventListener('securitypolicyviolation', event => problems.push(`blocked: ${event.blockedURI}`));

async function selftest() {
  const found = {};
  const check = (name, ok) => { found[name] = Boolean(ok); };
  // Headless browsers have no frames; what was drawn is painted when it is read.
  const frames = (n, part, action) => {
    for (let i = 0; i < n; i++) {
      action(i);
      for (const canvas of [part.scene, part.bars, part.strip, part.chart]) canvas.getContext('2d').getImageData(0, 0, 1, 1);
    }
  };
  const until = async condition => {
    for (let i = 0; i < 200 && !condition(); i++) await new Promise(done => setTimeout(done, 10));
    return condition();
  };
  const click = (node, x, y, type = 'click') => {
    const box = node.getBoundingClientRect();
    node.dispatchEvent(new PointerEvent(type, {bubbles: true, clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
  };
  const press = (node, key) => node.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  const painted = canvas => new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size > 2;

  check('it is as wide as its window', document.documentElement.scrollWidth <= innerWidth);
  const lines = () => curves.plot.querySelectorAll('path[stroke-width]').length, before = lines();
  const chips = [...document.querySelectorAll('#curves .chip')];
  chips[0].click();
  check('a series is switched off', lines() === before - 1 && chips[0].getAttribute('aria-pressed') === 'false');
  chips[0].click();
  check('a series is switched on', lines() === before);
  const middle = curves.x(1);
  chips.at(-1).click();
  check('episodes are logarithmic', curves.x(1) > middle + 10);
  press(curves.plot, 'ArrowRight');
  check('curves are read out', /^Episode 2: .*\d \(.* to .*\)|^Episode 2: .* [\d.]+/.test(curves.readout.textContent));

  if (watch) {
    const first = watch.place;
    click(watch.map, .999, .999);
    // Where episodes end early, a rollout has more of them than are counted.
    const last = Math.min(watch.run.shares[0].length, watch.starts.length) - 1;
    check('a click opens the rollout of that task and episode',
      await until(() => watch.life.task === watch.run.order.at(-1) && watch.episode === last));
    watch.seek(0);
    press(watch.scene, ' ');
    frames(40, watch, () => watch.tick(.02));
    check('space plays', watch.playing && watch.t > 0);
    press(watch.scene, ' ');
    const at = watch.t;
    press(watch.scene, 'ArrowLeft');
    check('an arrow steps', !watch.playing && watch.t === at - 1);
    frames(FRAMES, watch, i => watch.seek(i % watch.obs.length));
    check('it is drawn', painted(watch.scene) && painted(watch.bars));
    const there = watch.run.optimum !== null;
    click(watch.map, .999, .999, 'pointermove');
    check('the map tells what it is of', there === /near the optimum/.test(watch.legend.textContent)
      && (there === / %$/.test(watch.map.parentNode.nextSibling.textContent)));
    await Promise.all([watch.open(watch.run, watch.place, 0), watch.open(watch.run, first, 0)]);
    check('what was asked for last is open', watch.place === first && watch.episode === 0);
  }
  if (tryIt) {
    const state = () => JSON.stringify([tryIt.task.goals, tryIt.task.means]), start = state();
    click(tryIt.scene, .9, .1);
    if (state() === start) click(tryIt.scene, .1, .9);  // It was so already.
    check('a click changes the task and plays', state() !== start && tryIt.playing);
    frames(40, tryIt, () => tryIt.tick(.05));
    check('the model acts', tryIt.past.length > 0);
    tryIt.play(false);
    frames(FRAMES, tryIt, () => { tryIt.act(); tryIt.draw(); });
    check('it is drawn there', painted(tryIt.scene) && painted(tryIt.strip));
    found.returns = tryIt.returns.slice();
    document.querySelector('#try .row button:last-child').click();
    check('it forgets', tryIt.past.length === 0 && tryIt.cache.time === 1);
    const now = state();
    press(tryIt.scene, 'ArrowDown');
    if (state() === now) press(tryIt.scene, 'ArrowUp');  // At an edge.
    check('the task changes by keyboard', state() !== now);
  }
  const texts = [...document.querySelectorAll('h1, h2, p, dd, dt, button, option, pre')].map(node => node.textContent);
  const unshown = text => text.startsWith('This cannot be shown here');
  check('no number is missing', !texts.some(text => !unshown(text) && /NaN|undefined|\[object/.test(text)));
  check('no error', !problems.length);
  found.unshown = texts.filter(unshown).length;
  return {...found, problems};
}

ready.then(selftest).catch(error => ({error: String(error.stack)})).then(found => {
  const verdict = document.createElement('pre');
  verdict.id = 'verdict';
  verdict.hidden = true;
  verdict.textContent = JSON.stringify(found);
  document.body.append(verdict);
});
