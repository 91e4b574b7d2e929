// Prints the README's table of settings. Run it when a setting changes; a test compares.
import { settings } from "@jobtide/emitter";

const shown = (value) => (value === "" ? "—" : value === false ? "0" : String(value));
console.log("| variable | default | meaning |\n|---|---|---|");
for (const [name, [fallback, meaning]] of Object.entries(settings)) console.log(`| \`JOBTIDE_EMITTER_${name.toUpperCase()}\` | ${shown(fallback)} | ${meaning} |`);
