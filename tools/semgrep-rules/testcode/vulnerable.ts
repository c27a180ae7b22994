// Every rule of rules/javascript.yml finds the line after its `ruleid` comment. Never run this.
import * as child_process from "child_process";
import * as crypto from "crypto";
import * as fs from "fs";
import * as https from "https";
import jwt from "jsonwebtoken";

export function routes(app: any, db: any, document: any) {
  app.get("/payments", (req: any, res: any) => {
    // ruleid: js-sql-injection
    db.query(`select * from payment where name = '${req.query.name}'`);
    // ruleid: js-sql-injection
    db.query("select * from payment where name = '" + req.query.name + "'");
    // ruleid: js-reflected-xss
    res.send("<h1>" + req.query.name + "</h1>");
  });
  app.get("/statement", (req: any, res: any) => {
    // ruleid: js-path-traversal
    fs.createReadStream("statements/" + req.query.name).pipe(res);
  });
  app.get("/go", (req: any, res: any) => {
    // ruleid: js-open-redirect
    res.redirect(req.query.to);
  });
  app.post("/proxy", async (req: any, res: any) => {
    const target = req.body.url;
    // ruleid: js-ssrf
    res.json(await fetch(target));
  });
  app.post("/archive", (req: any) => {
    // ruleid: js-command-injection
    child_process.exec("gzip " + req.body.name);
    // ruleid: js-code-injection
    eval(req.body.formula);
  });
  const show = (text: string) => {
    // ruleid: js-dom-xss
    document.getElementById("name").innerHTML = text;
  };
  // ruleid: js-weak-hash
  const hash = crypto.createHash("md5").update("x").digest("hex");
  // ruleid: js-jwt-unverified
  const claims = jwt.decode("token");
  // ruleid: js-tls-unverified
  const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
  // ruleid: js-insecure-random
  const sessionToken = Math.random().toString(36);
  return { show, hash, claims, agent, sessionToken };
}
