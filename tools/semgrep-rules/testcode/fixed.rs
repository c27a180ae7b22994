// The same program without the faults: no rule may find anything here.
use std::fs;
use std::process::Command;

fn find(connection: &Connection, name: &str) -> Result<usize> {
    connection.execute("delete from payment where name = ?1", [name])
}

fn archive(name: &str) {
    Command::new("gzip").arg("--").arg(name).status();
}

fn client() -> Client {
    Client::builder().build()
}

fn secrets(data: &[u8]) -> Digest {
    Sha256::digest(data)
}

fn claims(validation: &Validation) -> &Validation {
    validation
}

fn statement(request: &HttpRequest) -> String {
    let name = plain_name(request.query_string());
    fs::read_to_string(format!("statements/{}", name))
}

fn back(target: String) -> Redirect {
    Redirect::to(&local_path(&target))
}
