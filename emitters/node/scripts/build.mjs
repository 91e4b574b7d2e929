// Builds the package: src/ to dist/esm (ES modules) and dist/cjs (CommonJS), both by the TypeScript compiler.
// dist/cjs gets a package.json of its own that says "commonjs"; the compiler takes the format from the nearest one.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");

function compile(project) {
  execFileSync(process.execPath, [compiler, "-p", project], { cwd: root, stdio: "inherit" });
}

rmSync(join(root, "dist"), { recursive: true, force: true });
compile("tsconfig.json");
// The same sources under a folder that says "commonjs": then `NodeNext` emits require(), and keeps import() as it is.
const copy = join(root, "dist", "cjs-src");
cpSync(join(root, "src"), join(copy, "src"), { recursive: true });
writeFileSync(join(copy, "src", "here.ts"), "export const here: string = __dirname;\n");
writeFileSync(join(copy, "package.json"), '{"type":"commonjs"}\n');
writeFileSync(
  join(copy, "tsconfig.json"),
  JSON.stringify({ extends: "../../tsconfig.json", compilerOptions: { rootDir: "src", outDir: "../cjs" }, include: ["src"] }),
);
compile("dist/cjs-src/tsconfig.json");
rmSync(copy, { recursive: true });
mkdirSync(join(root, "dist", "cjs"), { recursive: true });
writeFileSync(join(root, "dist", "cjs", "package.json"), '{"type":"commonjs"}\n');
