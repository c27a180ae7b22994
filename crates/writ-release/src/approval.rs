//! Who may approve a release.
