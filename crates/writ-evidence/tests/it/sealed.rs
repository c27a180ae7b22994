//! Sealed key files: those of Go, ours opened by Go, hostile ones, and where passphrases come from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use writ_evidence::key::passphrase::{Ask, Fixed};
use writ_evidence::key::{
    KeyError, Passphrase, PassphraseSource, SealedKey, load_private_key, open_private_key,
    save_sealed_key,
};
use writ_evidence::{Algorithm, LocalSigner, PublicKey, Signer};

/// The passphrase of the files in `tests/data/sealed`, which `interop/go-keys` wrote.
const PASSPHRASE: &str = "correct horse \u{2603}";

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

fn with(text: &str) -> Fixed {
    Fixed(passphrase(text))
}

struct Silent;

impl PassphraseSource for Silent {
    fn passphrase(&self, _: Ask<'_>) -> Result<Option<Passphrase>, KeyError> {
        Ok(None)
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/sealed")
        .join(name)
}

const ALL: [(&str, Algorithm); 4] = [
    ("p256-standard", Algorithm::EcdsaP256),
    ("p256-legacy", Algorithm::EcdsaP256),
    ("ed25519-standard", Algorithm::Ed25519),
    ("ed25519-owasp", Algorithm::Ed25519),
];

#[test]
fn keys_that_go_sealed_open_here() {
    for (name, algorithm) in ALL {
        let pem = fs::read_to_string(data(&format!("{name}.key"))).unwrap();
        let public = fs::read_to_string(data(&format!("{name}.pub"))).unwrap();
        assert!(SealedKey::is_sealed(&pem));
        let sealed = SealedKey::parse(&pem).unwrap();
        let signer = sealed.open(&passphrase(PASSPHRASE)).unwrap();
        assert_eq!(signer.algorithm(), algorithm, "{name}");
        assert_eq!(
            *signer.public_key(),
            PublicKey::from_pem(&public).unwrap(),
            "{name}"
        );
        // Windows line ends are not the end of it.
        let sealed = SealedKey::parse(&pem.replace('\n', "\r\n")).unwrap();
        assert!(!format!("{sealed:?}").contains("salt"));
    }
}

#[test]
fn a_sealed_key_survives_its_file_and_only_its_passphrase_opens_it() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let path = directory.path().join(algorithm.to_string());
        let signer = LocalSigner::generate(algorithm).unwrap();
        save_sealed_key(&signer, &path, &with("open sesame")).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let opened = open_private_key(&path, &with("open sesame")).unwrap();
        assert_eq!(opened.public_key(), signer.public_key());
        let error = open_private_key(&path, &with("open sesame ")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("passphrase does not open it") && text.contains(path.to_str().unwrap()),
            "{text}"
        );
        for error in [
            open_private_key(&path, &Silent).unwrap_err(),
            load_private_key(&path).unwrap_err(),
        ] {
            assert!(matches!(error, KeyError::NoPassphrase { .. }), "{error}");
            assert!(error.to_string().contains("WRIT_KEY_PASSPHRASE_FILE"));
        }
        // Never overwritten, never under an empty passphrase, never open to others.
        let again = save_sealed_key(&signer, &path, &with("x")).unwrap_err();
        assert!(again.to_string().contains("never overwritten"), "{again}");
        let empty = save_sealed_key(&signer, &directory.path().join("e"), &with("")).unwrap_err();
        assert!(empty.to_string().contains("is empty"), "{empty}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open_private_key(&path, &with("open sesame")).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { .. }), "{error}");
    }
}

/// The JSON inside a sealed key, with a change, sealed up as PEM again.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let pem = fs::read_to_string(data("p256-legacy.key")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut json: Value = serde_json::from_slice(&STANDARD.decode(body).unwrap()).unwrap();
    change(&mut json);
    wrapped(&json.to_string())
}

fn wrapped(body: &str) -> String {
    format!(
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        STANDARD.encode(body)
    )
}

