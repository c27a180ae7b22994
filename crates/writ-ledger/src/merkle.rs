//! Merkle trees as in [RFC 6962, section 2.1](https://www.rfc-editor.org/rfc/rfc6962#section-2.1).
//!
//! In scope: hashing, inclusion and consistency proofs (made from any source
//! of subtree hashes, checked without one). Out of scope: where hashes are
//! kept, which is [`crate::tile`] and [`crate::store`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Longest inclusion proof of any tree: one hash per level of a 2^64 tree.
pub const MAX_INCLUSION_HASHES: usize = 64;

/// Longest consistency proof: one more than the longest inclusion proof.
pub const MAX_CONSISTENCY_HASHES: usize = 65;

/// A SHA-256 hash of a leaf or of a subtree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Size in bytes.
    pub const LEN: usize = 32;

    /// Reads standard base64 of exactly 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(STANDARD.decode(text).ok()?.try_into().ok()?))
    }

    /// Standard base64 with padding, as checkpoints and proofs write it.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The index or sizes make no sense together.
    #[error("the proof is about entry or size {inner} of a tree of {size}, which is impossible")]
    Range {
        /// The index or smaller size.
        inner: u64,
        /// The tree size.
        size: u64,
    },
    /// The proof has the wrong number of hashes.
    #[error("the proof has {found} hashes where {expected} belong")]
    Length {
        /// Hashes in the proof.
        found: usize,
        /// Hashes that a right proof has.
        expected: usize,
    },
    /// The hashes do not lead to the root.
    #[error("the proof leads to {computed}, not to the root {expected}")]
    Root {
        /// What the proof leads to.
        computed: Hash,
        /// What it should lead to.
        expected: Hash,
    },
}

/// `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([0])
            .chain_update(entry)
            .finalize()
            .into(),
    )
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [0u8; 65];
    block[0] = 1;
    block[1..33].copy_from_slice(&left.0);
    block[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(block).into())
}

/// Root of the tree without entries: `SHA-256("")`.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// Root over the hashes of equally sized complete subtrees, left to right.
/// For leaf hashes this is the tree's root.
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        _ => {
            let mut level = hashes.to_vec();
            while level.len() > 1 {
                let pairs = level.len() / 2;
                for i in 0..pairs {
                    level[i] = node_hash(&level[2 * i], &level[2 * i + 1]);
                }
                // An odd last node rises unchanged: it is the whole right side
                // of the split at the largest power of two.
                if level.len() % 2 == 1 {
                    level[pairs] = level[level.len() - 1];
                    level.truncate(pairs + 1);
                } else {
                    level.truncate(pairs);
                }
            }
            level[0]
        }
    }
}

/// The largest power of two smaller than `size` (which is at least 2).
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Hash of the leaves `low..high`, from complete aligned subtrees.
fn range_hash<E>(
    low: u64,
    high: u64,
    node: &mut impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let width = high - low;
    if width.is_power_of_two() && low.is_multiple_of(width) {
        let level = width.trailing_zeros() as u8;
        return node(level, low >> level);
    }
    let middle = low + split(width);
    let left = range_hash(low, middle, node)?;
    let right = range_hash(middle, high, node)?;
    Ok(node_hash(&left, &right))
}

/// Root of the first `size` entries, from complete aligned subtrees.
///
/// `node(level, index)` gives the hash of the leaves
/// `index·2^level .. (index+1)·2^level`; it is only asked for subtrees that are
/// complete at `size`.
pub fn tree_root<E>(
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    if size == 0 {
        return Ok(empty_root());
    }
    range_hash(0, size, &mut node)
}

