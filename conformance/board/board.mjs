// The board in a real browser: it keeps current, its buttons work, and it fits a phone.
//
//   node board.mjs --url 'http://127.0.0.1:PORT/?token=…' [--app NAMESPACE/NAME] [--shots DIR]
//
// Needs a CafeDeployment whose release waits for confirmation, now or soon, with at least one more group to come, and whose
// controller runs. Needs playwright-core (npm install in this folder, or NODE_PATH) and a Chromium: CHROMIUM or
// /usr/bin/chromium. Exits with 0 when all claims hold; prints each.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

const { chromium } = createRequire(import.meta.url)('playwright-core');

const { values } = parseArgs({ options: { url: { type: 'string' }, app: { type: 'string' }, shots: { type: 'string' } } });
if (!values.url) {
  console.error('usage: node board.mjs --url URL-WITH-TOKEN [--app NAMESPACE/NAME] [--shots DIR]');
  process.exit(2);
}

/** A release may take so long from one step to the next. */
const STEP_MS = 60000;
const WIDTHS = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

const errors = [];
let failed = 0;

/** Checks one claim; the next ones are checked all the same. */
async function claim(text, check) {
  try {
    await check();
    console.log(`ok    ${text}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${text}: ${error.message.split('\n')[0]}`);
  }
}

function must(holds, why) {
  if (!holds) throw new Error(why);
}

async function open(browser, viewport, options = {}) {
  const context = await browser.newContext({ viewport, ...options });
  const page = await context.newPage();
  page.on('console', (m) => m.type() === 'error' && errors.push(m.text()));
  page.on('pageerror', (e) => errors.push(e.message));
  await page.goto(values.url);
  await page.waitForSelector('#link[data-state="live"]', { timeout: STEP_MS });
  await page.waitForSelector('.tile, .tab', { state: 'attached', timeout: STEP_MS });
  const tab = page.locator('.tab', { hasText: values.app ?? '' }).first();
  if (values.app && await tab.isVisible()) await tab.click();
  await page.waitForSelector('.tile', { timeout: STEP_MS });
  return page;
}

const text = (page, id) => page.locator(`#${id}`).innerText();
const button = (page, verb) => page.locator(`#actions [data-verb="${verb}"]`);
const seen = (page, verb) => button(page, verb).waitFor({ state: 'visible', timeout: STEP_MS });

async function shot(page, name) {
  if (values.shots) await page.screenshot({ path: `${values.shots}/${name}.png`, fullPage: true });
}

/** No part of the page is wider than the window. */
async function fits(page) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  must(wide <= 0, `${wide} pixels too wide`);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
try {
  const page = await open(browser, WIDTHS.desktop);
  const origin = new URL(values.url).origin;

  await claim('the token leaves the address bar', async () => must(!page.url().includes('token'), page.url()));
  await claim('a call without the token is refused', async () => {
    for (const path of ['/api/board', '/api/events']) {
      const { status } = await fetch(origin + path);
      must(status === 401, `${path}: ${status}`);
    }
  });
  await claim('a page without the token says how to get in', async () => {
    const bare = await (await browser.newContext()).newPage();
    await bare.goto(origin);
    await bare.waitForSelector('#empty:not([hidden])', { timeout: STEP_MS });
    must((await bare.locator('#empty').innerText()).includes('token'), 'no word of the token');
    await bare.context().close();
  });
  await claim('a release waits for confirmation, and the page says so', async () => {
    await seen(page, 'confirm');
    must((await text(page, 'told-title')).includes('confirmation'), await text(page, 'told-title'));
    await shot(page, 'waiting-desktop');
  });
  await claim('pause, pressed on the page, pauses the release', async () => {
    await button(page, 'pause').click();
    await seen(page, 'continue');
  });
  await claim('continue, pressed with the keyboard, lets it go on', async () => {
    await button(page, 'continue').focus();
    await page.keyboard.press('Enter');
    await seen(page, 'confirm');
  });
  await claim('confirm, pressed on the page, starts the next group, and the stream shows its pods', async () => {
    const isMoving = () => [...document.querySelectorAll('.tile')].some((t) => ['draining', 'updating', 'starting'].includes(t.dataset.state));
    await button(page, 'confirm').click();
    await page.waitForFunction(isMoving, undefined, { timeout: STEP_MS });
    must(await page.locator('.step[data-phase="running"]').count() === 1, 'no group runs');
    await shot(page, 'running-desktop');
  });
  await claim('rollback asks first, and cancel leaves everything as it is', async () => {
    await button(page, 'rollback').click();
    await page.locator('#ask').waitFor({ state: 'visible' });
    await page.keyboard.press('Escape');
    await page.locator('#ask').waitFor({ state: 'hidden' });
    must(!(await text(page, 'told-title')).includes('back'), 'it rolls back');
  });
  await claim('rollback, said yes to, takes the release back', async () => {
    await seen(page, 'rollback');
    await button(page, 'rollback').click();
    await page.locator('#ask-yes').click();
    await page.waitForFunction(() => document.querySelector('#told-title').textContent.includes('Rolling back'), undefined, { timeout: STEP_MS });
    await shot(page, 'back-desktop');
  });
  await claim('the reason is a live region, and every button has a name', async () => {
    must(await page.locator('[aria-live="polite"] #told-title').count() === 1, 'no live region');
    const names = await page.locator('button:visible').evaluateAll((all) => all.map((b) => b.innerText.trim()));
    must(names.every(Boolean), `nameless among ${names}`);
    must(await page.locator('main').count() === 1, 'no main landmark');
  });
  for (const [name, viewport] of Object.entries(WIDTHS)) {
    for (const colorScheme of ['light', 'dark']) {
      await claim(`no sideways scrolling, ${name}, ${colorScheme}`, async () => {
        const other = await open(browser, viewport, { colorScheme });
        await fits(other);
        await shot(other, `${name}-${colorScheme}`);
        await other.context().close();
      });
    }
  }
  await claim('drawing is smooth', async () => {
    // Time between frames while the stream goes on; a board that redraws everything would drop many.
    const slow = await page.evaluate(() => new Promise((done) => {
      const gaps = [];
      let last = performance.now();
      const step = (at) => {
        gaps.push(at - last);
        last = at;
        if (gaps.length < 180) requestAnimationFrame(step);
        else done(gaps.sort((a, b) => a - b)[Math.floor(gaps.length * 0.95)]);
      };
      requestAnimationFrame(step);
    }));
    must(slow < 100, `one frame in twenty takes over ${slow.toFixed(0)} ms`);
  });
  await claim('nothing is reported on the console', async () => must(errors.length === 0, errors.join('; ')));
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
