// No rule may find anything here.
const { execFileSync, execSync } = require("child_process");

function archive(name, node) {
  execFileSync("gzip", ["--", name]);
  execSync("sync");
  node.textContent = name;
  return (x) => x + name;
}

module.exports = archive;