/// The inclusion proof of entry `index` in the tree of `size`, leaf's sibling
/// first. `node` is as for [`tree_root`]. `index` must be below `size`.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let (mut low, mut high) = (0, size);
    let mut proof = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range_hash(middle, high, &mut node)?);
            high = middle;
        } else {
            proof.push(range_hash(low, middle, &mut node)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `new` entries extends the tree of `old`.
/// `node` is as for [`tree_root`] at size `new`. Empty for `old` 0 or `old == new`.
pub fn consistency_proof<E>(
    old: u64,
    new: u64,
    mut node: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    if old == 0 || old >= new {
        return Ok(Vec::new());
    }
    let (mut low, mut high) = (0, new);
    let mut proof = Vec::new();
    // Walk down to the right edge of the old tree; what hangs off is the proof.
    while old < high {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range_hash(middle, high, &mut node)?);
            high = middle;
        } else {
            proof.push(range_hash(low, middle, &mut node)?);
            low = middle;
        }
    }
    // The subtree that both trees share is known to whoever holds the old root
    // only when it is the whole old tree.
    if low != 0 {
        proof.push(range_hash(low, high, &mut node)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is entry `index` of the tree of `size` with `root`.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range { inner: index, size });
    }
    // Levels on which the paths of `index` and of the last entry differ have a
    // sibling each; above them only the set bits of `index` have one.
    let inner = (u64::BITS - (index ^ (size - 1)).leading_zeros()) as usize;
    let border = (index.checked_shr(inner as u32).unwrap_or(0)).count_ones() as usize;
    if proof.len() != inner + border {
        return Err(ProofError::Length {
            found: proof.len(),
            expected: inner + border,
        });
    }
    let computed = chain(leaf, &proof[..inner], index);
    let computed = proof[inner..]
        .iter()
        .fold(computed, |right, left| node_hash(left, &right));
    if computed == root {
        Ok(())
    } else {
        Err(ProofError::Root {
            computed,
            expected: root,
        })
    }
}

/// Climbs `proof` from `seed`; bit `i` of `index` says on which side level `i` is.
fn chain(seed: Hash, proof: &[Hash], index: u64) -> Hash {
    proof
        .iter()
        .enumerate()
        .fold(seed, |hash, (level, sibling)| {
            if (index >> level) & 1 == 0 {
                node_hash(&hash, sibling)
            } else {
                node_hash(sibling, &hash)
            }
        })
}

