/**
 * Stands in for `client_wasm.js`: the calls of contract.js with made-up answers, so that the page can be looked at
 * without a model, a server or a build. Every number here is invented.
 */

const WORDS = "the food was cold and the waiter Anna Miller told us to call 555 0199 again".split(
  " ",
);
const KINDS = ["unchanged", "near", "far", "removed"];
const entry = (name, title, level, rest = {}) => ({
  name,
  title,
  about: `Made-up text about “${title}”: what it does to words, and what the server can still see.`,
  level,
  guarantee: `Made-up promise of “${title}”, long enough to need a second line where the window is narrow.`,
  takes_contribution: false,
  ranks_tokens: false,
  why: "",
  ...rest,
});
const SHARE = "Share of words that are expected to change.";

export const MECHANISMS = [
  entry("token", "Replace words", SHARE, {
    takes_contribution: true,
    why: "It stands first because it hides most words for the accuracy that it costs.",
  }),
  entry("suppress", "Blank out words", SHARE, { ranks_tokens: true }),
  entry("drop", "Leave out words", SHARE, { ranks_tokens: true }),
  entry("exponential", "Draw words", SHARE, { takes_contribution: true }),
  entry("vector", "Blur the numbers", "Strength of the noise.", { takes_contribution: true }),
  entry("pool", "Average words", "Share of the positions that are averaged away."),
  entry("none", "No protection", ""),
];

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));
const failure = (name, message) => Object.assign(new Error(message), { name });

/** Every word in one of the four kinds, in turn, between two marks; every fifth is a part of a word. */
function tokens(text) {
  const mark = (text) => ({ text, seen: text, kind: "special", continues: false });
  const own = text.split(/\s+/).map((word, index) => {
    const kind = KINDS[index % 4];
    const seen = { unchanged: word, near: `${word}s`, far: "harbour", removed: "" }[kind];
    return { text: word, seen, kind, continues: index % 5 === 4 };
  });
  return [mark("[CLS]"), ...own, mark("[SEP]")];
}

export default async function init() {}

export class Client {
  #emit;
  #wanted = null;
  #stopped = false;
  #paused = false;
  #paired = false;

  static async connect(_server, _options, emit) {
    const client = new Client();
    client.#emit = emit;
    emit({
      type: "device",
      kind: "cpu",
      name: "stub",
      notice: "This is a stub: all numbers are invented.",
    });
    return client;
  }

  async catalogue() {
    const cuts = [0, 1, 2];
    const sizes = { f16: 24e6, f32: 48e6, int8: 12e6 };
    const bottoms = cuts.flatMap((cut) =>
      Object.entries(sizes).map(([precision, bytes]) => ({
        cut,
        precision,
        bytes: bytes * (1 + cut / 8),
      })),
    );
    const model = { model_id: "stub", family: "bert", n_layers: 6, d_model: 384, cuts, bottoms };
    return { models: [model], model_id: "stub", cut: 1 };
  }

  mechanisms() {
    return MECHANISMS;
  }

  async read_file(name) {
    this.#paired = name.includes("pairs");
    const second = this.#paired ? "hypothesis" : null;
    return {
      format: "TSV",
      encoding: "UTF-8",
      rows: 1200,
      columns: ["review", ...(second ? [second] : []), "rating"],
      text_column: "review",
      pair_column: second,
      label_column: "rating",
      labels: [
        { name: "negative", count: 600 },
        { name: "positive", count: 480 },
        { name: "<b>neither</b> & a very long name", count: 120 },
      ],
      bad_rows: [{ row: 17, reason: "The label is empty." }],
      bad_rows_total: 1,
      problem: null,
      examples: [
        { text: WORDS.join(" "), pair: second && "the waiter was kind", label: "negative" },
      ],
    };
  }

