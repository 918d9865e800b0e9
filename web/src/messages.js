/**
 * Calls across a message port: `{ id, call, args }` there, `{ id, ok }` or `{ id, error }` back, `{ event }` unasked.
 * Both halves are here; neither knows what is called.
 */

/**
 * @typedef {object} Port
 * @property {(message: any, transfer?: any[]) => void} postMessage
 * @property {((event: { data: any }) => void)|null} onmessage
 */

/** An error that crossed the port: `name` is stable, `message` is a sentence. */
export class CallError extends Error {
  /** @param {string} name @param {string} message */
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

/**
 * Makes the caller's half.
 * @param {Port} port
 * @param {(event: any) => void} onEvent
 */
export function createStub(port, onEvent) {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const pending = new Map();
  let nextId = 1;
  /** @type {CallError|null} */
  let closed = null;

  port.onmessage = ({ data }) => {
    if (closed !== null) return;
    if (data.event !== undefined) {
      onEvent(data.event);
      return;
    }
    const call = pending.get(data.id);
    if (call === undefined) return;
    pending.delete(data.id);
    if (data.error !== undefined) call.reject(new CallError(data.error.name, data.error.message));
    else call.resolve(data.ok);
  };

  return {
    /**
     * Calls a function on the other side.
     * @param {string} call
     * @param {any[]} [args]
     * @param {any[]} [transfer]
     * @returns {Promise<any>}
     */
    call(call, args = [], transfer = []) {
      if (closed !== null) return Promise.reject(closed);
      const id = nextId;
      nextId += 1;
      return new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject });
        port.postMessage({ id, call, args }, transfer);
      });
    },
    /**
     * Ends the stub: every open call fails, nothing that arrives later is delivered.
     * @param {CallError} error
     */
    close(error) {
      if (closed !== null) return;
      closed = error;
      for (const { reject } of pending.values()) reject(error);
      pending.clear();
    },
  };
}

/** @typedef {ReturnType<typeof createStub>} Stub */

/**
 * Serves the other half: answers each call from a table of handlers.
 * @param {Port} port
 * @param {Record<string, (...args: any[]) => any>} handlers
 */
export function serveCalls(port, handlers) {
  port.onmessage = async ({ data: { id, call, args } }) => {
    try {
      if (!Object.hasOwn(handlers, call)) {
        throw new CallError(
          "UnknownCall",
          "The page asked for something that the client does not know.",
        );
      }
      port.postMessage({ id, ok: await handlers[call](...args) });
    } catch (error) {
      port.postMessage({ id, error: errorFields(error) });
    }
  };
}

/**
 * Reduces anything that was thrown to a name and a sentence.
 * @param {unknown} thrown
 * @returns {{ name: string, message: string }}
 */
export function errorFields(thrown) {
  if (typeof WebAssembly !== "undefined" && thrown instanceof WebAssembly.RuntimeError) {
    return { name: "Crashed", message: "The program in this tab stopped unexpectedly." };
  }
  if (thrown instanceof Error) return { name: thrown.name, message: thrown.message };
  if (typeof thrown === "string") return { name: "Error", message: thrown };
  return { name: "Error", message: "Something failed without saying why." };
}