/// Checks that the tree `(new, new_root)` extends the tree `(old, old_root)`.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: Hash,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Range {
            inner: old,
            size: new,
        });
    }
    if old == 0 || old == new {
        if !proof.is_empty() {
            return Err(ProofError::Length {
                found: proof.len(),
                expected: 0,
            });
        }
        let (computed, expected) = if old == 0 {
            (old_root, empty_root())
        } else {
            (old_root, new_root)
        };
        return if computed == expected {
            Ok(())
        } else {
            Err(ProofError::Root { computed, expected })
        };
    }
    let shift = old.trailing_zeros() as usize;
    let index = old - 1;
    let inner = (u64::BITS - (index ^ (new - 1)).leading_zeros()) as usize - shift;
    let border = (index.checked_shr((inner + shift) as u32).unwrap_or(0)).count_ones() as usize;
    // When the old tree is one complete subtree, its root starts the climb and
    // is not in the proof.
    let (seed, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        match proof.split_first() {
            Some((seed, rest)) => (*seed, rest),
            None => {
                return Err(ProofError::Length {
                    found: 0,
                    expected: inner + border + 1,
                });
            }
        }
    };
    if rest.len() != inner + border {
        let seeded = usize::from(!old.is_power_of_two());
        return Err(ProofError::Length {
            found: proof.len(),
            expected: inner + border + seeded,
        });
    }
    let path = index >> shift;
    let (near, far) = rest.split_at(inner);
    // The old root uses only what lies left of the path.
    let old_side = near
        .iter()
        .enumerate()
        .fold(seed, |hash, (level, sibling)| {
            if (path >> level) & 1 == 1 {
                node_hash(sibling, &hash)
            } else {
                hash
            }
        });
    let old_side = far
        .iter()
        .fold(old_side, |right, left| node_hash(left, &right));
    if old_side != old_root {
        return Err(ProofError::Root {
            computed: old_side,
            expected: old_root,
        });
    }
    let new_side = chain(seed, near, path);
    let new_side = far
        .iter()
        .fold(new_side, |right, left| node_hash(left, &right));
    if new_side != new_root {
        return Err(ProofError::Root {
            computed: new_side,
            expected: new_root,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// The definition in the RFC, word by word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let k = split(many.len() as u64) as usize;
                node_hash(&naive_root(&many[..k]), &naive_root(&many[k..]))
            }
        }
    }

    fn naive_inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = split(leaves.len() as u64) as usize;
        let (mut path, other) = if index < k {
            (
                naive_inclusion(index, &leaves[..k]),
                naive_root(&leaves[k..]),
            )
        } else {
            (
                naive_inclusion(index - k, &leaves[k..]),
                naive_root(&leaves[..k]),
            )
        };
        path.push(other);
        path
    }

    fn naive_consistency(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole {
                Vec::new()
            } else {
                vec![naive_root(leaves)]
            };
        }
        let k = split(leaves.len() as u64) as usize;
        let (mut path, other) = if old <= k {
            (
                naive_consistency(old, &leaves[..k], whole),
                naive_root(&leaves[k..]),
            )
        } else {
            (
                naive_consistency(old - k, &leaves[k..], false),
                naive_root(&leaves[..k]),
            )
        };
        path.push(other);
        path
    }

    fn source(leaves: &[Hash]) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> + '_ {
        |level, index| {
            let width = 1usize << level;
            let start = index as usize * width;
            Ok(naive_root(&leaves[start..start + width]))
        }
    }

    proptest! {
        #[test]
        fn roots_and_proofs_equal_the_definition(size in 1u64..300, a in any::<u64>(), b in any::<u64>()) {
            let all = leaves(size);
            let root = naive_root(&all);
            prop_assert_eq!(root_of(&all), root);
            let Ok(computed) = tree_root(size, source(&all));
            prop_assert_eq!(computed, root);

            let index = a % size;
            let Ok(proof) = inclusion_proof(index, size, source(&all));
            prop_assert_eq!(&proof, &naive_inclusion(index as usize, &all));
            prop_assert_eq!(verify_inclusion(all[index as usize], index, size, &proof, root), Ok(()));

            let old = b % (size + 1);
            let Ok(proof) = consistency_proof(old, size, source(&all));
            if old > 0 {
                prop_assert_eq!(&proof, &naive_consistency(old as usize, &all, true));
            }
            let old_root = naive_root(&all[..old as usize]);
            prop_assert_eq!(verify_consistency(old, size, old_root, root, &proof), Ok(()));
        }

        #[test]
        fn a_changed_proof_is_refused(size in 2u64..200, a in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0usize..256) {
            let all = leaves(size);
            let root = naive_root(&all);
            let index = a % size;
            let leaf = all[index as usize];
            let Ok(good) = inclusion_proof(index, size, source(&all));
            let mut bad = good.clone();
            at.get_mut(&mut bad).0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify_inclusion(leaf, index, size, &bad, root).is_err());
            prop_assert!(verify_inclusion(leaf, index, size, &good[1..], root).is_err());
            prop_assert!(verify_inclusion(leaf, index ^ 1, size, &good, root).is_err());

            let old = 1 + a % (size - 1);
            let old_root = naive_root(&all[..old as usize]);
            let Ok(good) = consistency_proof(old, size, source(&all));
            let mut bad = good.clone();
            at.get_mut(&mut bad).0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify_consistency(old, size, old_root, root, &bad).is_err());
            prop_assert!(verify_consistency(old, size, root, root, &good).is_err());
            prop_assert!(verify_consistency(old, size, old_root, old_root, &good).is_err());
        }
    }

    #[test]
    fn impossible_sizes_are_refused_without_panic() {
        let h = empty_root();
        assert!(verify_inclusion(h, 0, 0, &[], h).is_err());
        assert!(verify_inclusion(h, u64::MAX, u64::MAX, &[], h).is_err());
        assert!(verify_inclusion(h, u64::MAX - 1, u64::MAX, &[h; 64], h).is_err());
        assert!(verify_consistency(2, 1, h, h, &[]).is_err());
        assert!(verify_consistency(0, 1, h, h, &[h]).is_err());
        assert!(verify_consistency(3, u64::MAX, h, h, &[]).is_err());
        assert!(verify_consistency(1 << 63, u64::MAX, h, h, &[h]).is_err());
    }
}
