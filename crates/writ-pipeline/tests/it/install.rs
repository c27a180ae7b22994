//! Installing tools: pinned or not at all, and nothing half-done stays.

use std::path::Path;

use writ_pipeline::adapter::{Catalogue, InstallError, InstallStep, ToolFinder, install};

fn catalogue(folder: &Path, install: &str) -> Catalogue {
    let text = format!(
        "name = \"thing\"\ntitle = \"T\"\nevidence = [\"sast\"]\ndefault = \"scan\"\n[find]\nbinaries = [\"thing\"]\nversion = {{ argv = [\"{{bin}}\", \"--version\"], regex = '(.+)' }}\n[mode.scan]\nargv = [\"{{bin}}\"]\nreport = {{ stream = \"stdout\" }}\n[[install]]\n{install}\n"
    );
    std::fs::write(folder.join("thing.toml"), text).unwrap();
    let mut catalogue = Catalogue::default();
    catalogue.add_folder(folder).unwrap();
    catalogue
}

async fn refused(lock: &str, keys: &str) -> (InstallError, bool) {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("lock.txt"), lock).unwrap();
    let catalogue = catalogue(folder.path(), keys);
    let finder = ToolFinder {
        search: Vec::new(),
        cache: cache.path().to_owned(),
    };
    let adapter = catalogue.get("thing").unwrap();
    let error = install(adapter, &catalogue, &finder, &|_: InstallStep| {})
        .await
        .unwrap_err();
    (error, cache.path().join("thing/1.0").exists())
}

#[tokio::test]
async fn what_is_not_pinned_is_not_installed_and_nothing_stays() {
    let pypi = "kind = \"pypi\"\npackage = \"thing\"\nversion = \"1.0\"\n";
    for (lock, keys, words) in [
        // pip refuses a line without a hash before it asks any registry.
        (
            "thing==1.0\n",
            format!("{pypi}requires = \"lock.txt\""),
            "pip failed",
        ),
        ("", pypi.to_owned(), "no file of hashes"),
        (
            "",
            format!("{pypi}requires = \"../lock.txt\""),
            "is not there",
        ),
        (
            "",
            "kind = \"go\"\npackage = \"example.org/thing\"\nversion = \"1.0\"".to_owned(),
            "no module hash",
        ),
        (
            "",
            "kind = \"apt\"\npackage = \"thing\"\nversion = \"1.0\"".to_owned(),
            "sudo apt-get install thing",
        ),
    ] {
        let (error, left) = refused(lock, &keys).await;
        assert!(error.to_string().contains(words), "{keys}: {error}");
        assert!(!left, "{keys}: something stayed");
    }
}
