/** Serves the page on loopback with the stub client: `node web/tests/serve-stub.js 8430`. */

import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const WEB = fileURLToPath(new URL("..", import.meta.url));
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
};
/** As the daemon's, see `server/src/routes/headers.rs`. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; " +
  "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types cutlayer";

/** A catalogue without files: the stub needs none. */
const CATALOGUE = JSON.stringify({ cuts: [], program: null });

function serve({ url }, response) {
  const { pathname } = new URL(url, "http://localhost");
  if (pathname === "/v1/catalogue") {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(CATALOGUE);
    return;
  }
  const name = pathname === "/" ? "/index.html" : normalize(decodeURIComponent(pathname));
  const file = join(WEB, name === "/client_wasm.js" ? "tests/stub-client.js" : name);
  const found = file.startsWith(WEB) && existsSync(file) && statSync(file).isFile();
  const type = TYPES[extname(file)] ?? "application/octet-stream";
  response.writeHead(found ? 200 : 404, {
    "Content-Type": type,
    "Content-Security-Policy": POLICY,
  });
  if (found) createReadStream(file).pipe(response);
  else response.end();
}

const port = Number(process.argv[2]);
if (port > 0) createServer(serve).listen(port, "127.0.0.1");
else console.error("usage: node web/tests/serve-stub.js PORT");
