//! Known answers for the formats (`tests/data/vectors.json` says where they are from).

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::Deserialize;
use writ_ledger::merkle::{
    consistency_proof, inclusion_proof, leaf_hash, root_of, tree_root, verify_consistency,
    verify_inclusion,
};
use writ_ledger::tile::{TilePath, index_path, level_shape, push_entry};
use writ_ledger::{Checkpoint, Hash, KeyKind, NoteSigner, NoteVerifier, SignedCheckpoint};

#[derive(Deserialize)]
struct Vectors {
    rfc6962: Trees,
    tlog_tiles: Tiles,
    signed_note: Notes,
}

#[derive(Deserialize)]
struct Trees {
    entries_hex: Vec<String>,
    leaf_hashes: Vec<String>,
    roots: BTreeMap<usize, String>,
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
}

#[derive(Deserialize)]
struct Inclusion {
    index: u64,
    size: u64,
    path: Vec<String>,
}

#[derive(Deserialize)]
struct Consistency {
    old: u64,
    new: u64,
    path: Vec<String>,
}

#[derive(Deserialize)]
struct Tiles {
    index_paths: BTreeMap<u64, String>,
    tiles_for_size: BTreeMap<u64, Vec<Level>>,
    entry_bundle_hex: String,
    entry_bundle_path_size5: String,
}

#[derive(Deserialize)]
struct Level {
    level: u8,
    full_tiles: u64,
    partial_width: u16,
    last_path: String,
}

#[derive(Deserialize)]
struct Notes {
    log: Key,
    witness: Key,
    checkpoint_note: String,
}

#[derive(Deserialize)]
struct Key {
    seed_hex: String,
    pub_hex: String,
    keyid: String,
    vkey: String,
    time: Option<u64>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../data/vectors.json")).unwrap()
}

fn hash(text: &str) -> Hash {
    Hash(hex::decode(text).unwrap().try_into().unwrap())
}

fn entries(trees: &Trees) -> Vec<Vec<u8>> {
    trees
        .entries_hex
        .iter()
        .map(|e| hex::decode(e).unwrap())
        .collect()
}

#[test]
fn trees_and_proofs() {
    let trees = vectors().rfc6962;
    let leaves: Vec<Hash> = entries(&trees).iter().map(|e| leaf_hash(e)).collect();
    assert_eq!(
        leaves,
        trees
            .leaf_hashes
            .iter()
            .map(|h| hash(h))
            .collect::<Vec<_>>()
    );
    let node = |level: u8, index: u64| -> Result<Hash, Infallible> {
        let (start, width) = ((index as usize) << level, 1usize << level);
        Ok(root_of(&leaves[start..start + width]))
    };
    for (size, root) in &trees.roots {
        assert_eq!(root_of(&leaves[..*size]), hash(root), "size {size}");
        assert_eq!(tree_root(*size as u64, node), Ok(hash(root)), "size {size}");
    }
    let root = |size: u64| hash(&trees.roots[&(size as usize)]);
    for Inclusion { index, size, path } in &trees.inclusion {
        let path: Vec<Hash> = path.iter().map(|h| hash(h)).collect();
        assert_eq!(
            inclusion_proof(*index, *size, node),
            Ok(path.clone()),
            "{index} of {size}"
        );
        verify_inclusion(leaves[*index as usize], *index, *size, &path, root(*size)).unwrap();
    }
    for Consistency { old, new, path } in &trees.consistency {
        let path: Vec<Hash> = path.iter().map(|h| hash(h)).collect();
        assert_eq!(
            consistency_proof(*old, *new, node),
            Ok(path.clone()),
            "{old} to {new}"
        );
        verify_consistency(*old, *new, root(*old), root(*new), &path).unwrap();
    }
}

#[test]
fn tile_paths_and_bundles() {
    let Vectors {
        tlog_tiles: tiles,
        rfc6962: trees,
        ..
    } = vectors();
    for (index, path) in &tiles.index_paths {
        assert_eq!(&index_path(*index), path);
    }
    for (size, levels) in &tiles.tiles_for_size {
        for Level {
            level,
            full_tiles,
            partial_width,
            last_path,
        } in levels
        {
            assert_eq!(
                level_shape(*size, *level),
                (*full_tiles, *partial_width),
                "size {size} level {level}"
            );
            let last = match partial_width {
                0 => TilePath::hashes(*level, full_tiles - 1, 256),
                width => TilePath::hashes(*level, *full_tiles, *width),
            };
            assert_eq!(&last.to_string(), last_path);
            assert_eq!(TilePath::parse(last_path), Some(last));
        }
        let above = levels.len() as u8;
        assert_eq!(
            level_shape(*size, above),
            (0, 0),
            "size {size} has no level {above}"
        );
    }
    let mut bundle = Vec::new();
    for entry in entries(&trees).iter().take(5) {
        push_entry(&mut bundle, entry);
    }
    assert_eq!(hex::encode(bundle), tiles.entry_bundle_hex);
    assert_eq!(
        TilePath::entries(0, 5).to_string(),
        tiles.entry_bundle_path_size5
    );
}

#[test]
fn notes_keys_and_cosignatures() {
    let notes = vectors().signed_note;
    let key = |key: &Key, kind| {
        let name = key.vkey.split('+').next().unwrap();
        let signer = NoteSigner::from_seed(
            name,
            kind,
            &hex::decode(&key.seed_hex).unwrap().try_into().unwrap(),
        )
        .unwrap();
        assert_eq!(signer.verifier().to_vkey(), key.vkey);
        assert_eq!(&NoteVerifier::parse(&key.vkey).unwrap(), signer.verifier());
        assert_eq!(hex::encode(signer.verifier().id()), key.keyid);
        assert_eq!(hex::encode(signer.verifier().public_key()), key.pub_hex);
        signer
    };
    let (log, witness) = (
        key(&notes.log, KeyKind::Ed25519),
        key(&notes.witness, KeyKind::Cosignature),
    );
    let read = SignedCheckpoint::parse(notes.checkpoint_note.as_bytes()).unwrap();
    let head: &Checkpoint = read.verify(log.verifier()).unwrap();
    assert_eq!(
        (head.origin.as_str(), head.size),
        ("log.writ.example/demo", 5)
    );
    let cosignatures = read.cosignatures(&[witness.verifier()]).unwrap();
    assert_eq!(cosignatures[0].time, notes.witness.time);
    // Ed25519 is deterministic, so the whole note can be made again.
    let made = head.sign(&[&log, &witness], notes.witness.time.unwrap());
    assert_eq!(made.as_str(), notes.checkpoint_note);
}
