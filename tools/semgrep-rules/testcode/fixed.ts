// The same program without the faults: no rule may find anything here.
import * as child_process from "child_process";
import * as crypto from "crypto";
import * as fs from "fs";
import * as https from "https";
import * as path from "path";
import jwt from "jsonwebtoken";
import { allowedHost, escapeHtml, localPath } from "./checks";

export function routes(app: any, db: any, document: any) {
  app.get("/payments", (req: any, res: any) => {
    db.query("select * from payment where name = $1", [req.query.name]);
    res.send("<h1>" + escapeHtml(req.query.name) + "</h1>");
  });
  app.get("/statement", (req: any, res: any) => {
    fs.createReadStream("statements/" + path.basename(req.query.name)).pipe(res);
  });
  app.get("/go", (req: any, res: any) => {
    res.redirect(localPath(req.query.to));
  });
  app.post("/proxy", async (req: any, res: any) => {
    res.json(await fetch(allowedHost(req.body.url)));
  });
  app.post("/archive", (req: any) => {
    child_process.execFile("gzip", ["--", req.body.name]);
    JSON.parse(req.body.formula);
  });
  const show = (text: string) => {
    document.getElementById("name").textContent = text;
  };
  const hash = crypto.createHash("sha256").update("x").digest("hex");
  const claims = jwt.verify("token", "key", { algorithms: ["HS256"] });
  const agent = new https.Agent({ keepAlive: true });
  const sessionToken = crypto.randomUUID();
  const jitter = Math.random() * 100;
  return { show, hash, claims, agent, sessionToken, jitter };
}
