/**
 * The shapes that cross the boundary to `client-wasm/src/bindings.rs`, written down once.
 *
 * Types only: this file holds no code. Field names are those of the Rust side.
 *
 * @typedef {"auto"|"cpu"|"gpu"} DeviceChoice
 * @typedef {"f16"|"f32"} Precision
 * @typedef {"none"|"token"|"vector"} Mechanism
 * @typedef {"unchanged"|"near"|"far"|"special"} TokenKind
 *
 * @typedef {{ device: DeviceChoice, cut: number|null, precision: Precision }} ConnectOptions
 * @typedef {{ model_id: string, family: string, n_layers: number, d_model: number, cuts: number[] }} Model
 * @typedef {{ models: Model[], model_id: string, cut: number }} Catalogue
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
 * @typedef {{ mechanism: Mechanism, protection: number|null, eta: number|null }} PrivacyWanted
 * @typedef {PrivacyWanted & { sentence: string }} Privacy
 *
 * @typedef {{ text: string, seen: string, kind: TokenKind, continues: boolean }} Token
 * @typedef {{ unchanged: number, near: number, far: number }} Shares
 * @typedef {{ examples: { tokens: Token[] }[], shares: Shares, tokens_counted: number }} Preview
 *
 * @typedef {object} TrainOptions
 * @property {number} epochs
 * @property {number} batch_size
 * @property {number} learning_rate
 * @property {number} rank
 * @property {number} alpha
 * @property {number} dropout
 * @property {number} validation_share
 * @property {"none"|"balanced"} class_weights
 * @property {number} patience
 * @property {"f16"|"f32"|"int8"} dtype
 *
 * @typedef {{ label: string, probabilities: { label: string, probability: number }[] }} Prediction
 * @typedef {{ bytes_sent: number, bytes_received: number, frames_sent: number }} Traffic
 * @typedef {{ kind: "webgpu"|"cpu", name: string, notice: string|null }} DeviceInfo
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
