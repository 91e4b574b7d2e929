// The folder of this package's compiled files. The CommonJS build has its own version of this one line (scripts/build.mjs).

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
