// Every rule of rules/rust.yml finds the line after its `ruleid` comment. Never run this.
use std::fs;
use std::process::Command;

fn find(connection: &Connection, name: &str) -> Result<usize> {
    let sql = format!("delete from payment where name = '{name}'");
    // ruleid: rust-sql-injection
    connection.execute(&sql, [])?;
    // ruleid: rust-sql-injection
    connection.execute(&format!("delete from payment where name = '{name}'"), [])
}

fn archive(line: &str) {
    // ruleid: rust-command-injection
    Command::new("sh").arg("-c").arg(line).status();
}

fn client() -> Client {
    // ruleid: rust-tls-unverified
    Client::builder().danger_accept_invalid_certs(true).build()
}

fn secrets(data: &[u8]) -> Digest {
    // ruleid: rust-weak-hash
    md5::compute(data)
}

fn claims(mut validation: Validation) {
    // ruleid: rust-jwt-unverified
    validation.insecure_disable_signature_validation();
}

fn statement(request: &HttpRequest) -> String {
    let name = request.query_string();
    // ruleid: rust-path-traversal
    fs::read_to_string(format!("statements/{}", name))
}

fn back(target: String) -> Redirect {
    // ruleid: rust-open-redirect
    Redirect::to(&target)
}
