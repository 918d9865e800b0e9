/**
 * What the browser keeps of models, for the page: listed, removed, and whether it stays. The worker writes it (store.js).
 */

import { openStore } from "./store.js";

/**
 * @param {object} parts
 * @param {(event: any) => void} parts.dispatch
 * @param {StorageManager|undefined} parts.storage undefined where the page has none: not by TLS, and not this machine
 */
export function createShelf({ dispatch, storage }) {
  const opening = openStore(storage);

  /** @param {string|null} problem */
  async function list(problem) {
    const store = await opening;
    if (store === null || storage === undefined) return;
    const files = await store.list().catch(() => []);
    /** @type {StorageEstimate} */
    const { usage, quota } = await storage.estimate().catch(() => ({}));
    const persisted = await storage.persisted().catch(() => false);
    const room = { usage: usage ?? null, quota: quota ?? null };
    dispatch({ type: "kept_listed", kept: { files, ...room, persisted, problem } });
  }

  /** Removes, and lists what is left. @param {(store: import("./store.js").Store) => Promise<void>} action */
  async function change(action) {
    const store = await opening;
    if (store === null) return;
    const problem = await action(store).then(
      () => null,
      () => "in_use",
    );
    await list(problem);
  }

  return {
    refresh: () => list(null),
    /** @param {string} name */
    remove: (name) => change((store) => store.remove(name)),
    removeAll: () => change((store) => store.removeWhere(() => true)),
    /** Asks the browser not to remove what is kept by itself; it decides, or asks the reader. */
    async persist() {
      const granted = await storage?.persist().catch(() => false);
      await list(granted ? null : "not_persisted");
    },
  };
}
