// JavaScript goes through the same rules as TypeScript. Never run this.
const { execSync } = require("child_process");

function archive(name, node) {
  // ruleid: js-command-injection
  execSync(`gzip ${name}`);
  // ruleid: js-dom-xss
  node.outerHTML = name;
  // ruleid: js-code-injection
  return new Function("x", name);
}

module.exports = archive;
