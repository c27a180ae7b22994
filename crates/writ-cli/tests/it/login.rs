//! `writ login` and `writ logout`: the terminal asks, the browser answers.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use reqwest::Client;

use crate::account::with_input;
use crate::between::Between;
use crate::sandbox::{Answer, Listening, SHOP, Sandbox, answer};

const PASSWORD: &str = "correct horse battery";

/// A repository on a laptop, and its server with one account.
struct World {
    sandbox: Sandbox,
    between: Between,
    _server: Listening,
}

impl World {
    fn new() -> Self {
        let between = Between::new();
        let place = format!(
            "profile = \"startup\"\n\n[server]\nurl = \"{}\"\n",
            between.url()
        );
        let sandbox = Sandbox::with_shop(&SHOP.replace("profile = \"startup\"\n", &place));
        let operator = ["server", "account", "add", "ada", "--role", "operator"];
        let made = with_input(&sandbox, &operator, &format!("{PASSWORD}\n"));
        assert_eq!(made.code, 0, "{made:?}");
        let serve = ["serve", "--listen", "127.0.0.1:0", "-f", "json"];
        let server = Listening::start(&mut sandbox.command(&serve), None);
        let address: SocketAddr = server.address().parse().unwrap();
        between.leads_to(Some(address));
        Self {
            sandbox,
            between,
            _server: server,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let home: PathBuf = self.sandbox.path("laptop");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = self.sandbox.command(arguments);
        command.env("HOME", home);
        command
    }

    fn writ(&self, arguments: &[&str]) -> Answer {
        answer(self.command(arguments).output().unwrap())
    }

    /// The browser of the person, signed in: cookie and the token of its forms.
    async fn browser(&self, client: &Client) -> (String, String) {
        let fields = [("name", "ada"), ("password", PASSWORD)];
        let url = format!("{}/sign-in", self.between.url());
        let entered = client.post(url).form(&fields).send().await.unwrap();
        let set = entered.headers()["set-cookie"].to_str().unwrap();
        let cookie = set.split(';').next().unwrap().to_owned();
        let url = format!("{}/settings", self.between.url());
        let page = client
            .get(url)
            .header("cookie", &cookie)
            .send()
            .await
            .unwrap();
        let page = page.text().await.unwrap();
        let rest = page.split("name=\"form_token\" value=\"").nth(1).unwrap();
        (cookie, rest.split('"').next().unwrap().to_owned())
    }

    /// Runs `writ login`, and answers it in the browser.
    async fn login(&self, said: &str) -> Answer {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let (cookie, token) = self.browser(&client).await;
        let mut asking = self
            .command(&["login", "-f", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(asking.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let there = line
            .strip_prefix("Open ")
            .unwrap_or_else(|| panic!("{line}"));
        let code = there
            .trim()
            .split_once("/device?code=")
            .unwrap()
            .1
            .to_owned();
        assert!(there.starts_with(&self.between.url()), "{there}");
        line.clear();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains(&code), "{line}");
        let fields = [
            ("form_token", token.as_str()),
            ("code", &code),
            ("answer", said),
        ];
        let url = format!("{}/device", self.between.url());
        let request = client.post(url).form(&fields).header("cookie", &cookie);
        assert_eq!(request.send().await.unwrap().status(), 303);
        let mut err = String::new();
        lines.read_to_string(&mut err).unwrap();
        let done = asking.wait_with_output().unwrap();
        Answer {
            err,
            ..answer(done)
        }
    }
}

#[tokio::test]
async fn a_person_signs_in_from_the_terminal_and_out_again() {
    let world = World::new();
    let before = world.writ(&["status"]);
    assert_eq!(before.code, 4, "{before:?}");
    assert!(before.err.contains("writ login"), "{}", before.err);
    let refused = world.login("deny").await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(
        refused.err.contains("refused in the browser"),
        "{}",
        refused.err
    );
    let done = world.login("allow").await;
    assert_eq!(done.code, 0, "{done:?}");
    let value = done.json();
    assert_eq!(value["account"], "ada");
    let path = PathBuf::from(value["file"].as_str().unwrap());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read_to_string(&path).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let token = kept["token"].as_str().unwrap();
    assert!(!format!("{done:?}").contains(token));
    let with = world.writ(&["status"]);
    assert_ne!(with.code, 4, "{with:?}");
    // A file that others can read is not used.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = world.writ(&["status"]);
    assert_eq!(open.code, 2, "{open:?}");
    assert!(open.err.contains("others can read"), "{}", open.err);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let out = world.writ(&["logout", "-f", "json"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!(out.json()["token"], value["token"]);
    assert!(!path.exists());
    assert_eq!(world.writ(&["status"]).code, 4);
    // It counts nowhere any more, wherever else it was copied.
    let mut copied = world.command(&["status"]);
    copied
        .env("WRIT_TOKEN", token)
        .env("WRIT_SERVER", world.between.url());
    assert_eq!(answer(copied.output().unwrap()).code, 4);
    assert_eq!(world.writ(&["logout"]).code, 0);
    // Where there is no server, nobody can sign in.
    let alone = Sandbox::new().writ(&["login"]);
    assert_eq!(alone.code, 2, "{alone:?}");
}