#[test]
fn costs_that_nobody_uses_are_refused_before_anything_is_computed() {
    // The same file with nothing changed is read, so each of these fails for its own reason.
    SealedKey::parse(&changed(|_| {})).unwrap();
    for (n, r, p) in [
        (1_u64 << 40, 8_u64, 1_u64),
        (1 << 20, 8, 1),
        (2, 8, 1),
        (0, 8, 1),
        (65_537, 8, 1),
        (65_536, 1 << 30, 1),
        (65_536, 8, 1 << 30),
        (65_536, 1, 1),
        (u64::MAX, u64::MAX, u64::MAX),
    ] {
        let pem = changed(|json| json["kdf"]["params"] = json!({"N": n, "r": r, "p": p}));
        let error = SealedKey::parse(&pem).unwrap_err().to_string();
        assert!(
            error.contains(&format!("N={n}")) && error.contains("accepted are N=32768"),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_sealed_key_is_refused_with_its_reason() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (
            |j| j["kdf"]["name"] = json!("argon2"),
            "expected \"scrypt\"",
        ),
        (
            |j| j["cipher"]["name"] = json!("aes-256-gcm"),
            "nacl/secretbox",
        ),
        (|j| j["kdf"]["salt"] = json!("!!"), "salt is not base64"),
        (|j| j["kdf"]["salt"] = json!("AAAA"), "salt has 3 bytes"),
        (
            |j| j["cipher"]["nonce"] = json!("AAAA"),
            "nonce has 3 bytes",
        ),
        (|j| j["ciphertext"] = json!(7), "JSON of a sealed key"),
        (
            |j| j["kdf"]["params"]["N"] = json!(-1),
            "JSON of a sealed key",
        ),
        (
            |j| j["kdf"]["params"]["N"] = json!(65536.5),
            "JSON of a sealed key",
        ),
        (|j| *j = json!([]), "JSON of a sealed key"),
    ];
    for (change, expected) in cases {
        let error = SealedKey::parse(&changed(change)).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let good = changed(|_| {});
    let texts = [
        (String::new(), "does not begin"),
        (
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----".to_owned(),
            "does not end",
        ),
        (good.replace("SIGSTORE", "OPENSSH"), "does not begin"),
        (format!("{good}more\n"), "something after"),
        (good.replacen("-----\n", "-----\n*", 1), "not base64"),
        (wrapped(&"[".repeat(8_000)), "JSON of a sealed key"),
        (" ".repeat(20_000), "more than any key"),
    ];
    for (text, expected) in texts {
        let error = SealedKey::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_changed_seal_does_not_open() {
    type Change = Box<dyn FnOnce(&mut Value)>;
    let mut changes: Vec<Change> = vec![
        Box::new(|json| json["kdf"]["salt"] = json!(STANDARD.encode([1; 32]))),
        Box::new(|json| json["cipher"]["nonce"] = json!(STANDARD.encode([1; 24]))),
        Box::new(|json| json["kdf"]["params"]["N"] = json!(65_536)),
        Box::new(|json| json["ciphertext"] = json!("")),
    ];
    for at in [0, 16, 40] {
        changes.push(Box::new(move |json| {
            let mut bytes = STANDARD
                .decode(json["ciphertext"].as_str().unwrap())
                .unwrap();
            bytes[at] ^= 1;
            json["ciphertext"] = json!(STANDARD.encode(bytes));
        }));
    }
    for change in changes {
        let sealed = SealedKey::parse(&changed(change)).unwrap();
        let error = sealed.open(&passphrase(PASSPHRASE)).unwrap_err();
        assert!(matches!(error, KeyError::WrongPassphrase), "{error}");
    }
}

#[test]
fn no_cut_or_changed_byte_breaks_the_reader() {
    let pem = fs::read(data("p256-standard.key")).unwrap();
    for at in 0..pem.len() {
        let cut = String::from_utf8_lossy(&pem[..at]).into_owned();
        if at + 1 < pem.len() {
            SealedKey::parse(&cut).unwrap_err();
        }
        let mut changed = pem.clone();
        changed[at] ^= 0x11;
        // It may still be a sealed key, with another nonce for instance; it must not panic.
        let _ = SealedKey::parse(&String::from_utf8_lossy(&changed));
    }
}

#[test]
fn passphrases_are_bounded_and_lose_one_line_break() {
    let read = |bytes: &[u8]| Passphrase::read(bytes, "here");
    assert_eq!(read(b"secret\n").unwrap().as_bytes(), b"secret");
    assert_eq!(read(b"secret\r\n").unwrap().as_bytes(), b"secret");
    assert_eq!(read(b" sec\nret\n\n").unwrap().as_bytes(), b" sec\nret\n");
    assert_eq!(read(&[b'x'; 1_024]).unwrap().as_bytes().len(), 1_024);
    let long = [b"x".repeat(1_024), b"\n".to_vec()].concat();
    assert_eq!(read(&long).unwrap().as_bytes().len(), 1_024);
    assert!(read(&[b'x'; 1_025]).is_err());
    assert!(Passphrase::new(vec![0; 1_025]).is_err());
    assert_eq!(
        format!("{:?}", read(b"secret").unwrap()),
        "Passphrase(redacted)"
    );
}

/// Not a test of its own: what [`the_environment_is_asked_in_order`] runs with variables set.
#[test]
fn environment_child() {
    if std::env::var_os("WRIT_TEST_ENVIRONMENT").is_none() {
        return;
    }
    let found = writ_evidence::key::passphrase::Environment.passphrase(Ask::Open(Path::new("k")));
    match found {
        Ok(Some(found)) => println!("found={}", String::from_utf8_lossy(found.as_bytes())),
        Ok(None) => println!("found nothing"),
        Err(error) => println!("error={error}"),
    }
}

#[test]
fn the_environment_is_asked_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passphrase");
    fs::write(&file, "from the file\n").unwrap();
    let file = file.to_str().unwrap();
    let ask = |variables: &[(&str, &str)]| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sealed::environment_child", "--nocapture"])
            .env_remove("WRIT_KEY_PASSPHRASE")
            .env_remove("WRIT_KEY_PASSPHRASE_FILE")
            .env_remove("COSIGN_PASSWORD")
            .env("WRIT_TEST_ENVIRONMENT", "1")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let all = [
        ("WRIT_KEY_PASSPHRASE_FILE", file),
        ("WRIT_KEY_PASSPHRASE", "ours"),
        ("COSIGN_PASSWORD", "cosign's"),
    ];
    assert!(ask(&all).contains("found=from the file\n"));
    assert!(ask(&all[1..]).contains("found=ours\n"));
    assert!(ask(&all[2..]).contains("found=cosign's\n"));
    assert!(ask(&[]).contains("found nothing"));
    assert!(ask(&[("COSIGN_PASSWORD", "")]).contains("found=\n"));
    assert!(ask(&[("WRIT_KEY_PASSPHRASE", "")]).contains("error=WRIT_KEY_PASSPHRASE is empty"));
    let missing = ask(&[("WRIT_KEY_PASSPHRASE_FILE", "/nonexistent/p"), all[1]]);
    assert!(
        missing.contains("error=the passphrase cannot be read from /nonexistent/p"),
        "{missing}"
    );
}

/// Both ways with the package that cosign uses, built from `interop/go-keys`.
#[test]
fn go_opens_what_is_sealed_here_and_the_other_way_round() {
    let Some(go) = std::env::var_os("WRIT_TEST_GO_KEYS") else {
        println!("skipped: WRIT_TEST_GO_KEYS is not set");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let run = |secret: &str, args: &[&str]| {
        Command::new(&go)
            .args(args)
            .current_dir(directory.path())
            .env("COSIGN_PASSWORD", secret)
            .output()
            .unwrap()
    };
    fs::write(path("message"), b"a statement").unwrap();
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let signer = LocalSigner::generate(algorithm).unwrap();
        let name = format!("ours-{algorithm}");
        save_sealed_key(&signer, &path(&name), &with(PASSPHRASE)).unwrap();
        let opened = run(PASSPHRASE, &["open", &name]);
        assert!(
            opened.status.success(),
            "{}",
            String::from_utf8_lossy(&opened.stderr)
        );
        assert_eq!(
            PublicKey::from_pem(&String::from_utf8(opened.stdout).unwrap()).unwrap(),
            *signer.public_key()
        );
        assert!(!run("wrong", &["open", &name]).status.success());
        // Go signs with our key, we verify; we sign, Go verifies.
        assert!(
            run(PASSPHRASE, &["sign", &name, "message", "signature"])
                .status
                .success()
        );
        let signature = fs::read(path("signature")).unwrap();
        let public = signer.public_key();
        assert!(public.verifies(b"a statement", &signature, Default::default()));
        fs::write(path("signature"), signer.sign(b"a statement").unwrap()).unwrap();
        fs::write(path("pub"), public.to_pem().unwrap()).unwrap();
        assert!(
            run("", &["verify", "pub", "message", "signature"])
                .status
                .success()
        );
        fs::write(path("signature"), signer.sign(b"another").unwrap()).unwrap();
        assert!(
            !run("", &["verify", "pub", "message", "signature"])
                .status
                .success()
        );
    }
    for (kind, cost) in [
        ("p256", "standard"),
        ("ed25519", "legacy"),
        ("p256", "owasp"),
    ] {
        let name = format!("go-{kind}-{cost}");
        let made = run(PASSPHRASE, &["generate", kind, cost, &name, "pub"]);
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let opened = open_private_key(&path(&name), &with(PASSPHRASE)).unwrap();
        let public = PublicKey::from_pem(&fs::read_to_string(path("pub")).unwrap()).unwrap();
        assert_eq!(*opened.public_key(), public, "{name}");
    }
}
