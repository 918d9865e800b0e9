/**
 * The shapes that cross the boundary to `client-wasm/src/bindings.rs`, written down once.
 *
 * Types only: this file holds no code. Field names are those of the Rust side.
 *
 * | call of `Client` | gives |
 * |---|---|
 * | `connect(server, ConnectOptions, onEvent, Files)` | a `Client` |
 * | `catalogue()` | `Catalogue` |
 * | `mechanisms()`, at once | `Mechanism[]`, in the order in which they are offered |
 * | `read_file(name, bytes)`, `choose_columns(Columns)` | `DatasetReport` |
 * | `set_privacy(PrivacyWanted)` | `Privacy` |
 * | `preview({ examples })`, `preview_text(text, pair or null)` | `Preview` |
 * | `reading(ReadingWanted)` | `Reading`; `{ type: "reading", done, total }` events meanwhile |
 * | `stop_reading()`, at once | nothing; `reading` then fails with the name `Stopped` |
 * | `train(TrainOptions)` | nothing; events meanwhile, `{ type: "reconnecting", attempt, attempts_max }` and
 *   `{ type: "reconnected" }` among them |
 * | `pause()`, `resume()`, `cancel()`, at once | nothing |
 * | `predict(Sentence[])` | `Prediction[]` |
 * | `evaluate(name, bytes, Columns)` | `Evaluation` |
 * | `traffic()`, at once | `Traffic` |
 *
 * Unasked, whenever the socket is given something: `{ type: "left", message, bytes, counts, tensor }`, see `left.js`.
 *
 * Calls that are not answered at once wait for each other, in the order in which they were made.
 *
 * @typedef {"auto"|"cpu"|"gpu"} DeviceChoice
 * @typedef {"f16"|"f32"|"int8"} Precision
 * @typedef {"unchanged"|"near"|"far"|"removed"|"special"} TokenKind
 * @typedef {"off"|"floor"|"top"|"sigmoid"} ContributionReading
 * @typedef {"server"|"client"} LabelPlace
 * @typedef {"frozen"|"lora"} BottomTraining
 *
 * @typedef {{ device: DeviceChoice, cut: number|null, precision: Precision, token: string|null }} ConnectOptions
 * @typedef {{ cut: number, precision: Precision, bytes: number }} BottomSize
 * @typedef {{ model_id: string, family: string, n_layers: number, d_model: number, cuts: number[], bottoms: BottomSize[] }} Model
 * @typedef {{ models: Model[], model_id: string, cut: number }} Catalogue
 *
 * @typedef {object} Files what the client takes files from: its calls go back to the page
 * @property {string} catalogue as the server wrote it
 * @property {(path: string, sha256: string, from: number) => Promise<Answer>} open asks for a file from a byte on
 * @property {(sha256: string, label: string) => Promise<KeptFile|undefined>} kept opens what is kept of it
 * @typedef {object} Answer
 * @property {number} status
 * @property {string|undefined} range the header `Content-Range`
 * @property {() => Promise<Uint8Array|undefined>} next undefined after the last bytes; throws where they are lost
 * @property {() => void} cancel
 * @typedef {object} KeptFile all at once, as a file in a worker is
 * @property {() => number} bytes
 * @property {(at: number, into: Uint8Array) => number} read
 * @property {(bytes: Uint8Array) => void} append all or none; throws where there is no room
 * @property {() => void} clear
 * @property {() => void} close
 *
 * @typedef {object} Mechanism one of those on offer; the first one is recommended
 * @property {string} name as it is chosen
 * @property {string} title two or three words
 * @property {string} about what it does and what remains
 * @property {string} level what the protection level means; empty where there is none
 * @property {string} guarantee what is promised
 * @property {boolean} takes_contribution whether words that matter can get less noise
 * @property {boolean} ranks_tokens whether it decides by which words matter
 * @property {string} [why] why it stands where it stands; may be empty
 *
 * @typedef {{ text: string, pair: string|null, label: string|null }} Columns
 * @typedef {object} DatasetReport
 * @property {string} format
 * @property {string} encoding
 * @property {number} rows
 * @property {string[]} columns
 * @property {string|null} text_column
 * @property {string|null} pair_column
 * @property {string|null} label_column
 * @property {{ name: string, count: number }[]} labels in the order of the class indices
 * @property {{ row: number, reason: string }[]} bad_rows the first ones only
 * @property {number} bad_rows_total
 * @property {string|null} problem why this data cannot be trained on
 * @property {{ text: string, pair: string|null, label: string|null }[]} examples
 *
 * @typedef {object} Contribution
 * @property {ContributionReading} reading `off` where the mechanism does not take it
 * @property {number|null} parameter null: the reading's own default
 * @property {boolean} label_dependent whether the noise of a training row may depend on its label
 *
 * @typedef {object} PrivacyWanted
 * @property {string} mechanism
 * @property {number|null} protection above 0 and below 1; null with `eta` or without a level
 * @property {number|null} eta
 * @property {Contribution} contribution
 *
 * @typedef {object} ContributingWord
 * @property {string} text
 * @property {string} label the class that it speaks for
 * @property {number} importance
 * @property {number} count in the training rows
 * @property {number|null} factor of eta, so that noise is divided by it; null with a reading: no noise
 *
 * @typedef {object} Privacy
 * @property {string} mechanism
 * @property {number|null} eta null where the mechanism has none
 * @property {number|null} protection
 * @property {string} sentence what will happen
 * @property {string} guarantee what is promised
 * @property {string[]} caveats
 * @property {ContributingWord[]} contributing
 *
 * @typedef {{ text: string, seen: string, kind: TokenKind, continues: boolean }} Token `seen` is empty when removed
 * @typedef {{ unchanged: number, near: number, far: number, removed: number }} Shares
 * @typedef {{ examples: { tokens: Token[] }[], shares: Shares, tokens_counted: number }} Preview
 *
 * @typedef {{ levels: number[], examples: number }} ReadingWanted a mechanism without levels does not look at them
 * @typedef {Shares & { level: number, eta: number|null, nn: number, bayes: number|null }} ReadingPoint
 *   `nn`, `bayes`: the share of tokens that the attack reads back; `bayes` null where it does not apply
 * @typedef {{ total: number, kept: number }} Kept
 * @typedef {object} Reading
 * @property {ReadingPoint[]} points one for each level
 * @property {{ nn: number, bayes: number|null }} undefended the same attacks without a mechanism
 * @property {number} chance the share that is right by frequencies alone
 * @property {number} examples texts that were attacked
 * @property {number} tokens their tokens
 * @property {{ names: Kept, numbers: Kept, examples: { text: string, times: number }[] }} survivors
 *   what leaves word for word under the privacy that is set
 *
 * @typedef {object} TrainOptions
 * @property {number} epochs
 * @property {number} batch_size
 * @property {number} learning_rate
 * @property {number} rank
 * @property {number} alpha
 * @property {"query-value"|"all"} [targets]
 * @property {number} dropout
 * @property {number} validation_share
 * @property {"none"|"balanced"} class_weights
 * @property {number} patience
 * @property {"f16"|"f32"|"int8"} dtype
 * @property {LabelPlace} labels
 * @property {BottomTraining} bottom
 * @property {number} label_noise 0: off; only where labels stay at the client
 *
 * @typedef {[text: string, pair: string|null]} Sentence
 * @typedef {{ label: string, probabilities: { label: string, probability: number }[] }} Prediction
 * @typedef {{ bytes_sent: number, bytes_received: number, frames_sent: number }} Traffic
 * @typedef {{ kind: "webgpu"|"cpu", name: string, notice: string|null }} DeviceInfo
 *
 * @typedef {object} Evaluation how well the adapter does on a labelled file that it was not trained on
 * @property {number} examples
 * @property {number} bad_rows_total rows that were left out, those with an unknown label among them
 * @property {number} accuracy
 * @property {number} macro_f1
 * @property {number[]} confusion `confusion[truth * n + answer]`
 *
 * @typedef {object} Validation
 * @property {number} step
 * @property {number} loss
 * @property {number} accuracy
 * @property {number} macro_f1
 * @property {number[]} confusion `confusion[truth * n + answer]`
 * @property {boolean} best
 */
export {};