  async choose_columns() {
    return this.read_file(this.#paired ? "pairs" : "");
  }

  async set_privacy(wanted) {
    await pause(100);
    this.#wanted = wanted;
    const { mechanism, protection, contribution } = wanted;
    const { guarantee, takes_contribution, ranks_tokens } = MECHANISMS.find(
      ({ name }) => name === mechanism,
    );
    const reads = contribution.reading !== "off";
    if (reads && !takes_contribution) throw failure("Option", "contribution: not used here");
    const eta = ranks_tokens || ["pool", "none"].includes(mechanism) ? null : 71.5;
    const caveats = reads
      ? ["A word that is changed little tells that it matters for the task."]
      : [];
    if (contribution.label_dependent) caveats.push("What is sent tells something of the label.");
    const word = (text, index) => ({
      text,
      label: index % 2 ? "positive" : "negative",
      importance: 3.21 / (index + 1),
      count: 90 - index,
      factor: index === 0 || !reads ? null : 1.4 - index / 10,
    });
    return {
      mechanism,
      eta,
      protection,
      sentence: "About half of the words are replaced before anything leaves (invented).",
      guarantee,
      caveats,
      contributing: reads || ranks_tokens ? WORDS.map(word) : [],
    };
  }

  async preview({ examples }) {
    const shares = { unchanged: 0.25, near: 0.2, far: 0.45, removed: 0.1 };
    const others = [WORDS.join(" "), "Die Küche war kalt, 味が薄い и никто не пришёл", "ok"];
    const text = (_, index) => ({ tokens: tokens(others[index % others.length]) });
    const shown = Array.from({ length: examples }, text);
    return { examples: shown, shares, tokens_counted: 2000 };
  }

  async preview_text(text, pair) {
    const both = pair === null ? text : `${text} ${pair}`;
    return { ...(await this.preview({ examples: 0 })), examples: [{ tokens: tokens(both) }] };
  }

  async reading({ levels, examples }) {
    this.#stopped = false;
    for (let done = 0; done < 20; done += 1) {
      if (this.#stopped) throw failure("Stopped", "stopped");
      this.#emit({ type: "reading", done, total: 20 });
      await pause(50);
    }
    const point = (level) => ({
      level,
      eta: 120 - 80 * level,
      unchanged: 1 - level,
      near: level * 0.2,
      far: level * 0.8,
      removed: 0,
      nn: 1 - level,
      bayes: this.#wanted.mechanism === "token" ? 1 - level ** 2 : null,
    });
    return {
      points: levels.map(point),
      undefended: { nn: 1, bayes: this.#wanted.mechanism === "token" ? 1 : null },
      chance: 0.062,
      examples,
      tokens: 912,
      survivors: {
        names: { total: 31, kept: 14 },
        numbers: { total: 12, kept: 5 },
        examples: [
          { text: "Miller", times: 4 },
          { text: "555", times: 1 },
        ],
      },
    };
  }

  stop_reading() {
    this.#stopped = true;
  }

  /** Three classes, one of them rare and often missed; the more protection, the more is missed. */
  #confusion(rows, learnt) {
    const spared = 0.5 + 0.45 * learnt * (1 - 0.5 * (this.#wanted.protection ?? 0));
    return [0.5, 0.4, 0.1].flatMap((share, truth) => {
      const own = Math.round(rows * share);
      const right = Math.round(own * (truth === 2 ? spared - 0.3 : spared));
      const first = Math.round((own - right) * 0.7);
      const counts = [first, first, first];
      counts[truth] = right;
      counts[(truth + 2) % 3] = own - right - first;
      return counts;
    });
  }

  async train({ epochs, labels, bottom }) {
    if (bottom === "lora" && ["vector", "pool"].includes(this.#wanted.mechanism))
      throw failure("Option", "bottom: lora needs a mechanism that changes the words themselves");
    this.#stopped = false;
    const steps = 20 * epochs;
    let best = { accuracy: -1, step: 0 };
    this.#emit({ type: "progress", stage: "upload", done: 1200, total: 1200, bytes_sent: 9e6 });
    this.#left("Connection", 0, {});
    this.#left("Hello", 180, { classes: 2, rank: 8, labels_travel: labels === "server" ? 1 : 0 });
    for (let sent = 0; sent < 1200; sent += 16) {
      const counts = { examples: 16, training: 13, validation: 3, class_numbers: 16 };
      this.#left("Upload", 1.2e5, counts, 160);
    }
    this.#left("Train", 61, { epochs, batch_size: 32 });
    this.#emit({ type: "train_started", steps_total: steps });
    for (let step = 1; step <= steps && !this.#stopped; step += 1) {
      while (this.#paused && !this.#stopped) await pause(50);
      await pause(20);
      const epoch = Math.ceil(step / 20);
      const swing = 0.08 * Math.sin(step * 2.7) + 0.05 * Math.sin(step * 1.3);
      const loss = 0.35 + 0.75 * Math.exp(-step / 25) + swing + (labels === "client" ? 0.02 : 0);
      this.#emit({ type: "step", step, epoch, loss, learning_rate: 0.001, step_millis: 20 });
      if (step % 20 !== 0) continue;
      // The last pass but one is the best, so that the kept state is not the last.
      const learnt = epoch < epochs || epochs === 1 ? epoch / epochs : 0.6;
      const confusion = this.#confusion(120, learnt);
      const accuracy = (confusion[0] + confusion[4] + confusion[8]) / 120;
      const isBest = accuracy > best.accuracy;
      if (isBest) best = { accuracy, step };
      this.#emit({
        type: "validation",
        step,
        loss: 0.45 + 0.5 * Math.exp(-step / 30) + 0.002 * step,
        accuracy,
        macro_f1: accuracy - 0.06,
        confusion,
        best: isBest,
      });
    }
    this.#emit({ type: "train_done", steps, best_step: best.step, reason: "Finished" });
  }

  /** Tells of a message as the wasm client does. */
  #left(message, bytes, counts, rows = 0) {
    const first = [0.125, -0.5, 0.75, 1.5, -2, 0.25];
    this.#emit({
      type: "left",
      message,
      bytes,
      counts: Object.entries(counts).map(([name, value]) => ({ name, value })),
      tensor: rows > 0 ? { dtype: "f16", rows, columns: 384, bytes: rows * 768, first } : null,
    });
  }

  pause() {
    this.#paused = true;
    this.#emit({ type: "paused" });
  }

  resume() {
    this.#paused = false;
    this.#emit({ type: "continued" });
  }

  cancel() {
    this.#stopped = true;
  }

  async predict(sentences) {
    const probabilities = [
      { label: "negative", probability: 0.7 },
      { label: "positive", probability: 0.2 },
      { label: "<b>neither</b> & a very long name", probability: 0.1 },
    ];
    return sentences.map(() => ({ label: "negative", probabilities }));
  }

  /** A name with “wrong” in it stands for a file that cannot be used. */
  async evaluate(name) {
    await pause(1500);
    if (name.includes("wrong")) throw failure("Columns", "This file has no column “rating”.");
    const confusion = this.#confusion(400, 0.8);
    const accuracy = (confusion[0] + confusion[4] + confusion[8]) / 400;
    return {
      examples: 400,
      bad_rows_total: 3,
      accuracy,
      macro_f1: accuracy - 0.07,
      confusion,
    };
  }

  traffic() {
    return { bytes_sent: 9_000_000, bytes_received: 1_000_000, frames_sent: 90 };
  }
}
